"""Choosing the pattern Ω from data, before training: which entries of M the loss asks for first.

The gradient of the loss with respect to M at M = 0 is G = Uᵀ (∂L/∂W) V. One ranking of |G| over all matrices says
where a budget goes. Entries are spread: without a limit on the entries that a row or a column of M may have, the
largest ones share a few singular directions and training diverges.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from .config import SvftConfig
from .errors import SvftError
from .gradients import Batch, Loss, MeanGradient, mean_gradients, target_layers

SCORES = ("mean", "square")


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
    loss: Loss | None = None,
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
    sizes = [min(layer.weight.shape) for layer in target_layers(model, target_modules).values()]
    capacity = sum(min(n * n, spread * n if spread else n * n) for n in sizes)
    if not 1 <= budget <= capacity:
        limit = f" with at most {spread} entries per row and column" if spread else ""
        raise SvftError(f"budget={budget} must lie between 1 and {capacity}, which {len(sizes)} matrices hold{limit}.")
    gradients = mean_gradients(
        model, batches, target_modules=target_modules, loss=loss, memory=memory, squares=score == "square"
    )
    return rank_gradients(gradients, budget=budget, spread=spread)


def rank_gradients(gradients: Iterable[MeanGradient], *, budget: int, spread: int | None = 1) -> ChosenPattern:
    """Choose the entries of M with the largest gradients, in one ranking over all matrices.

    Args:
        gradients: Of each matrix; those with `squares` are ranked by them, the others by the magnitude of the mean.
            Of each, only the candidates are kept.
        budget: Number of entries in the whole model.
        spread: The most entries that a row or a column of one M may have; None sets no limit.

    Raises:
        SvftError: If the matrices do not hold so many entries.
    """
    scored = [_score(gradient, budget, spread) for gradient in gradients]
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


def _score(gradient: MeanGradient, budget: int, spread: int | None) -> _Scored:
    """Return the candidates of a matrix: no more than the budget, nor than the spread lets it have."""
    scores = gradient.mean.abs() if gradient.squares is None else gradient.squares
    flat = _spread(scores.cpu(), budget, spread)
    return _Scored(
        gradient.name,
        gradient.n,
        flat,
        scores.flatten().cpu()[flat].float(),
        gradient.mean.square().flatten().cpu()[flat],
        gradient.energy,
        gradient.inside,
    )


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
