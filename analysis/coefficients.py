"""Tables of the coefficients M: its entries, and where their energy (sum of squares) lies.

Chance levels. If the k trained entries were independent Gaussian noise, c of them would hold c/k of the energy on
average, and their share would follow a Beta(c/2, (k−c)/2) distribution: that gives every `noise_share` and its central
95 % interval `noise_low` to `noise_high` in closed form. Sorted entries have no such form and are simulated, seeded.

The energy of a matrix whose entries are all zero is zero, and so are all its shares.
"""

from __future__ import annotations

import pandas as pd

from analysis.adapter import AdaptedMatrix


def entries(matrix: AdaptedMatrix) -> pd.DataFrame:
    """Return one row per trained entry, in the file's order.

    Columns:
        i, j: Row and column in M: the entry couples left direction u_i and right direction v_j.
        offset: j − i.
        value: M[i, j].
        sigma_i, sigma_j: Singular values of the two directions.
        relative: value / √(max(σ_i, f)·max(σ_j, f)), with the floor f = 1 % of σ₁; zero where W is zero.
    """
    raise NotImplementedError


def energy_by_offset(matrix: AdaptedMatrix) -> pd.DataFrame:
    """Return the energy of each diagonal that has trained entries, by increasing offset.

    Columns:
        offset: j − i.
        energy: Sum of squares of the diagonal's entries.
        share: Its part of the whole energy.
        entries: Number of trained entries on it.
        noise_share, noise_low, noise_high: The share that Gaussian noise would have, and its 95 % interval.
    """
    raise NotImplementedError


def energy_by_row(matrix: AdaptedMatrix) -> pd.DataFrame:
    """Return the energy of every row i of M (left direction u_i), rows without trained entries included.

    Columns:
        index: i.
        energy, share, entries, noise_share, noise_low, noise_high: As in `energy_by_offset`.
    """
    raise NotImplementedError


def energy_by_column(matrix: AdaptedMatrix) -> pd.DataFrame:
    """Return the energy of every column j of M (right direction v_j), as `energy_by_row` does for rows."""
    raise NotImplementedError


def energy_shares(matrix: AdaptedMatrix) -> pd.DataFrame:
    """Return the shares of energy in parts of M that have a meaning.

    Columns:
        part: "on_diagonal" (i = j), "off_diagonal" (i ≠ j), "leading_10pct" (i and j both among the leading
            ⌈n/10⌉ directions of W).
        energy, share, entries, noise_share, noise_low, noise_high: As in `energy_by_offset`.
    """
    raise NotImplementedError


def concentration(matrix: AdaptedMatrix) -> pd.DataFrame:
    """Return how much of the energy the largest entries hold, beside the same for Gaussian noise of equal k.

    Columns:
        count: Number of largest entries taken, from 0 to k, at most 201 of them.
        fraction_of_entries: count / k.
        energy_share: Part of the energy that they hold.
        noise_low, noise_mid, noise_high: The same for noise: 2.5 % quantile, mean, 97.5 % quantile.
    """
    raise NotImplementedError


def entries_for_energy(matrix: AdaptedMatrix, share: float = 0.9) -> pd.Series:
    """Return the smallest part of the entries that holds `share` of the energy, beside the same for noise.

    Returns:
        count, fraction (of k), noise_mid (mean), noise_low, noise_high (95 %), all fractions but count; zero for a
        zero update.
    """
    raise NotImplementedError


def noise_like(matrix: AdaptedMatrix, seed: int = 0) -> AdaptedMatrix:
    """Return `matrix` with its trained entries replaced by Gaussian noise of the same energy on the same Ω.

    Any table of it is a chance level for the same table of `matrix`.
    """
    raise NotImplementedError
