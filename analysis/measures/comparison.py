"""Two adapters of one base, compared matrix by matrix in the singular basis that they share.

U and V have orthonormal columns, so the inner product of two updates in the thin basis is that of their coefficients,
⟨ΔW, ΔW'⟩ = ⟨M, M'⟩, and their leading singular vectors are U and V times those of M. An update of another kind may
leave the thin basis of a weight that is not square. What it has outside counts: norms, and so cosines, are those of
the whole update; if both leave the basis, the two are compared as dense matrices.

Chance levels: the second update replaced by noise, see `measures.noise`, beside the first as it is.
- Of its k' Gaussian values on Ω', the squared cosine with an update of norm ‖A‖, of which ‖A_Ω'‖ lies on Ω', is
  ‖A_Ω'‖²/‖A‖² times a Beta(1/2, (k' − 1)/2) variable.
- In random directions the cosine has mean 0 and variance 1/(out·in), and is close to normal unless both ranks are
  about 1.
- The span of its r leading vectors in random directions overlaps any other one by r/N on average (N = out or in), with
  a variance in closed form; that of Gaussian values on Ω', whose vectors hang on few directions, is drawn.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import pandas as pd
from scipy.sparse.linalg import svds
from scipy.special import betaincinv

from analysis.adapters.adapter import AdaptedMatrix, Adapter
from analysis.adapters.projected_adapter import ProjectedAdapter
from analysis.common.errors import AdapterError
from analysis.common.linear_algebra import Svd, dense_svd, sparse, svd
from analysis.measures.noise import INTERVAL, Level, predicted_level, random_update, spectrum_of

LEADING = 10  # directions whose spans are compared
TOLERANCE = 5e-3  # relative error of ΔW up to which two bases count as one: that of `svft.basis`

_COLUMN_TYPES = {
    "name": "str", "layer": "Int64", "kind": "str", "label": "str", "n": "int64", "relative_norm_a": "float64",
    "relative_norm_b": "float64", "norm_ratio": "float64", "cosine": "float64", "chance_cosine": "float64",
    "directions": "Int64", "overlap_left": "float64", "chance_left": "float64", "chance_left_low": "float64",
    "chance_left_high": "float64", "overlap_right": "float64", "chance_right": "float64",
    "chance_right_low": "float64", "chance_right_high": "float64", "basis_error": "float64",
}  # fmt: skip

_COMPARED = [name for name in _COLUMN_TYPES if name.startswith(("cosine", "chance", "overlap"))]

# What `summarize` says of the matrix rather than of its update.
_PLACE = {"name", "layer", "kind", "label", "out", "in", "n", "m", "pattern_label", "weight_norm"}


@dataclass(frozen=True)
class Shared:
    """What two adapters both adapt.

    Attributes:
        names: Modules that both adapt, with weights of one shape, in the order of the first adapter.
        only_a: Modules that the first adapts alone.
        only_b: Modules that the second adapts alone.
        unlike: Modules of one name whose weights differ in shape.
    """

    names: list[str]
    only_a: list[str]
    only_b: list[str]
    unlike: list[str]

    @property
    def complete(self) -> bool:
        """Whether both adapt the same matrices."""
        return not (self.only_a or self.only_b or self.unlike)

    def sentence(self) -> str:
        """Say for people what is compared, and what is left out."""
        total = len(self.names) + len(self.only_a) + len(self.only_b) + len(self.unlike)
        if self.complete:
            return f"Both adapt the same {total} matrices."
        parts = [
            f"{len(names)} {text}"
            for names, text in (
                (self.only_a, "only the first adapts"),
                (self.only_b, "only the second adapts"),
                (self.unlike, "have weights of another shape"),
            )
            if names
        ]
        return f"Compared on the {len(self.names)} matrices that both adapt; left out: {', '.join(parts)}."


@lru_cache(maxsize=4)
def counterparts(a: Adapter, b: Adapter) -> dict[str, str]:
    """Return the matrices that two adapters both adapt: name in the first -> in the second.

    They are the same if they are one module of the base model, whatever the version of transformers called it that
    each was trained with.
    """
    names = next((of.weights.names for of in (a, b) if isinstance(of, ProjectedAdapter)), None)
    modules = {(names and names.module(name)) or name: name for name in b.names}
    own = {name: (names and names.module(name)) or name for name in a.names}
    return {name: modules[module] for name, module in own.items() if module in modules}


def shared(a: Adapter, b: Adapter) -> Shared:
    """Return which matrices two adapters both adapt.

    Raises:
        AdapterError: If there is none.
    """
    shapes_a, shapes_b = (
        {row["name"]: (row["out"], row["in"]) for row in of.matrices[["name", "out", "in"]].to_dict("records")}
        for of in (a, b)
    )
    both = counterparts(a, b)
    seconds = set(both.values())
    matches = Shared(
        names=[name for name, other in both.items() if shapes_a[name] == shapes_b[other]],
        only_a=[name for name in shapes_a if name not in both],
        only_b=[name for name in shapes_b if name not in seconds],
        unlike=[name for name, other in both.items() if shapes_a[name] != shapes_b[other]],
    )
    if not matches.names:
        raise AdapterError(
            f"{a.path.name} and {b.path.name} adapt no matrix of one name and shape: choose two adapters of one base."
        )
    return matches


def in_basis_of(a: Adapter, b: Adapter, name: str) -> tuple[AdaptedMatrix, float]:
    """Return a matrix of `b` with its coefficients in the basis of `a`, and how far the two bases differ.

    Singular vectors are unique only up to signs: if the two files were written with different ones, the
    coefficients change sign with them.

    Returns:
        The matrix; and the estimated relative error of its ΔW, which is above `TOLERANCE` if the singular vectors
        of the two are not the same (another base, other precision, rotated vectors).
    """
    other = counterparts(a, b)[name]
    matrix = b.matrix(other)
    own, stored = a.signature(name), b.signature(other)
    m = min(own.shape[1], stored.shape[1])
    own, stored = own[:, :m], stored[:, :m]
    if np.array_equal(own, stored):
        return matrix, 0.0
    import torch  # it takes seconds, and adapters from one machine come here without it

    from svft.basis import align

    inside = np.maximum(matrix.rows, matrix.cols) < m  # beyond, `a` has nothing that it could be compared with
    rows, cols, values = (torch.from_numpy(part[inside]) for part in (matrix.rows, matrix.cols, matrix.values))
    before, after = (torch.from_numpy(part.astype(np.float32)) for part in (stored, own))
    alignment = align(before, after, rows, cols, values)
    signs = np.ones(matrix.k)
    signs[inside] = alignment.signs.numpy()
    repaired = replace(matrix, values=matrix.values * signs)
    if matrix.projection is not None and matrix.outside is not None:
        left, right = np.where((stored.astype(np.float64) * own).sum(axis=-1) < 0, -1.0, 1.0)
        outside = matrix.outside * (right if matrix.shape[0] > matrix.shape[1] else left[:, None])
        repaired = replace(repaired, projection=replace(matrix.projection, outside=outside))
    return repaired, alignment.error


def compare_matrix(a: Adapter, b: Adapter, name: str) -> dict:
    """Return the comparison of one matrix, as a dict; the columns of `compare_adapters`."""
    first = a.matrix(name)
    second, error = in_basis_of(a, b, name)
    weight = np.nan if first.truncated else float(np.linalg.norm(first.sigma))
    row = {
        "name": name,
        "layer": pd.NA if first.layer is None else first.layer,
        "kind": first.kind,
        "label": first.label,
        "n": first.n,
        "relative_norm_a": first.update_norm / weight if weight else np.nan,
        "relative_norm_b": second.update_norm / weight if weight else np.nan,
        "norm_ratio": second.update_norm / first.update_norm if first.update_norm else np.nan,
        "basis_error": error,
    }
    dense, unknown = None, False
    if first.outside is not None and second.outside is not None:
        left, right = a.dense_update(name), b.dense_update(counterparts(a, b)[name])
        if left is None or right is None:
            unknown = True
        else:
            dense = (left, right)
    if error > TOLERANCE or unknown or not (first.update_norm and second.update_norm):
        return row | dict.fromkeys(_COMPARED, np.nan) | {"directions": pd.NA}
    return row | cosine(first, second, dense) | overlap(first, second, dense)


Dense = tuple[np.ndarray, np.ndarray]


def cosine(first: AdaptedMatrix, second: AdaptedMatrix, dense: Dense | None = None) -> dict:
    """Return ⟨ΔW, ΔW'⟩ / (‖ΔW‖_F ‖ΔW'‖_F) of two updates in one basis, and how far from 0 noise comes.

    Args:
        first: The matrix in one adapter.
        second: The matrix in the other.
        dense: Both updates, (out, in) each: needed if both leave the basis.

    Returns:
        cosine, and chance_cosine: with noise in place of the second, it lies within ∓ chance_cosine 19 times in 20.
    """
    size = max(first.m, second.m)
    flat_a, flat_b = (matrix.rows * size + matrix.cols for matrix in (first, second))
    _, at_a, at_b = np.intersect1d(flat_a, flat_b, assume_unique=True, return_indices=True)
    inner = float(first.values[at_a] @ second.values[at_b] if dense is None else np.vdot(*dense))
    if not second.projected:
        on_pattern = np.linalg.norm(first.values[at_a]) / first.update_norm
        reach = on_pattern * np.sqrt(betaincinv(0.5, (second.k - 1) / 2, 0.95)) if second.k > 1 else on_pattern
    else:
        ranks = len(spectrum_of(first)) * len(spectrum_of(second))
        reach = (_PRODUCT if ranks <= _FEW_TERMS else _NORMAL) / np.sqrt(first.shape[0] * first.shape[1])
    return {
        "cosine": float(np.clip(inner / (first.update_norm * second.update_norm), -1, 1)),
        "chance_cosine": float(reach),
    }


_NORMAL, _PRODUCT = 1.960, 2.179  # 95% of a normal variable, and of the product of two, lie within ∓ so much
_FEW_TERMS = 16  # of such products: their sum is not normal yet


def overlap(first: AdaptedMatrix, second: AdaptedMatrix, dense: Dense | None = None, leading: int = LEADING) -> dict:
    """Return the overlap of the spans of the leading singular vectors of two updates in one basis.

    Args:
        first: The matrix in one adapter.
        second: The matrix in the other.
        dense: Both updates, (out, in) each: needed if both leave the basis.
        leading: Number of directions.

    Returns:
        directions: r, `leading` or the smaller rank of the two.
        overlap_left, overlap_right: ‖AᵀB‖_F² / r for orthonormal bases A and B of the two spans (mean squared cosine
            of their principal angles), from 0 to 1.
        chance_left, chance_left_low, chance_left_high: Mean and 95% interval with noise in place of the second.
        chance_right, chance_right_low, chance_right_high: The same on the right.
    """
    of = [_svd(matrix) for matrix in (first, second)] if dense is None else [dense_svd(update) for update in dense]
    matrices = (first, second)
    counts = [
        int((decomposition.values > matrix.rounding).sum()) for matrix, decomposition in zip(matrices, of, strict=True)
    ]
    r = min(leading, *counts)
    row: dict = {"directions": r}
    drawn = None
    if not second.projected and r:
        rng = np.random.default_rng(zlib.crc32(second.name.encode()))  # other draws for each matrix
        drawn = [_leading(random_update(second, rng), r) for _ in range(_DRAWS)]
    for place, (side, width) in enumerate(zip(("left", "right"), first.shape, strict=True)):
        A, B = ((decomposition.P, decomposition.Q)[place][:, :r] for decomposition in of)
        row[f"overlap_{side}"] = _overlap(A, B)
        if drawn is None:
            level = _overlap_level(r, width) if r else Level(np.nan, np.nan, np.nan)
        else:
            level = predicted_level(np.array([_overlap(A, vectors[place]) for vectors in drawn]))
        row |= {f"chance_{side}{end}": getattr(level, name) for end, name in _ENDS.items()}
    return row


_DRAWS = 10
_ENDS = {"": "mean", "_low": "low", "_high": "high"}


def _overlap(A: np.ndarray, B: np.ndarray) -> float:
    """Return ‖AᵀB‖_F² / r of two orthonormal bases (m, r), where the one with fewer rows is zero beyond."""
    m, r = min(len(A), len(B)), A.shape[1]
    return float(min(np.square(A[:m].T @ B[:m]).sum() / r, 1.0)) if r else np.nan


def _overlap_level(r: int, size: int) -> Level:
    """Return the level of the overlap with a random r-dimensional subspace of `size` dimensions.

    Its mean and variance are exact, and its law is taken as the Beta law that has them; for r = 1 it is that law.
    """
    mean = r / size
    if r == size:
        return Level(1.0, 1.0, 1.0)
    variance = 2 * (size - r) ** 2 / (size**2 * (size - 1) * (size + 2))
    total = mean * (1 - mean) / variance - 1
    low, high = betaincinv(mean * total, (1 - mean) * total, INTERVAL)
    return Level(mean, float(low), float(high))


def _leading(matrix: AdaptedMatrix, r: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the r leading left and right singular vectors of an SVFT update, (m, r) each."""
    if matrix.m <= 4 * r or (matrix.rows == matrix.cols).all():
        whole = _svd(matrix)
        return whole.P[:, :r], whole.Q[:, :r]
    P, _, Qt = svds(sparse(matrix.rows, matrix.cols, matrix.values, matrix.m), k=r, v0=np.ones(matrix.m))
    return P, Qt.T


