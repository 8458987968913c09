"""Tables of the coefficients M: its entries, and where their energy (sum of squares) lies.

Chance levels. If the k trained entries were independent Gaussian noise, c of them would hold c/k of the energy on
average, and their share would follow a Beta(c/2, (k−c)/2) distribution: that gives every `noise_share` and its central
95% interval `noise_low` to `noise_high` in closed form. Sorted entries have no such form and are simulated, seeded.

The energy of a matrix whose entries are all zero is zero, and so are all its shares.

Of a projection (an update of another kind, of which M is the part inside the thin basis) every share is one of the
whole ‖ΔW‖_F², and noise is as free as the update was: on all out·in entries of ΔW. Only `concentration` and
`entries_for_energy` speak of M alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pandas as pd
from scipy.special import betaincinv

from analysis.adapters.adapter import AdaptedMatrix, Projection
from analysis.common.linear_algebra import triangle

INTERVAL = (0.025, 0.975)  # of all noise levels
_FLOOR = 0.01  # of σ₁, under √(σ_i·σ_j) in relative values


def entries(matrix: AdaptedMatrix) -> pd.DataFrame:
    """Return one row per trained entry, in the file's order.

    Columns:
        i, j: Row and column in M: the entry couples left direction u_i and right direction v_j.
        offset: j − i.
        value: M[i, j].
        sigma_i, sigma_j: Singular values of the two directions.
        relative: value / √(max(σ_i, f)·max(σ_j, f)), with the floor f = 1% of σ₁; zero if W is zero.
    """
    sigma_i, sigma_j = matrix.sigma[matrix.rows], matrix.sigma[matrix.cols]
    floor = _FLOOR * matrix.sigma[0]
    scale = np.sqrt(np.maximum(sigma_i, floor) * np.maximum(sigma_j, floor))
    return pd.DataFrame(
        {
            "i": matrix.rows,
            "j": matrix.cols,
            "offset": matrix.cols - matrix.rows,
            "value": matrix.values,
            "sigma_i": sigma_i,
            "sigma_j": sigma_j,
            "relative": np.divide(matrix.values, scale, out=np.zeros(matrix.k), where=scale > 0),
        }
    )


def energy_by_offset(matrix: AdaptedMatrix) -> pd.DataFrame:
    """Return the energy of each diagonal that has trained entries, by increasing offset.

    Columns:
        offset: j − i.
        energy: Sum of squares of the diagonal's entries.
        share: Its part of the whole energy.
        entries: Number of trained entries on it.
        noise_share, noise_low, noise_high: The share that Gaussian noise would have, and its 95% interval.
    """
    offsets, group = np.unique(matrix.cols - matrix.rows, return_inverse=True)
    return _energy(matrix, "offset", offsets, group)


def energy_shares(matrix: AdaptedMatrix) -> pd.DataFrame:
    """Return the shares of energy in parts of M that have a meaning.

    Columns:
        part: "on_diagonal" (i = j), "off_diagonal" (i ≠ j), "leading_10pct" (i and j both among the leading
            ⌈n/10⌉ directions of W).
        energy, share, entries, noise_share, noise_low, noise_high: As in `energy_by_offset`.
    """
    leading = -(-matrix.n // 10)
    parts = {
        "on_diagonal": matrix.rows == matrix.cols,
        "off_diagonal": matrix.rows != matrix.cols,
        "leading_10pct": np.maximum(matrix.rows, matrix.cols) < leading,
    }
    rows = [
        _energy(matrix, "part", np.array(["", part]), inside.astype(int)).iloc[1:] for part, inside in parts.items()
    ]
    return pd.concat(rows, ignore_index=True)


def _energy(matrix: AdaptedMatrix, column: str, labels: np.ndarray, group: np.ndarray) -> pd.DataFrame:
    """Return the energy table of a division of the entries: `group` (k,) is the place of each one's label."""
    energy = np.bincount(group, weights=matrix.values**2, minlength=len(labels))
    count = np.bincount(group, minlength=len(labels))
    free = matrix.shape[0] * matrix.shape[1] if matrix.projected else matrix.k
    low, high = _noise_interval(count, free)
    return pd.DataFrame(
        {
            column: labels,
            "energy": energy,
            "share": energy / (matrix.energy or 1.0),
            "entries": count,
            "noise_share": count / free,
            "noise_low": low,
            "noise_high": high,
        }
    )


