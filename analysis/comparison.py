"""Two adapters of one base, compared matrix by matrix in the singular basis that they share.

U and V have orthonormal columns, so the inner product of two updates is that of their coefficients, ⟨ΔW, ΔW'⟩ =
⟨M, M'⟩, and the leading singular vectors of an update are U and V times those of its M. What an update has outside the
basis (only one that was projected into it can) takes no part: cosines are then those of the parts inside.

Chance levels. Two independent updates with Gaussian entries on Ω and Ω' have a cosine of mean 0 and standard deviation
√(|Ω ∩ Ω'| / (k·k')). Two random r-dimensional subspaces of an n-dimensional space overlap by r/n on average.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from analysis.adapter import AdaptedMatrix, Adapter, AdapterError
from analysis.adapter_file import read_signature
from analysis.linear_algebra import sparse, svd
from analysis.ranks import rounding

LEADING = 10  # directions whose spans are compared
TOLERANCE = 5e-3  # relative error of ΔW up to which two bases count as one: that of `svft.basis`

_COLUMN_TYPES = {
    "name": "str", "layer": "Int64", "kind": "str", "label": "str", "n": "int64", "relative_norm_a": "float64",
    "relative_norm_b": "float64", "norm_ratio": "float64", "cosine": "float64", "chance_cosine": "float64",
    "directions": "Int64", "overlap_left": "float64", "overlap_right": "float64", "chance_overlap": "float64",
    "basis_error": "float64",
}  # fmt: skip

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


def shared(a: Adapter, b: Adapter) -> Shared:
    """Return which matrices two adapters both adapt.

    Raises:
        AdapterError: Where there is none.
    """
    shapes_a, shapes_b = (
        {row["name"]: (row["out"], row["in"]) for row in of.matrices[["name", "out", "in"]].to_dict("records")}
        for of in (a, b)
    )
    both = [name for name in shapes_a if name in shapes_b]
    found = Shared(
        names=[name for name in both if shapes_a[name] == shapes_b[name]],
        only_a=[name for name in shapes_a if name not in shapes_b],
        only_b=[name for name in shapes_b if name not in shapes_a],
        unlike=[name for name in both if shapes_a[name] != shapes_b[name]],
    )
    if not found.names:
        raise AdapterError(
            f"{a.path.name} and {b.path.name} adapt no matrix of one name and shape: choose two adapters of one base."
        )
    return found


def in_basis_of(a: Adapter, b: Adapter, name: str) -> tuple[AdaptedMatrix, float]:
    """Return a matrix of `b` with its coefficients in the basis of `a`, and how far the two bases differ.

    Singular vectors are unique only up to signs: where the two files were written with different ones, the
    coefficients change sign with them.

    Returns:
        The matrix; and the estimated relative error of its ΔW, which is above `TOLERANCE` where the singular vectors
        of the two are not the same (another base, other precision, rotated vectors).
    """
    matrix = b.matrix(name)
    own, stored = read_signature(a.path, name), read_signature(b.path, name)
    m = min(own.shape[1], stored.shape[1])
    if np.array_equal(own[:, :m], stored[:, :m]):
        return matrix, 0.0
    import torch  # it takes seconds, and adapters from one machine come here without it

    from svft.basis import align

    inside = np.maximum(matrix.rows, matrix.cols) < m  # beyond, `a` has nothing that it could be compared with
    rows, cols, values = (torch.from_numpy(part[inside]) for part in (matrix.rows, matrix.cols, matrix.values))
    found = align(*(torch.from_numpy(part[:, :m].astype(np.float32)) for part in (stored, own)), rows, cols, values)
    signs = np.ones(matrix.k)
    signs[inside] = found.signs.numpy()
    return replace(matrix, values=matrix.values * signs), found.error


def compare_matrix(a: Adapter, b: Adapter, name: str) -> dict:
    """Return the comparison of one matrix, as a dict; the columns of `compare_adapters`."""
    first = a.matrix(name)
    second, error = in_basis_of(a, b, name)
    norms = [float(np.linalg.norm(matrix.values)) for matrix in (first, second)]
    weight = np.nan if first.truncated else float(np.linalg.norm(first.sigma))
    row = {
        "name": name,
        "layer": pd.NA if first.layer is None else first.layer,
        "kind": first.kind,
        "label": first.label,
        "n": first.n,
        "relative_norm_a": norms[0] / weight if weight else np.nan,
        "relative_norm_b": norms[1] / weight if weight else np.nan,
        "norm_ratio": norms[1] / norms[0] if norms[0] else np.nan,
        "basis_error": error,
    }
    if error > TOLERANCE or not all(norms):
        missing = ("cosine", "chance_cosine", "overlap_left", "overlap_right", "chance_overlap")
        return row | dict.fromkeys(missing, np.nan) | {"directions": pd.NA}
    return row | cosine(first, second) | overlap(first, second)


def cosine(first: AdaptedMatrix, second: AdaptedMatrix) -> dict:
    """Return ⟨M, M'⟩ / (‖M‖_F ‖M'‖_F) of two updates in one basis, and its standard deviation for noise."""
    size = max(first.m, second.m)
    flat_a, flat_b = (matrix.rows * size + matrix.cols for matrix in (first, second))
    _, at_a, at_b = np.intersect1d(flat_a, flat_b, assume_unique=True, return_indices=True)
    inner = float(first.values[at_a] @ second.values[at_b])
    norms = np.linalg.norm(first.values) * np.linalg.norm(second.values)
    return {
        "cosine": float(np.clip(inner / norms, -1, 1)),
        "chance_cosine": float(np.sqrt(len(at_a) / (first.k * second.k))),
    }


def overlap(first: AdaptedMatrix, second: AdaptedMatrix, leading: int = LEADING) -> dict:
    """Return the overlap of the spans of the leading singular vectors of two updates in one basis.

    Returns:
        directions: r, `leading` or the smaller rank of the two.
        overlap_left, overlap_right: ‖AᵀB‖_F² / r for orthonormal bases A and B of the two spans (mean squared cosine
            of their principal angles), from 0 to 1.
        chance_overlap: r/n.
    """
    vectors, counts = [], []
    for matrix in (first, second):
        found = svd(sparse(matrix.rows, matrix.cols, matrix.values, matrix.m))
        counts.append(int((found.values > rounding(matrix.shape) * found.values[0]).sum()))
        vectors.append((found.P, found.Q))
    r, m = min(leading, *counts), min(first.m, second.m)
    left, right = (
        float(min(np.square(A[:m, :r].T @ B[:m, :r]).sum() / r, 1.0)) for A, B in zip(*vectors, strict=True)
    )
    return {"directions": r, "overlap_left": left, "overlap_right": right, "chance_overlap": r / first.n}


def comparison_rows(a: Adapter, b: Adapter) -> Iterator[dict]:
    """Yield `compare_matrix` of each matrix that both adapt."""
    for name in shared(a, b).names:
        yield compare_matrix(a, b, name)


def compare_adapters(a: Adapter, b: Adapter) -> pd.DataFrame:
    """Return one row per matrix that both adapt, in the order of the first.

    Columns:
        name, layer, kind, label, n: The matrix.
        relative_norm_a, relative_norm_b: ‖ΔW‖_F / ‖W‖_F of each (NaN where a truncated basis hides the tail of W).
        norm_ratio: ‖ΔW_b‖_F / ‖ΔW_a‖_F; NaN where the first is zero.
        cosine, chance_cosine: See `cosine`.
        directions, overlap_left, overlap_right, chance_overlap: See `overlap`.
        basis_error: See `in_basis_of`. Where it is above `TOLERANCE`, or an update is zero, cosine and
            overlaps are not defined (NaN).

    Raises:
        AdapterError: Where no matrix is shared, or one is damaged.
    """
    return comparison_table(list(comparison_rows(a, b)))


def comparison_table(rows: list[dict]) -> pd.DataFrame:
    """Return dicts of `compare_matrix` as the table of `compare_adapters`."""
    return pd.DataFrame(rows, columns=list(_COLUMN_TYPES)).astype(_COLUMN_TYPES)


def differences(a: dict, b: dict) -> pd.DataFrame:
    """Return every measure of one matrix in two adapters, and their differences.

    Args:
        a: `analysis.summary.summarize` of the matrix in the first adapter.
        b: The same of the second.

    Columns:
        measure: Name of a number of `analysis.summary.summarize`; what describes the matrix itself is left out.
        a, b: Its values, NaN where unknown.
        difference: b − a.
    """
    names = [name for name in a if name not in _PLACE and name in b]
    rows = [(name, *(np.nan if pd.isna(of[name]) else float(of[name]) for of in (a, b))) for name in names]
    table = pd.DataFrame(rows, columns=["measure", "a", "b"])
    return table.assign(difference=table["b"] - table["a"])
