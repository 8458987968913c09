"""The gradient of the loss by M before anything is trained: G = Uᵀ (∂L/∂W) V, matrix by matrix."""

from __future__ import annotations

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

Batch = Mapping[str, Any]
Loss = Callable[[nn.Module, Batch], torch.Tensor]
AdaptableLayer = nn.Linear | Conv1D


@dataclass(frozen=True)
class MeanGradient:
    """The gradient by M of one matrix at M = 0.

    Attributes:
        name: Full name of the module.
        mean: Mean over the batches, (n, n).
        squares: Mean of the squared gradients of the batches, (n, n); None if it was not asked for.
        weight_energy: Σ of the squared mean gradient of W itself, of which `energy` is the part in span(U)×span(V).
    """

    name: str
    mean: torch.Tensor
    squares: torch.Tensor | None
    weight_energy: float

    @property
    def n(self) -> int:
        """Size of M: min(out, in)."""
        return len(self.mean)

    @property
    def energy(self) -> float:
        """Σ of the squared mean gradient over all of M."""
        return float(self.mean.square().sum())

    @property
    def inside(self) -> float:
        """Share of the squared mean gradient of W that lies in span(U)×span(V); 1 for a square weight."""
        return self.energy / self.weight_energy if self.weight_energy else 0.0


def mean_gradients(
    model: nn.Module,
    batches: Iterable[Batch],
    *,
    target_modules: Sequence[str] | str | None = None,
    loss: Loss | None = None,
    memory: int = 2**30,
    squares: bool = False,
) -> Iterator[MeanGradient]:
    """Yield the gradient by M of each matrix, one group of matrices after the other.

    Between two matrices the model is as it was: weights, gradients, modes and `requires_grad`.

    Args:
        model: The base model, before `get_peft_model`.
        batches: What the loss is taken on, such as a list or a `DataLoader`. They are gone through once for each
            group of matrices that fits into `memory`, in the same order each time.
        target_modules: As in `SvftConfig`; None chooses the linear layers inside the blocks, for the families that
            PEFT knows.
        loss: (model, batch) -> scalar loss. None takes ``model(**batch).loss``.
        memory: Bytes that U, V and the gradients of one group of matrices may take. At least one matrix is a group.
        squares: Whether the mean of the squared gradients is wanted too.

    Raises:
        SvftError: If no module matches, if `batches` is empty or can be read only once although several groups are
            needed, or if the loss does not depend on a matrix.
    """
    groups = list(_groups(target_layers(model, target_modules), memory))
    if len(groups) > 1 and iter(batches) is batches:
        raise SvftError(
            f"The matrices are gone through in {len(groups)} groups, and batches can be read only once: "
            "give a list or a DataLoader, or more memory."
        )
    for group in groups:
        yield from _measure(model, group, batches, loss or (lambda model, batch: model(**batch).loss), squares)


def target_layers(model: nn.Module, target_modules: Sequence[str] | str | None) -> dict[str, AdaptableLayer]:
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


def _groups(modules: dict[str, AdaptableLayer], memory: int) -> Iterator[dict[str, AdaptableLayer]]:
    """Yield consecutive modules whose U, V, gradient and two n×n scores fit into `memory` bytes of float32."""
    group: dict[str, AdaptableLayer] = {}
    used = 0
    for name, module in modules.items():
        n, sides = min(module.weight.shape), sum(module.weight.shape)
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

    def gradient(self) -> MeanGradient:
        """Return the means over the batches taken."""
        mean = self.total / self.batches
        squares = None if self.squares is None else self.squares / self.batches
        energy = float(mean.square().sum())
        whole = energy if self.outside is None else float((self.outside / self.batches).square().sum())
        return MeanGradient(self.name, mean, squares, whole)


def _measure(
    model: nn.Module, group: dict[str, AdaptableLayer], batches: Iterable[Batch], loss: Loss, squares: bool
) -> Iterator[MeanGradient]:
    accumulators = {name: _Accumulator(name, module, squares) for name, module in group.items()}
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
    for name in group:
        yield accumulators.pop(name).gradient()


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
