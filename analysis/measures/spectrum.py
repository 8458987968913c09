"""Tables of what an update did to the singular values and vectors of W.

All of it is n×n: with Σ + M = P Λ Qᵀ, the new weight has singular values Λ and singular vectors U P and V Q, so the
cosines between old and new left (right) singular vectors are the entries of P (of Q). Neither W nor ΔW is formed.

Of a projection (an update of another kind, see `adapters.adapter.Projection`) all of this is said of the whole update,
the part outside the thin basis included.

Adding to the diagonal only reorders, and so every comparison first pairs old and new vectors, by the assignment that
maximises the sum of |P|·|Q|. Signs of vectors are free; all cosines are absolute.

Truncated basis (the file holds m < n directions): W = U Σ Vᵀ + rest, where the rest is orthogonal to the basis,
untouched by the update, and no larger than σ_m. New values and vectors are known; a place in the order is known only
down to σ_m, and is NA below it.

What noise does, `measures.null.spectral_null` says.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from analysis.adapters.adapter import AdaptedMatrix
from analysis.common.linear_algebra import (
    Svd,
    clusters,
    dense_singular_values,
    dense_svd,
    pair,
    singular_values,
    sparse,
    svd,
)

# Below this cosine (26°) to the old vector that it is paired with, a new vector counts as turned.
TURNED_COSINE = 0.9

# Singular values nearer to each other than this part of σ₁ nearly coincide: in float32, an error of 1e-7·σ₁ in W turns
# their vectors by one percent or more, so only the space they span means something.
CLUSTER_GAP = 1e-5


@lru_cache(maxsize=2)  # several tables of one matrix follow each other; P and Q are large
def new_svd(matrix: AdaptedMatrix) -> Svd:
    """Return Σ + M = P Λ Qᵀ: new singular values, and new vectors in the basis of the old ones (see `Svd`).

    Of a projection, Λ is that of the whole W + ΔW, and P or Q is the part of the new vectors inside the old basis.
    """
    if matrix.projected:
        whole = dense_svd(matrix.with_outside(matrix.updated()))
        return Svd(whole.P[: matrix.m], whole.values, whole.Q[: matrix.m])
    return svd(_updated(matrix))


@lru_cache(maxsize=8)
def new_singular_values(matrix: AdaptedMatrix) -> np.ndarray:
    """Return the singular values of W + ΔW, descending: (m,); much cheaper than `new_svd` for large m."""
    if matrix.projected:
        return dense_singular_values(matrix.with_outside(matrix.updated()))
    return singular_values(_updated(matrix))


def spectrum(matrix: AdaptedMatrix, turned_cosine: float = TURNED_COSINE) -> pd.DataFrame:
    """Return one row per old singular direction, beside the new one it is paired with.

    Columns:
        index: Place of the old direction, from 0.
        sigma: Old singular value.
        sigma_new: New singular value of the paired vector.
        delta: sigma_new − sigma.
        relative_delta: delta / sigma; NaN if sigma is zero.
        rank_new: Place of the paired vector among the new ones (Int64; NA if a truncated basis leaves it unknown).
        moved: Whether the place changed (boolean, NA with rank_new). Exchanging values that nearly coincide, old or
            new, is no change.
        cosine_left, cosine_right: |cos| between the paired left (right) vectors.
        subspace_left, subspace_right: The same if values nearly coincide: the length of the new vector within the
            old vectors of nearly equal value, or of the old one within the new ones, whichever is more. Elsewhere
            equal to the cosine.
        turned: Whether the smaller of subspace_left and subspace_right is under `turned_cosine`.
    """
    new, index = new_svd(matrix), np.arange(matrix.m)
    paired = pair(new.P, new.Q)
    sigma_new = new.values[paired]
    gap = CLUSTER_GAP * max(matrix.sigma[0], new.values[0])
    old_cluster, new_cluster = clusters(matrix.sigma, gap), clusters(new.values, gap)
    moved = (old_cluster[paired] != old_cluster) & (new_cluster[paired] != new_cluster)
    is_known = paired < _known_places(matrix)
    table = pd.DataFrame(
        {
            "index": index,
            "sigma": matrix.sigma,
            "sigma_new": sigma_new,
            "delta": sigma_new - matrix.sigma,
            "relative_delta": np.divide(
                sigma_new - matrix.sigma, matrix.sigma, out=np.full(matrix.m, np.nan), where=matrix.sigma > 0
            ),
            "rank_new": pd.array(paired, dtype="Int64"),
            "moved": pd.array(moved, dtype="boolean"),
        }
    )
    table.loc[~is_known, ["rank_new", "moved"]] = pd.NA
    for side, cosines in (("left", new.P), ("right", new.Q)):
        table[f"cosine_{side}"] = np.minimum(np.abs(cosines[index, paired]), 1.0)
    for side, cosines in (("left", new.P), ("right", new.Q)):
        table[f"subspace_{side}"] = _subspace_cosines(cosines, paired, old_cluster, new_cluster)
    table["turned"] = table[["subspace_left", "subspace_right"]].min(axis=1) < turned_cosine
    return table


def subspace_overlap(matrix: AdaptedMatrix) -> pd.DataFrame:
    """Return how much of the leading r directions is kept, for r = 1 … m.

    If the basis is truncated, the rows end with the last r whose leading new directions are known.

    Columns:
        r: Number of leading directions, old and new.
        overlap_left, overlap_right: ‖P[:r, :r]‖_F² / r, from 0 to 1: mean squared cosine of the principal angles
            between the spans of the leading r old and new vectors.
        chance: r/n, the mean for a random r-dimensional subspace of the span of the n singular vectors, where all new
            vectors lie.
    """
    new = new_svd(matrix)
    r = np.arange(1, _known_places(matrix) + 1)
    table = pd.DataFrame({"r": r})
    for side, cosines in (("left", new.P), ("right", new.Q)):
        inside = np.diagonal(np.square(cosines).cumsum(axis=0).cumsum(axis=1))
        table[f"overlap_{side}"] = np.minimum(inside[: len(r)] / r, 1.0)
    table["chance"] = r / matrix.n
    return table


def intruders(matrix: AdaptedMatrix, top: int = 10, threshold: float = 0.6) -> pd.DataFrame:
    """Return the leading new singular vectors and whether they are intruder dimensions (arXiv 2410.21228).

    Columns:
        rank_new: Place among the new vectors, from 0, the `top` leading ones (fewer if m is smaller, or if a
            truncated basis leaves the order unknown).
        sigma_new: New singular value.
        max_cosine_left, max_cosine_right: Largest |cos| with any old left (right) vector; if old values nearly
            coincide, with the space that their vectors span.
        intruder: Whether max_cosine_left, the measure of the paper, or max_cosine_right is under `threshold`.
    """
    new = new_svd(matrix)
    count = min(top, _known_places(matrix))
    gap = CLUSTER_GAP * max(matrix.sigma[0], new.values[0])
    starts = np.unique(clusters(matrix.sigma, gap))
    table = pd.DataFrame({"rank_new": np.arange(count), "sigma_new": new.values[:count]})
    for side, cosines in (("left", new.P), ("right", new.Q)):
        within = np.sqrt(np.add.reduceat(np.square(cosines[:, :count]), starts, axis=0))
        table[f"max_cosine_{side}"] = np.minimum(within.max(axis=0), 1.0)
    table["intruder"] = table[["max_cosine_left", "max_cosine_right"]].min(axis=1) < threshold
    return table


def cumulative_energy(matrix: AdaptedMatrix) -> pd.DataFrame:
    """Return how much of ‖ΔW‖_F² its leading singular directions hold.

    Columns:
        directions: Number of directions, 0 … m.
        energy_share: Part of the energy in them; zero for a zero update.
    """
    held = held_by_leading(matrix.update_singular_values)
    return pd.DataFrame({"directions": np.arange(matrix.m + 1), "energy_share": held})


def held_by_leading(values: np.ndarray) -> np.ndarray:
    """Return the part of the energy that the 0, 1, … m leading singular values hold, (m + 1,)."""
    held = np.concatenate([[0.0], np.square(values).cumsum()])
    return held / (held[-1] or 1.0)


def _updated(matrix: AdaptedMatrix) -> csr_array:
    index = np.arange(matrix.m)
    return sparse(
        np.concatenate([index, matrix.rows]),
        np.concatenate([index, matrix.cols]),
        np.concatenate([matrix.sigma, matrix.values]),
        matrix.m,
    )


def _known_places(matrix: AdaptedMatrix) -> int:
    """Return how many leading places of the new order are certain."""
    if not matrix.truncated:
        return matrix.m
    return int((new_svd(matrix).values >= matrix.sigma[-1]).sum())


def _subspace_cosines(
    cosines: np.ndarray, paired: np.ndarray, old_cluster: np.ndarray, new_cluster: np.ndarray
) -> np.ndarray:
    """Return the cosines of `spectrum`'s subspace columns, (m,)."""
    index = np.arange(len(paired))
    lengths = np.abs(cosines[index, paired])
    old_size, new_size = np.bincount(old_cluster), np.bincount(new_cluster)
    for i in np.flatnonzero((old_size[old_cluster] > 1) | (new_size[new_cluster[paired]] > 1)):
        start, new_start = old_cluster[i], new_cluster[paired[i]]
        old = cosines[start : start + old_size[start], paired[i]]
        new = cosines[i, new_start : new_start + new_size[new_start]]
        lengths[i] = max(np.linalg.norm(old), np.linalg.norm(new))
    return np.minimum(lengths, 1.0)