def _svd(matrix: AdaptedMatrix) -> Svd:
    """Return the decomposition of an update, in coordinates of the basis first and of what lies outside after it."""
    if matrix.projected:
        return dense_svd(matrix.with_outside(matrix.coefficients()))
    return svd(sparse(matrix.rows, matrix.cols, matrix.values, matrix.m))


def comparison_rows(a: Adapter, b: Adapter, damaged: dict[str, str] | None = None) -> Iterator[dict]:
    """Yield `compare_matrix` of each matrix that both adapt.

    Args:
        a: The first adapter.
        b: The second.
        damaged: Takes the matrices whose numbers cannot be read, with the reason; without it, the first one raises.
    """
    for name in shared(a, b).names:
        try:
            yield compare_matrix(a, b, name)
        except AdapterError as error:
            if damaged is None:
                raise
            damaged[name] = str(error)


def compare_adapters(a: Adapter, b: Adapter, damaged: dict[str, str] | None = None) -> pd.DataFrame:
    """Return one row per matrix that both adapt, in the order of the first.

    Columns:
        name, layer, kind, label, n: The matrix.
        relative_norm_a, relative_norm_b: ‖ΔW‖_F / ‖W‖_F of each (NaN if a truncated basis hides the tail of W).
        norm_ratio: ‖ΔW_b‖_F / ‖ΔW_a‖_F; NaN if the first is zero.
        cosine, chance_cosine: See `cosine`.
        directions, overlap_left, chance_left, chance_left_low, chance_left_high, overlap_right, chance_right,
            chance_right_low, chance_right_high: See `overlap`.
        basis_error: See `in_basis_of`. If it is above `TOLERANCE`, if both updates leave the basis and one was
            saved as a projection, which keeps that part only up to a rotation, or an update is zero, cosine and
            overlaps are not defined (NaN).

    Raises:
        AdapterError: If no matrix is shared, or one is damaged.
    """
    return comparison_table(list(comparison_rows(a, b, damaged)))