def _noise_interval(count: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the 95% interval of the share of energy that `count` of k Gaussian entries hold."""
    distinct, place = np.unique(count, return_inverse=True)
    inner = (distinct > 0) & (distinct < k)
    levels = []
    for quantile in INTERVAL:
        level = np.where(distinct > 0, 1.0, 0.0)  # no entries hold nothing, all entries everything
        level[inner] = betaincinv(distinct[inner] / 2, (k - distinct[inner]) / 2, quantile)
        levels.append(level[place])
    return levels[0], levels[1]


def concentration(matrix: AdaptedMatrix) -> pd.DataFrame:
    """Return how much of the energy the largest entries hold, beside the same for Gaussian noise of equal k.

    Columns:
        count: Number of largest entries taken, from 0 to k, at most 201 of them.
        fraction_of_entries: count / k.
        energy_share: Part of the energy that they hold.
        noise_low, noise_mid, noise_high: The same for noise: 2.5% quantile, mean, 97.5% quantile.
    """
    counts = _counts(matrix.k)
    energy = np.sort(matrix.values**2)[::-1]
    held = np.concatenate([[0.0], energy.cumsum()])
    low, mid, high = _noise_concentration(matrix.k)
    return pd.DataFrame(
        {
            "count": counts,
            "fraction_of_entries": counts / matrix.k,
            "energy_share": held[counts] / (held[-1] or 1.0),
            "noise_low": low,
            "noise_mid": mid,
            "noise_high": high,
        }
    )


def _counts(k: int) -> np.ndarray:
    return np.unique(np.linspace(0, k, min(k, 200) + 1).round().astype(np.int64))


def _noise_curves(k: int) -> Iterator[np.ndarray]:
    """Yield seeded draws of the energy held by the 0, 1, … k largest of k Gaussian entries, each (k + 1,)."""
    rng = np.random.default_rng(0)
    for _ in range(int(np.clip(2_000_000 // k, 20, 400))):  # the more entries, the less they vary
        held = np.concatenate([[0.0], np.sort(rng.standard_normal(k) ** 2)[::-1].cumsum()])
        yield held / (held[-1] or 1.0)


@lru_cache(maxsize=64)
def _noise_concentration(k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return low, mean and high energy at `_counts`: matrices of one adapter mostly have the same k."""
    draws = np.array([held[_counts(k)] for held in _noise_curves(k)])
    low, high = np.quantile(draws, INTERVAL, axis=0)
    return low, draws.mean(axis=0), high


def entries_for_energy(matrix: AdaptedMatrix, share: float = 0.9) -> pd.Series:
    """Return the smallest part of the entries that holds `share` of the energy, beside the same for noise.

    Returns:
        count, fraction (of k), and for noise the fraction's 2.5% quantile noise_low, mean noise_mid and 97.5%
        quantile noise_high. For a zero update, count and fraction are zero.

    Raises:
        ValueError: If `share` is not between 0 and 1.
    """
    if not 0 < share < 1:
        raise ValueError(f"share={share!r} must lie between 0 and 1.")
    held = np.sort(matrix.values**2)[::-1].cumsum()
    count = int(np.searchsorted(held, share * held[-1])) + 1 if matrix.values.any() else 0
    low, mid, high = _noise_fraction(matrix.k, share)
    return pd.Series(
        {
            "count": count,
            "fraction": count / matrix.k,
            "noise_low": low,
            "noise_mid": mid,
            "noise_high": high,
        }
    )


@lru_cache(maxsize=64)
def _noise_fraction(k: int, share: float) -> tuple[float, float, float]:
    fractions = [np.searchsorted(held, share) / k for held in _noise_curves(k)]
    low, high = np.quantile(fractions, INTERVAL)
    return float(low), float(np.mean(fractions)), float(high)


def noise_like(matrix: AdaptedMatrix, seed: int = 0) -> AdaptedMatrix:
    """Return `matrix` with its trained entries replaced by Gaussian noise of the same energy on the same Ω.

    Any table of it is a chance level for the same table of `matrix`. Of a projection, ΔW is replaced by Gaussian noise
    (out, in) of the same energy, inside the basis and outside.
    """
    rng = np.random.default_rng(seed)
    if matrix.projection is not None:
        return _free_noise_like(matrix, matrix.projection, rng)
    noise = rng.standard_normal(matrix.k)
    return replace(matrix, values=noise * (np.linalg.norm(matrix.values) / np.linalg.norm(noise)))


def _free_noise_like(matrix: AdaptedMatrix, projection: Projection, rng: np.random.Generator) -> AdaptedMatrix:
    noise = rng.standard_normal((max(matrix.shape), matrix.n))  # in coordinates of the whole space, the basis first
    noise *= matrix.update_norm / np.linalg.norm(noise)
    tall = matrix.shape[0] >= matrix.shape[1]
    inside, rest = noise[: matrix.n], noise[matrix.n :]
    outside = triangle(rest)
    return replace(
        matrix,
        values=(inside if tall else inside.T).ravel(),
        projection=replace(projection, outside=(outside if tall else outside.T) if len(rest) else None),
    )
