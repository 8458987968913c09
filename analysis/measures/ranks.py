"""Norms and ranks of W, W+ΔW and ΔW, from their singular values: Σ, those of Σ+M, and those of M.

With a truncated basis, what depends on the unknown tail of W is NaN for W and W+ΔW. ΔW is always known.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import structural_rank

from analysis.adapters.adapter import AdaptedMatrix
from analysis.measures.spectrum import new_singular_values

OF = ("W", "W+ΔW", "ΔW")


def norms(matrix: AdaptedMatrix) -> pd.DataFrame:
    """Return the norms of the three matrices, one row each.

    Columns:
        of: "W", "W+ΔW", "ΔW".
        spectral: Largest singular value.
        frobenius: Root of the sum of squares.
        nuclear: Sum of the singular values.
    """
    rows = []
    for of, values, complete in _spectra(matrix):
        spectral = values[0] if complete or values[0] >= matrix.sigma[-1] else np.nan
        frobenius, nuclear = (np.linalg.norm(values), values.sum()) if complete else (np.nan, np.nan)
        rows.append((of, spectral, frobenius, nuclear))
    return pd.DataFrame(rows, columns=["of", "spectral", "frobenius", "nuclear"])


def ranks(matrix: AdaptedMatrix, tolerance: float | None = None) -> pd.DataFrame:
    """Return the ranks of the three matrices, one row each.

    Args:
        matrix: The adapted matrix.
        tolerance: Singular values above tolerance·σ₁ (σ₁ of the matrix in question) count for the numerical rank. None
            takes `rounding`, and for ΔW `AdaptedMatrix.rounding`.

    Columns:
        of: "W", "W+ΔW", "ΔW".
        stable_rank: ‖·‖_F² / ‖·‖₂².
        effective_rank: exp of the entropy of the singular values divided by their sum (Roy & Vetterli 2007).
        numerical_rank: Number of singular values above the threshold (Int64, NA if unknown).
        threshold: tolerance·σ₁, as used. For m > 1024, values are computed to about 1e-7·σ₁: lower thresholds count
            rounding.
        All ranks are 0 for a matrix of zeros.
    """
    relative = rounding(matrix.shape) if tolerance is None else tolerance
    rows = []
    for of, values, complete in _spectra(matrix):
        if complete:
            threshold = matrix.rounding if of == "ΔW" and tolerance is None else relative * values[0]
            rank = int((values > threshold).sum())
            rows.append((of, stable_rank(values), effective_rank(values), rank, threshold))
        else:
            rows.append((of, np.nan, np.nan, pd.NA, np.nan))
    table = pd.DataFrame(rows, columns=["of", "stable_rank", "effective_rank", "numerical_rank", "threshold"])
    table["numerical_rank"] = table["numerical_rank"].astype("Int64")
    return table


def rounding(shape: Sequence[int]) -> float:
    """Return max(shape)·eps of float32, in which all that is trained is stored: what is rounding, relative to σ₁."""
    return max(shape) * float(np.finfo(np.float32).eps)


def stable_rank(values: np.ndarray) -> float:
    """Return ‖·‖_F² / ‖·‖₂² from singular values in descending order; 0 if all are zero."""
    return float(np.square(values / values[0]).sum()) if values[0] > 0 else 0.0


def effective_rank(values: np.ndarray) -> float:
    """Return exp of the entropy of singular values divided by their sum; 0 if all are zero."""
    shares = values[values > 0] / (values.sum() or 1.0)
    return float(np.exp(-(shares * np.log(shares)).sum())) if len(shares) else 0.0


def rank_bounds(matrix: AdaptedMatrix) -> pd.Series:
    """Return what the rank of ΔW can be at most.

    Returns:
        A series of numbers.
        structural_rank: Generic rank of the pattern Ω, its bound for any values; of a projection, its method's.
        min_k_n: min(k, n), the bound for the best Ω with k entries, as many as were trained.
        lora_rank: k / (out + in), the rank that LoRA's k parameters could give this matrix; LoRA itself needs a whole
            number of at least 1.
    """
    if matrix.projection is not None:
        trained, bound = matrix.projection.trained, matrix.projection.rank_bound
        return pd.Series(
            {
                "structural_rank": bound,
                "min_k_n": min(trained, matrix.n),
                "lora_rank": trained / sum(matrix.shape),
            },
            dtype=object,
        )
    pattern = coo_array((np.ones(matrix.k, np.int8), (matrix.rows, matrix.cols)), shape=(matrix.m, matrix.m))
    return pd.Series(
        {
            "structural_rank": int(structural_rank(pattern.tocsr())),
            "min_k_n": min(matrix.k, matrix.n),
            "lora_rank": matrix.k / sum(matrix.shape),
        },
        dtype=object,
    )


def _spectra(matrix: AdaptedMatrix) -> list[tuple[str, np.ndarray, bool]]:
    """Return (name, singular values, whether they are all there is) of the three matrices."""
    complete = not matrix.truncated
    spectra = (matrix.sigma, new_singular_values(matrix), matrix.update_singular_values)
    return list(zip(OF, spectra, (complete, complete, True)))
