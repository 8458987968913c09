"""Tables of what an update did to the singular values and vectors of W.

All of it is n×n: with Σ + M = P Λ Qᵀ, the new weight has singular values Λ and singular vectors U P and V Q, so the
cosines between new and old left (right) singular vectors are the entries of P (of Q). Neither W nor ΔW is formed.

Adding to the diagonal only reorders, and so every comparison first pairs old and new vectors, by the assignment that
maximises the sum of |P|·|Q|. Signs of vectors are free; all cosines are absolute.

Truncated basis (the file holds m < n directions): W = U Σ Vᵀ + rest, where the rest is orthogonal to the basis, untouched
by the update, and no larger than σ_m. New values and vectors are known; a place in the order is known only above σ_m and
is NA below it.
"""

from __future__ import annotations

import pandas as pd

from analysis.adapter import AdaptedMatrix

# Below this cosine (26°) to the old vector that it is paired with, a new vector counts as turned.
TURNED_COSINE = 0.9

# Singular values nearer to each other than this part of σ₁ nearly coincide: in float32, an error of 1e-7·σ₁ in W turns
# their vectors by one percent or more, so only the space they span means something.
CLUSTER_GAP = 1e-5


def spectrum(matrix: AdaptedMatrix, turned_cosine: float = TURNED_COSINE) -> pd.DataFrame:
    """Return one row per old singular direction, beside the new one it is paired with.

    Columns:
        index: Place of the old direction, from 0.
        sigma: Old singular value.
        sigma_new: New singular value of the paired vector.
        delta: sigma_new − sigma.
        relative_delta: delta / sigma; NaN where sigma is zero.
        rank_new: Place of the paired vector among the new ones (Int64; NA where a truncated basis leaves it unknown).
        moved: Whether the place changed (ties in the new values are no change).
        cosine_left, cosine_right: |cos| between the paired left (right) vectors.
        subspace_left, subspace_right: The same where values nearly coincide: the length of the new vector within the
            old vectors of nearly equal value, or of the old one within the new ones, whichever is more. Elsewhere equal
            to the cosine.
        turned: Whether the smaller of subspace_left and subspace_right is under `turned_cosine`.
    """
    raise NotImplementedError


def subspace_overlap(matrix: AdaptedMatrix) -> pd.DataFrame:
    """Return how much of the leading r directions is kept, for r = 1 … m (the known r where the basis is truncated).

    Columns:
        r: Number of leading directions, old and new.
        overlap_left, overlap_right: ‖P[:r, :r]‖_F² / r, from 0 to 1: mean squared cosine of the principal angles between
            the spans of the leading r old and new vectors.
        chance: r/n, the mean for a random r-dimensional subspace of the span of the n singular vectors, where all new
            vectors lie.
    """
    raise NotImplementedError


def principal_angles(matrix: AdaptedMatrix, r: int) -> pd.DataFrame:
    """Return the principal angles between the spans of the leading r old and new singular vectors.

    Columns:
        index: From 0, by increasing angle.
        angle_left_deg, angle_right_deg: In degrees, 0 to 90.

    Raises:
        ValueError: Where r is not between 1 and m.
    """
    raise NotImplementedError


def intruders(matrix: AdaptedMatrix, top: int = 10, threshold: float = 0.6) -> pd.DataFrame:
    """Return the leading new singular vectors and whether they are intruder dimensions (arXiv 2410.21228).

    Columns:
        rank_new: Place among the new vectors, from 0, the `top` leading ones (fewer where m is smaller, or where a
            truncated basis leaves the order unknown).
        sigma_new: New singular value.
        max_cosine_left, max_cosine_right: Largest |cos| with any old left (right) vector; where old values nearly
            coincide, with the space that their vectors span.
        intruder: Whether max_cosine_left, the measure of the paper, or max_cosine_right is under `threshold`.
    """
    raise NotImplementedError


def cumulative_energy(matrix: AdaptedMatrix) -> pd.DataFrame:
    """Return how much of ‖ΔW‖_F² its leading singular directions hold.

    Columns:
        directions: Number of directions, 0 … m.
        energy_share: Part of the energy in them; zero for a zero update.
        noise_share: The same for seeded Gaussian noise on the same Ω.
    """
    raise NotImplementedError
