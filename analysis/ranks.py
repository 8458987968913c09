"""Norms and ranks of W, W+ΔW and ΔW, from their singular values: Σ, those of Σ+M, and those of M.

With a truncated basis, what depends on the unknown tail of W is NaN for W and W+ΔW. ΔW is always known.
"""

from __future__ import annotations

import pandas as pd

from analysis.adapter import AdaptedMatrix


def norms(matrix: AdaptedMatrix) -> pd.DataFrame:
    """Return the norms of the three matrices, one row each.

    Columns:
        of: "W", "W+ΔW", "ΔW".
        spectral: Largest singular value.
        frobenius: Root of the sum of squares.
        nuclear: Sum of the singular values.
    """
    raise NotImplementedError


def ranks(matrix: AdaptedMatrix, tolerance: float | None = None) -> pd.DataFrame:
    """Return the ranks of the three matrices, one row each.

    Args:
        matrix: The adapted matrix.
        tolerance: Singular values above tolerance·σ₁ (σ₁ of the matrix in question) count for the numerical rank. None
            takes max(shape)·eps of float32, the type in which M and sigma are stored.

    Columns:
        of: "W", "W+ΔW", "ΔW".
        stable_rank: ‖·‖_F² / ‖·‖₂².
        effective_rank: exp of the entropy of the singular values divided by their sum (Roy & Vetterli 2007).
        numerical_rank: Number of singular values above the threshold (Int64, NA where unknown).
        threshold: tolerance·σ₁, as used.
        noise_stable_rank, noise_effective_rank: For ΔW, the same of seeded Gaussian noise on the same Ω; NaN for W, W+ΔW.
        All ranks are 0 for a matrix of zeros.
    """
    raise NotImplementedError


def rank_bounds(matrix: AdaptedMatrix) -> pd.Series:
    """Return what the rank of ΔW can be at most.

    Returns:
        structural_rank: Generic rank of the pattern Ω, its bound for any values.
        min_k_n: min(k, n), the bound for the best Ω with k entries.
        lora_rank: k / (out + in), the rank that LoRA's k parameters could give this matrix; LoRA itself needs a whole
            number of at least 1.
    """
    raise NotImplementedError