def comparison_table(rows: Sequence[dict]) -> pd.DataFrame:
    """Return dicts of `compare_matrix` as the table of `compare_adapters`."""
    return pd.DataFrame(rows, columns=list(_COLUMN_TYPES)).astype(_COLUMN_TYPES)


def average(table: pd.DataFrame, likeness: str) -> tuple[float, Level]:
    """Return the mean of a likeness over matrices, and what it is with noise in place of the second adapter.

    Args:
        table: The table of `compare_adapters`; matrices where the likeness is not defined do not count.
        likeness: "cosine", "overlap_left" or "overlap_right".

    Returns:
        The mean, and its level: half-widths of independent matrices add up as squares.
    """
    table = table[table[likeness].notna()]
    if likeness == "cosine":
        mean, reach = 0.0, [np.linalg.norm(table["chance_cosine"]) / len(table)] * 2
    else:
        side = likeness.replace("overlap", "chance")
        mean = float(table[side].mean())
        reach = [np.linalg.norm(table[side] - table[f"{side}{end}"]) / len(table) for end in ("_low", "_high")]
    return float(table[likeness].mean()), Level(mean, mean - float(reach[0]), mean + float(reach[1]))


def overlap_words(table: pd.DataFrame, side: str) -> pd.Series:
    """Return the 95% interval of noise of each overlap on a side, "left" or "right", in words; "" if undefined."""
    ends = (table[f"chance_{side}{end}"] for end in ("", "_low", "_high"))
    levels = [Level(*level) for level in zip(*ends, strict=True)]
    words = ["" if pd.isna(level.mean) else level.words(level.percent) for level in levels]
    return pd.Series(words, index=table.index, dtype=object)


def differences(a: dict, b: dict) -> pd.DataFrame:
    """Return every measure of one matrix in two adapters, and their differences.

    Args:
        a: `analysis.measures.summary.summarize` of the matrix in the first adapter.
        b: The same of the second.

    Columns:
        measure: Name of a number of `measures.summary.summarize`; what describes the matrix itself is left out.
        a, b: Its values, NaN if unknown.
        difference: b − a.
    """
    names = [name for name in a if name not in _PLACE and name in b]
    rows = [(name, *(np.nan if pd.isna(of[name]) else float(of[name]) for of in (a, b))) for name in names]
    table = pd.DataFrame(rows, columns=["measure", "a", "b"])
    return table.assign(difference=table["b"] - table["a"])
