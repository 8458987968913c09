"""An adapter that is not an SVFT adapter, shown as its projection into the singular basis of its base model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np

from analysis.adapters.adapter import AdaptedMatrix, Adapter, LeftOut, Projection, grid
from analysis.common.tensor_files import TensorFiles
from analysis.models.base_weights import BaseWeights

if TYPE_CHECKING:
    import torch

    from analysis.adapters.projection import Update


class UpdateSource(Protocol):
    """Where the updates of one kind of adapter come from. It holds no open file, so it can be pickled.

    Attributes:
        config: The config that came with it.
        method: "LoRA r=8" and the like, for people.
        names: What it calls the modules by which the class of its base is told.
        classes: Names of classes that the base may have, the likeliest first.
        head: Shapes of its other tensors, by name.
        left_out: Modules whose update cannot be told from the files.
        files: Its tensors.
    """

    config: dict
    method: str
    names: list[str]
    classes: list[str]
    head: dict[str, tuple[int, ...]]
    left_out: list[LeftOut]
    files: TensorFiles

    def modules(self, weights: BaseWeights) -> dict[str, int]:
        """Return the adapted modules -> number of parameters trained for each."""
        ...

    def update(self, module: str, weights: BaseWeights, weight: torch.Tensor | None = None) -> Update:
        """Return the update of one weight, merged minus pristine; `weight` is that weight, if it was read before."""
        ...

    def check(self, module: str, shape: tuple[int, int]) -> None:
        """Raise an AdapterError if the files do not fit a weight of this shape, before anything large is read."""
        ...


@dataclass(frozen=True, eq=False, kw_only=True)
class ProjectedAdapter(Adapter):
    """An adapter whose matrices are M = UᵀΔWV, computed when they are read: one SVD (cached on disk) a matrix.

    Attributes:
        source: Gives ΔW.
        weights: Gives W.
    """

    source: UpdateSource
    weights: BaseWeights

    projected: ClassVar[bool] = True

    def matrix(self, name: str) -> AdaptedMatrix:
        """Compute one adapted matrix; seconds for a large one whose decomposition is not cached yet.

        Args:
            name: One of `names`.

        Raises:
            AdapterError: If there is no such matrix, or its numbers are damaged.
        """
        row = self._row(name)
        from analysis.adapters.projection import project  # torch: not before the first matrix
        from svft.cache import decompose

        weight = self.weights.weight(name)
        update = self.source.update(name, self.weights, weight)
        basis = decompose(weight, name=name)
        M, outside = project(update, basis)
        alignment = (basis.U.mT @ basis.V).abs().numpy() if outside is None else None
        projection = Projection(outside, int(row["trained"]), update.rank_bound, update.floor, alignment)
        return self._assemble(row, basis.sigma.numpy(), *grid(len(M)), M.ravel(), projection)

    def signature(self, name: str) -> np.ndarray:
        """Return the signature of a matrix's singular vectors: (2, n, 2) float16."""
        from svft.cache import decompose

        return decompose(self.weights.weight(name), name=name).signature.numpy().astype(np.float16)

    def dense_update(self, name: str) -> np.ndarray:
        """Return ΔW of a matrix, (out, in) float64."""
        return self.source.update(name, self.weights).dense().double().numpy()
