"""Choosing the pattern Ω from data, before training: which entries of M the loss asks for first.

The gradient of the loss with respect to M at M = 0 is G = Uᵀ (∂L/∂W) V. One ranking of |G| over all matrices says
where a budget goes. Entries are spread: without a limit on the entries that a row or a column of M may have, the
largest ones share a few singular directions and training diverges.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from peft.tuners.tuners_utils import _maybe_include_all_linear_layers, check_target_module_exists
from torch import nn
from transformers.pytorch_utils import Conv1D

from .cache import decompose
from .config import SvftConfig
from .errors import SvftError
from .targets import TARGET_MODULES

SCORES = ("mean", "square")
Batch = Mapping[str, Any]
AdaptableLayer = nn.Linear | Conv1D


@dataclass(frozen=True)
class ChosenMatrix:
    """What was chosen in one matrix.

    Attributes:
        name: Full name of the module.
        n: Size of M: min(out, in).
        rows: i of each chosen entry, by descending score: (k,) int64.
        cols: j of each chosen entry, (k,) int64.
        scores: Score of each chosen entry, (k,) float32.
        energy: Σ of the squared mean gradient over all of M.
        captured: The part of it that the chosen entries hold.
        inside: Share of the squared mean gradient of W that lies in span(U)×span(V); 1 for a square weight.
    """

    name: str
    n: int
    rows: torch.Tensor
    cols: torch.Tensor
    scores: torch.Tensor
    energy: float
    captured: float
    inside: float

    @property
    def k(self) -> int:
        """Number of chosen entries."""
        return len(self.rows)


@dataclass(frozen=True)
class ChosenPattern:
    """A pattern for the whole model; `config` makes the adapter's configuration of it.

    Attributes:
        matrices: One for each candidate module, in the model's order; some may have no entry.
    """

    matrices: tuple[ChosenMatrix, ...]

    @property
    def budget(self) -> int:
        """Number of chosen entries in the whole model."""
        return sum(matrix.k for matrix in self.matrices)

    @property
    def custom_indices(self) -> dict[str, list[tuple[int, int]]]:
        """Module name -> chosen entries (i, j), as `SvftConfig.custom_indices` takes them; empty matrices left out."""
        return {
            matrix.name: list(zip(matrix.rows.tolist(), matrix.cols.tolist(), strict=True))
            for matrix in self.matrices
            if matrix.k
        }

    def config(self, **options: Any) -> SvftConfig:
        """Return the configuration of an adapter with this pattern.

        Args:
            **options: Further fields of `SvftConfig`, such as `task_type`.
        """
        indices = self.custom_indices
        return SvftConfig(pattern="custom", custom_indices=indices, target_modules=list(indices), **options)


def choose_pattern(
    model: nn.Module,
    batches: Iterable[Batch],
    *,
    budget: int,
    target_modules: Sequence[str] | str | None = None,
    score: str = "mean",
    spread: int | None = 1,
    loss: Callable[[nn.Module, Batch], torch.Tensor] | None = None,
    memory: int = 2**30,
) -> ChosenPattern:
    """Choose Ω by the gradient of the loss, one ranking over all matrices.

    Train a new task head first, for some steps and with the rest frozen: the gradient through a random head says
    nothing about the task. The model is left as it was: weights, gradients, modes and `requires_grad`.

    Args:
        model: The base model, before `get_peft_model`.
        batches: What the loss is taken on, such as a list or a `DataLoader`. They are gone through once for each
            group of matrices that fits into `memory`, in the same order each time.
        budget: Number of entries in the whole model.
        target_modules: As in `SvftConfig`; None chooses the linear layers inside the blocks, for the families that
            PEFT knows.
        score: "mean" ranks by the magnitude of the mean gradient over the batches, "square" by the mean of the
            squared gradients of the batches.
        spread: The most entries that a row or a column of one M may have; None sets no limit.
        loss: (model, batch) -> scalar loss. None takes ``model(**batch).loss``.
        memory: Bytes that U, V and the scores of one group of matrices may take. At least one matrix is a group.

    Returns:
        The chosen entries with their scores. The same model and batches give the same choice; equal scores are
        ordered by module, row and column.

    Raises:
        SvftError: If no module matches, if the budget does not fit, if `batches` is empty or can be read only once
            although several groups are needed, or if the loss does not depend on a matrix.
    """
    if score not in SCORES:
        raise SvftError(f"score={score!r} is unknown; allowed are {', '.join(SCORES)}.")
    if spread is not None and spread < 1:
        raise SvftError(f"spread={spread!r} must be at least 1, or None for no limit.")
    modules = _targets(model, target_modules)
    capacity = sum(min(n * n, spread * n if spread else n * n) for n in map(_size, modules.values()))
    if not 1 <= budget <= capacity:
        limit = f" with at most {spread} entries per row and column" if spread else ""
        raise SvftError(
            f"budget={budget} must lie between 1 and {capacity}, which {len(modules)} matrices hold{limit}."
        )
    groups = list(_groups(modules, memory))
    if len(groups) > 1 and iter(batches) is batches:
        raise SvftError(
            f"The matrices are gone through in {len(groups)} groups, and batches can be read only once: "
            "give a list or a DataLoader, or more memory."
        )
    loss = loss or (lambda model, batch: model(**batch).loss)
    scored = [matrix for group in groups for matrix in _score(model, group, batches, budget, score, spread, loss)]
    # Within a matrix entries come by descending score, so that a stable sort of all of them keeps the stated order.
    everything = torch.cat([matrix.scores for matrix in scored])
    if len(everything) < budget:  # with a limit above 1, the last free rows and columns may cross at a chosen entry
        raise SvftError(f"Only {len(everything)} entries can be spread as asked: choose a smaller budget or spread.")
    owner = torch.cat([torch.full((matrix.k,), number) for number, matrix in enumerate(scored)])
    chosen = owner[everything.sort(descending=True, stable=True).indices[:budget]]
    counts = torch.bincount(chosen, minlength=len(scored)).tolist()
    return ChosenPattern(tuple(matrix.leading(count) for matrix, count in zip(scored, counts, strict=True)))


@dataclass(frozen=True)
class _Scored:
    """The candidates of one matrix, by descending score, with the squared mean gradient of each."""

    name: str
    n: int
    flat: torch.Tensor
    scores: torch.Tensor
    squares: torch.Tensor
    energy: float
    inside: float

    @property
    def k(self) -> int:
        return len(self.flat)

    def leading(self, count: int) -> ChosenMatrix:
        flat = self.flat[:count]
        captured = float(self.squares[:count].sum())
        return ChosenMatrix(
            self.name, self.n, flat // self.n, flat % self.n, self.scores[:count], self.energy, captured, self.inside
        )


def _targets(model: nn.Module, target_modules: Sequence[str] | str | None) -> dict[str, AdaptableLayer]:
    """Return the modules that a configuration with these targets would adapt, by name."""
    config = SvftConfig(target_modules=target_modules)
    if target_modules is None:
        family = getattr(getattr(model, "config", None), "model_type", None)
        if family not in TARGET_MODULES:
            raise SvftError(f"There are no default target_modules for the model type {family!r}: name them.")
        config.target_modules = TARGET_MODULES[family]
    config = cast(SvftConfig, _maybe_include_all_linear_layers(config, model))
    modules: dict[str, AdaptableLayer] = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, (nn.Linear, Conv1D)) and check_target_module_exists(config, name)
    }
    if not modules:
        raise SvftError(f"target_modules={target_modules!r} matches no linear layer of the model.")
    uses = Counter(id(parameter) for module in model.modules() for parameter in module.parameters(recurse=False))
    if tied := [name for name, module in modules.items() if uses[id(module.weight)] > 1]:
        raise SvftError(f"{tied[0]} shares its weight with another module: leave it out of target_modules.")
    return modules


def _size(module: AdaptableLayer) -> int:
    return min(module.weight.shape)


def _groups(modules: dict[str, AdaptableLayer], memory: int) -> Iterator[dict[str, AdaptableLayer]]:
    """Yield consecutive modules whose U, V, gradient and two n×n scores fit into `memory` bytes of float32."""
    group: dict[str, AdaptableLayer] = {}
    used = 0
    for name, module in modules.items():
        n, sides = _size(module), sum(module.weight.shape)
        need = 4 * (n * sides + module.weight.numel() + 2 * n * n)
        if group and used + need > memory:
            yield group
            group, used = {}, 0
        group[name] = module
        used += need
    yield group


class _Accumulator:
    """Sums of the gradient of one matrix over batches, in the basis of W; the dense gradient itself is not kept."""

    def __init__(self, name: str, module: AdaptableLayer, squared: bool) -> None:
        self.name = name
        self.transposed = isinstance(module, Conv1D)
        basis = decompose(self._matrix(module.weight.detach()), name=name)
        self.U, self.V = basis.U, basis.V
        n = basis.U.shape[1]
        self.total = basis.U.new_zeros(n, n)
        self.squares = basis.U.new_zeros(n, n) if squared else None
        square = self.U.shape[0] == self.V.shape[0]
        self.outside = None if square else basis.U.new_zeros(module.weight.numel())
        self.batches = 0

    def _matrix(self, weight: torch.Tensor) -> torch.Tensor:
        return weight.T if self.transposed else weight

    def take(self, weight: torch.Tensor) -> None:
        """Add the gradient that backward has just left in `weight`, and free it."""
        assert weight.grad is not None
        gradient = self._matrix(weight.grad).to(self.U.dtype)
        projected = self.U.T @ gradient @ self.V
        self.total += projected
        if self.squares is not None:
            self.squares += projected.square()
        if self.outside is not None:
            self.outside += gradient.flatten()
        self.batches += 1
        weight.grad = None

    def scored(self, budget: int, spread: int | None) -> _Scored:
        """Return the candidates: no more than the budget, nor than the spread lets a matrix have."""
        mean = (self.total / self.batches).square()
        scores = mean.sqrt() if self.squares is None else self.squares / self.batches
        flat = _spread(scores.cpu(), budget, spread)
        energy = float(mean.sum())
        whole = energy if self.outside is None else float((self.outside / self.batches).square().sum())
        return _Scored(
            self.name,
            len(mean),
            flat,
            scores.flatten().cpu()[flat].float(),
            mean.flatten().cpu()[flat],
            energy,
            energy / whole if whole else 0.0,
        )


def _score(
    model: nn.Module,
    group: dict[str, AdaptableLayer],
    batches: Iterable[Batch],
    budget: int,
    score: str,
    spread: int | None,
    loss: Callable[[nn.Module, Batch], torch.Tensor],
) -> list[_Scored]:
    accumulators = {name: _Accumulator(name, module, score == "square") for name, module in group.items()}
    with _only_these(model, [module.weight for module in group.values()]):
        hooks = [
            module.weight.register_post_accumulate_grad_hook(accumulators[name].take) for name, module in group.items()
        ]
        try:
            seen = 0
            for batch in batches:
                loss(model, batch).backward()
                seen += 1
        finally:
            for hook in hooks:
                hook.remove()
    if not seen:
        raise SvftError("batches is empty: the pattern is chosen by the loss on at least one batch.")
    silent = [name for name, accumulator in accumulators.items() if not accumulator.batches]
    if silent:
        raise SvftError(f"The loss does not depend on {silent[0]}: leave it out of target_modules.")
    return [accumulator.scored(budget, spread) for accumulator in accumulators.values()]


@contextmanager
def _only_these(model: nn.Module, weights: Sequence[torch.Tensor]) -> Iterator[None]:
    """Let only these weights ask for gradients, in eval mode; everything is as before afterwards."""
    before = [(p, p.requires_grad, p.grad) for p in model.parameters()]
    modes = [(module, module.training) for module in model.modules()]
    wanted = {id(weight) for weight in weights}
    model.eval()
    for p, _, _ in before:
        p.requires_grad_(id(p) in wanted)
        p.grad = None
    try:
        with torch.enable_grad():
            yield
    finally:
        for p, required, grad in before:
            p.requires_grad_(required)
            p.grad = grad
        for module, mode in modes:
            module.training = mode


def _spread(scores: torch.Tensor, count: int, limit: int | None) -> torch.Tensor:
    """Return the flat indices of the largest scores (n, n), at most `limit` a row and a column: (k,), descending.

    It takes entry after entry in descending order and skips those whose row or column is full.
    """
    n = len(scores)
    if limit is None or limit >= n:
        flat = scores.flatten()
        return flat.sort(descending=True, stable=True).indices[: min(count, n * n)]
    rows, cols = [0] * n, [0] * n
    count = min(count, limit * n)
    left = scores.clone()
    chosen: list[int] = []
    while len(chosen) < count:
        # More candidates than entries are missing, but not all: what is full by then is out of the next look.
        values, candidates = (part[: 8 * n].tolist() for part in left.flatten().sort(descending=True, stable=True))
        for value, index in zip(values, candidates, strict=True):
            i, j = divmod(index, n)
            if value == -math.inf or len(chosen) == count:
                return torch.tensor(chosen, dtype=torch.int64)
            if rows[i] < limit and cols[j] < limit:
                chosen.append(index)
                rows[i] += 1
                cols[j] += 1
        left.view(-1)[candidates] = -math.inf
        left[[i for i in range(n) if rows[i] == limit]] = -math.inf
        left[:, [j for j in range(n) if cols[j] == limit]] = -math.inf
    return torch.tensor(chosen, dtype=torch.int64)
