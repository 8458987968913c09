"""An open adapter and its adapted matrices, which are read one at a time. `opening` makes them from files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from analysis.adapters.adapter_file import read_matrix, read_signature
from analysis.common.errors import AdapterError
from analysis.common.linear_algebra import dense_singular_values, singular_values, sparse
from analysis.common.tensor_files import TensorFiles
from analysis.models.naming import places


@dataclass(frozen=True, eq=False)
class Projection:
    """What is known of an update ΔW that is not an SVFT update, besides its projection M = UᵀΔWV.

    Where W is not square, one side of ΔW can leave the thin basis. `outside` is that part in coordinates of an
    orthonormal basis of its own, so that the rows (columns) of M and T together are ΔW up to a rotation:
    ΔW = U M Vᵀ + U⊥ T Vᵀ where out > in, ΔW = U M Vᵀ + U T V⊥ᵀ where out < in.

    Attributes:
        outside: T, (t, n) where out > in, (n, t) where out < in, float64; None where W is square.
        trained: Number of parameters that the method trained for this matrix.
        rank_bound: The most that the rank of ΔW can be, by the method.
        floor: Singular values of ΔW up to here are rounding; None if ΔW is exact, for max(shape)·eps·σ₁.
        alignment: |UᵀV|, (n, n) float32, by which top_k chooses its entries; None if W is not square.
    """

    outside: np.ndarray | None
    trained: int
    rank_bound: int
    floor: float | None = None
    alignment: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class AdaptedMatrix:
    """One adapted matrix: the coefficients M and singular values of one weight W = U Σ Vᵀ.

    Attributes:
        name: Path of the module in the base model.
        layer: Index of the layer as in the path (from 0), or None.
        kind: "query", "key", "value", "attention out", "MLP gate", "MLP up", "MLP down", or the end of the path.
        label: "Layer 2 · value".
        shape: (out, in) of W.
        sigma: Singular values of W, descending: (m,) float64. m = min(shape), or less if the adapter was trained
            in a truncated basis.
        rows: i of each trained entry, (k,) int64, in the file's order.
        cols: j of each trained entry, (k,) int64.
        values: Trained entries M[i, j], (k,) float64.
        pattern: "plain", "banded", "random", "top_k", "custom": what this matrix really got.
        pattern_label: The pattern for people: "banded d=2", "top_k → random (not square)".
        off_diag: Half-width d of the band; for random and top_k the d that sized them; None if there is none.
        projection: If M is only the part of another kind of update that lies in the thin basis: the rest of it.
            `rows`, `cols` and `values` are then all n² entries, row by row, and `pattern` is "projected".
    """

    name: str
    layer: int | None
    kind: str
    label: str
    shape: tuple[int, int]
    sigma: np.ndarray
    rows: np.ndarray
    cols: np.ndarray
    values: np.ndarray
    pattern: str
    pattern_label: str
    off_diag: int | None
    projection: Projection | None = None

    @property
    def projected(self) -> bool:
        """Whether M is a projection: the update was not trained as U M Vᵀ, and may not lie in the thin basis."""
        return self.projection is not None

    @property
    def n(self) -> int:
        """Number of singular directions of W: min(out, in)."""
        return min(self.shape)

    @property
    def m(self) -> int:
        """Number of singular directions in the file, the size of M; n unless the basis was truncated."""
        return len(self.sigma)

    @property
    def k(self) -> int:
        """Number of trained entries."""
        return len(self.values)

    @property
    def truncated(self) -> bool:
        """Whether the file holds fewer than all n singular directions; the tail of W is then unknown."""
        return self.m < self.n

    def coefficients(self) -> np.ndarray:
        """Return M dense, (m, m) float64."""
        dense = np.zeros((self.m, self.m))
        dense[self.rows, self.cols] = self.values
        return dense

    def updated(self) -> np.ndarray:
        """Return Σ + M dense, (m, m) float64: the new weight in the basis of the old singular vectors."""
        dense = self.coefficients()
        dense[np.diag_indices(self.m)] += self.sigma
        return dense

    @property
    def outside(self) -> np.ndarray | None:
        """T of a projection (see `Projection`); None if all of ΔW lies in the basis."""
        return self.projection.outside if self.projection else None

    def with_outside(self, inside: np.ndarray) -> np.ndarray:
        """Return M or Σ + M, (m, m), with the part outside the basis below (beside) it; it then lacks nothing.

        Its singular values are those of ΔW, or of W + ΔW; so are its singular vectors, in the basis of the old ones.
        """
        if self.outside is None:
            return inside
        return np.concatenate([inside, self.outside], axis=0 if self.shape[0] > self.shape[1] else 1)

    @cached_property
    def energy(self) -> float:
        """‖ΔW‖_F², of the whole update: what every share of energy is a share of."""
        outside = 0.0 if self.outside is None else float(np.square(self.outside).sum())
        return float(np.square(self.values).sum()) + outside

    @property
    def update_norm(self) -> float:
        """‖ΔW‖_F, of the whole update."""
        return self.energy**0.5

    @cached_property
    def inside_share(self) -> float:
        """Share of ‖ΔW‖_F² inside the thin basis: 1 for SVFT; 0 for a zero update that is projected."""
        if not self.projected:
            return 1.0
        return float(np.square(self.values).sum()) / self.energy if self.energy else 0.0

    @cached_property
    def update_singular_values(self) -> np.ndarray:
        """Singular values of ΔW, descending, (m,) float64: those of M; of a projection, of the whole update."""
        if self.projected:
            return dense_singular_values(self.with_outside(self.coefficients()))
        return singular_values(sparse(self.rows, self.cols, self.values, self.m))

    @property
    def rounding(self) -> float:
        """Singular values of ΔW up to here are rounding: max(shape)·eps·σ₁ in float32 unless the projection says."""
        if self.projection and self.projection.floor is not None:
            return self.projection.floor
        return max(self.shape) * float(np.finfo(np.float32).eps) * float(self.update_singular_values[0])


@dataclass(frozen=True)
class LeftOut:
    """A module that an adapter trains, and that cannot be shown as a matrix.

    Attributes:
        name: Path of the module in the base model.
        reason: Why it is left out, a sentence.
        trained: Number of parameters trained in it.
    """

    name: str
    reason: str
    trained: int


@dataclass(frozen=True, eq=False)
class Adapter:
    """An open adapter: what its config and file header say. Matrices are read one by one, with `matrix`.

    It holds no open file, so it can be pickled and sent to a worker process. This class is an SVFT adapter, or a head
    alone; `analysis.adapters.projected_adapter.ProjectedAdapter` is any other kind.

    Attributes:
        projected: Whether its matrices are projections of another kind of update into the singular basis.
        path: Its directory.
        config: adapter_config.json; of a whole checkpoint config.json.
        base: Hub id or path of the base model, or None if the config names none.
        task: Name of the task it was trained on ("bbc_headlines"), if its evaluation.json says so, else None.
        method: "SVFT plain", "SVFT banded d=2", "LoRA r=8", …, "full fine-tuning", "head only".
        matrices: One row per adapted matrix, ordered by layer then kind. Columns: name, layer (Int64), kind, label,
            out, in, n (= min(out, in)), m (directions in the file), k (entries of M), pattern, pattern_label,
            off_diag (Int64, NA if none), trained (trained parameters; k for SVFT).
        head: Shapes of the other tensors in the file (the task head and what was trained with it), by name.
        kind: "SVFT", "LoRA", "DoRA", …, "full fine-tuning", "head only": recognised from the files.
        files: Its tensors.
        revision: Of the base model: what the config pins, unless another base was chosen.
        left_out: What it trains beside its matrices and its head, and why that is not shown.
    """

    projected: ClassVar[bool] = False

    path: Path
    config: dict
    base: str | None
    task: str | None
    method: str
    matrices: pd.DataFrame
    head: dict[str, tuple[int, ...]] = field(default_factory=dict)
    kind: str = "SVFT"
    files: TensorFiles | None = None
    revision: str | None = None
    left_out: tuple[LeftOut, ...] = ()

    @cached_property
    def names(self) -> list[str]:
        """Paths of the adapted modules, ordered by layer then kind."""
        return self.matrices["name"].tolist()

    @property
    def trainable(self) -> int:
        """Number of trained parameters in its matrices, excluding the head; of SVFT, coefficients."""
        return int(self.matrices["trained"].sum())

    @property
    def left_out_share(self) -> float:
        """Share of the update's trained parameters that is in modules that are left out, excluding the head."""
        left = sum(module.trained for module in self.left_out)
        return left / (self.trainable + left) if left else 0.0

    def matrix(self, name: str) -> AdaptedMatrix:
        """Read one adapted matrix, and nothing else of the file.

        Args:
            name: One of `names`.

        Raises:
            AdapterError: If there is no such matrix, or its numbers are damaged.
        """
        row = self._row(name)
        assert self.files is not None  # as every adapter with matrices has
        sigma, values, flat = read_matrix(self.files, name, self.config, row)
        return self._assemble(row, sigma, *np.divmod(flat, len(sigma)), values)

    def attempt(self, name: str) -> AdaptedMatrix | LeftOut:
        """Read one adapted matrix, or say why its numbers cannot be read."""
        try:
            return self.matrix(name)
        except AdapterError as error:
            return LeftOut(name, str(error), int(self._row(name)["trained"]))

    def readable(self) -> Iterator[AdaptedMatrix]:
        """Read one matrix after another, without those whose numbers are damaged."""
        for name in self.names:
            if isinstance(matrix := self.attempt(name), AdaptedMatrix):
                yield matrix

    def _row(self, name: str) -> dict:
        """Return the row of `matrices` of a name, as a dictionary; an AdapterError if there is none."""
        if name not in self._rows:
            for module in self.left_out:
                if module.name == name:
                    raise AdapterError(module.reason)
            raise AdapterError(f"The adapter {self.path} has no adapted matrix {name!r}; choose one of its names.")
        return self._rows[name]

    @cached_property
    def _rows(self) -> dict[str, dict]:
        return {row["name"]: row for row in self.matrices.to_dict("records")}

    @staticmethod
    def _assemble(
        row: dict,
        sigma: np.ndarray,
        rows: np.ndarray,
        cols: np.ndarray,
        values: np.ndarray,
        projection: Projection | None = None,
    ) -> AdaptedMatrix:
        """Return a matrix from its row of `matrices` and the numbers that were read or computed for it."""
        return AdaptedMatrix(
            name=row["name"],
            layer=None if pd.isna(row["layer"]) else int(row["layer"]),
            kind=row["kind"],
            label=row["label"],
            shape=(int(row["out"]), int(row["in"])),
            sigma=sigma.astype(np.float64),
            rows=rows,
            cols=cols,
            values=values.astype(np.float64),
            pattern=row["pattern"],
            pattern_label=row["pattern_label"],
            off_diag=None if pd.isna(row["off_diag"]) else int(row["off_diag"]),
            projection=projection,
        )

    def signature(self, name: str) -> np.ndarray:
        """Return the signature of the singular vectors that a matrix is given in: (2, m, 2) float16.

        Two of the same weight tell whether coefficients can be compared, and which signs differ (`svft.basis`).
        """
        assert self.files is not None  # as every adapter with matrices has
        return read_signature(self.files, name).astype(np.float16)

    def dense_update(self, name: str) -> np.ndarray | None:
        """Return ΔW of a matrix, (out, in) float64; None if the files have its coefficients only."""
        return None


def matrix_table(sizes: dict[str, dict]) -> pd.DataFrame:
    """Return `Adapter.matrices` from out, in, n, m, k, pattern, pattern_label, off_diag, trained of each module."""
    rows = [
        {"name": place.name, "layer": place.layer, "kind": place.kind, "label": place.label, **sizes[place.name]}
        for place in places(list(sizes))
    ]
    return pd.DataFrame(rows, columns=list(_COLUMN_TYPES)).astype(_COLUMN_TYPES)


@lru_cache(maxsize=4)  # all matrices of one size share them
def grid(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and columns of all entries of an n×n matrix, row by row: (n²,) int64 each, read-only."""
    rows, cols = np.divmod(np.arange(n * n), n)
    rows.flags.writeable = cols.flags.writeable = False
    return rows, cols


_COLUMN_TYPES = {
    "name": "str", "layer": "Int64", "kind": "str", "label": "str", "out": "int64", "in": "int64", "n": "int64",
    "m": "int64", "k": "int64", "pattern": "str", "pattern_label": "str", "off_diag": "Int64", "trained": "int64",
}  # fmt: skip
