"""One row of measures per adapted matrix, tables over a whole adapter, and totals of an adapter."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from analysis.adapter import AdaptedMatrix, Adapter

# progress(done, total, name): called before each matrix with its name, and once after the last with name "".
Progress = Callable[[int, int, str], None]


def summarize(matrix: AdaptedMatrix) -> dict:
    """Return the measures of one matrix, as a dict; the columns of `summarize_adapter`."""
    raise NotImplementedError


def summarize_adapter(
    adapter: Adapter, progress: Progress | None = None, should_stop: Callable[[], bool] | None = None
) -> pd.DataFrame:
    """Return one row of measures per adapted matrix, in the adapter's order.

    Args:
        adapter: An open adapter.
        progress: Told of each matrix.
        should_stop: Asked before each matrix; once it says True, the rows so far are returned.

    Columns:
        name, layer, kind, label, out, in, n, m, k, pattern_label: As in `Adapter.matrices`.
        weight_norm: ‖W‖_F (NaN where a truncated basis hides the tail of W).
        update_norm: ‖ΔW‖_F.
        relative_norm: ‖ΔW‖_F / ‖W‖_F (NaN as above; 0 for a zero update).
        update_spectral, update_nuclear: ‖ΔW‖₂ and nuclear norm of ΔW.
        stable_rank, effective_rank, numerical_rank: Of ΔW, see `ranks.ranks`.
        structural_rank, min_k_n, lora_rank: See `ranks.rank_bounds`.
        off_diagonal_share, noise_off_diagonal_share: Energy off the diagonal, and for noise.
        leading_share, noise_leading_share: Energy in the leading 10 % of directions, and for noise.
        entries_for_90, noise_entries_for_90: Part of the entries that holds 90 % of the energy, and for noise.
        largest_delta_sigma: Δσ of largest size, signed, of paired vectors.
        largest_relative_delta_sigma: Largest |Δσ/σ|, signed, among σ of at least 1 % of σ₁.
        moved: Number of directions that changed place.
        turned: Number of directions that turned, see `spectrum.spectrum`.
        intruders: Number of intruder dimensions among the leading 10 new vectors.
    """
    raise NotImplementedError


def over_adapter(
    table: Callable[[AdaptedMatrix], pd.DataFrame],
    adapter: Adapter,
    progress: Progress | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> pd.DataFrame:
    """Return `table` of every matrix of the adapter, one under the other.

    Args:
        table: A function of one matrix, such as `coefficients.entries` or `spectrum.spectrum`.
        adapter: An open adapter.
        progress: Told of each matrix.
        should_stop: Asked before each matrix; once it says True, the rows so far are returned.

    Columns:
        name, layer, kind, label: The matrix.
        …: Those of `table`.
    """
    raise NotImplementedError


def totals(summary: pd.DataFrame) -> pd.Series:
    """Return the measures of the whole adapter, from the table of `summarize_adapter`.

    Returns:
        matrices, k: Number of matrices and of trained entries.
        update_norm, relative_norm: Of all matrices as one block-diagonal matrix.
        off_diagonal_share, noise_off_diagonal_share, leading_share, noise_leading_share: Of its energy.
        numerical_rank, structural_rank: Sums.
        largest_delta_sigma: Δσ of largest size, signed.
        moved, turned, intruders: Sums.
    """
    raise NotImplementedError
