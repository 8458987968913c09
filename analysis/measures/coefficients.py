"""Tables of the coefficients M: its entries, and where their energy (sum of squares) lies.

Every share stands beside its mean under noise, `noise_share`, and its 95% interval, `noise_low` to `noise_high`: see
`measures.noise`. Sorted entries have no such law: `measures.null` draws it.

The energy of a matrix whose entries are all zero is zero, and so are all its shares.

Of a projection (an update of another kind, of which M is the part inside the thin basis) every share is one of the
whole ‖ΔW‖_F². Only `concentration` and `entries_for_energy` speak of M alone.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.adapters.adapter import AdaptedMatrix
from analysis.measures import noise

SHARE = 0.9  # of the energy: how few entries hold it?
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


def energy_by_offset(matrix: AdaptedMatrix, most: int | None = None) -> pd.DataFrame:
    """Return the energy of each diagonal that has trained entries, by increasing offset.

    Args:
        matrix: The adapted matrix.
        most: If there are more diagonals, so many neighbours share a row that there are at most so many rows.

    Columns:
        offset: j − i; the middle one of neighbours.
        width: Number of diagonals that share a row.
        energy: Sum of squares of their entries.
        share: Its part of the whole energy.
        entries: Number of trained entries on them.
        noise_share, noise_low, noise_high: The share's mean and 95% interval under noise.
        stands_out: Whether the share is not what noise does, at 5% for all rows together (Bonferroni): of random
            updates, at most one in twenty has any such row. Far from its middle the Beta law of random directions is
            too light (7% were found at low rank), so they are judged at half the level.
    """
    offset = matrix.cols - matrix.rows
    span = int(np.ptp(offset)) + 1
    width = 1 if most is None or span <= most else -(-span // most)
    offsets, group = np.unique(np.round(offset / width).astype(int) * width, return_inverse=True)
    table = _energy(matrix, "offset", offsets, group)
    table.insert(1, "width", width)
    surprise = noise.shares(matrix, group, len(offsets)).surprise(table["share"].to_numpy())
    table["stands_out"] = (surprise * len(offsets) < _level(matrix)) & (matrix.energy > 0)
    return table


def energy_profile(matrix: AdaptedMatrix, most: int = 32) -> pd.DataFrame:
    """Return where the energy of M lies: by left direction, by right direction, and by distance from the diagonal.

    It has one form for every kind of update, so that a band and a full M can stand in one figure.

    Args:
        matrix: The adapted matrix.
        most: So many neighbouring directions share a row that there are at most so many rows a side.

    Columns:
        side: "left" (rows i), "right" (columns j) or "distance".
        at: Middle of the directions that share a row; the distance d.
        share: Their part of ‖M‖_F²; of "distance", the part that lies within |j − i| ≤ d.
        noise_share: The same under noise, on average: their part of the trained entries.
        stands_out: Whether the share is not what noise does, at 5% for all rows of both sides together, as in
            `energy_by_offset`; False of distances, whose parts are not judged.
    """
    squares = np.square(matrix.values)
    whole = float(squares.sum()) or 1.0
    width = -(-matrix.m // most)
    bins = -(-matrix.m // width)
    tables = []
    for side, place in (("left", matrix.rows), ("right", matrix.cols)):
        group = place // width
        energy = np.bincount(group, squares, minlength=bins)
        surprise = noise.shares(matrix, group, bins).surprise(energy / (matrix.energy or 1.0))
        tables.append(
            pd.DataFrame(
                {
                    "side": side,
                    "at": np.minimum(np.arange(bins) * width + (width - 1) / 2, matrix.m - 1),
                    "share": energy / whole,
                    "noise_share": np.bincount(group, minlength=bins) / matrix.k,
                    "stands_out": (surprise * 2 * bins < _level(matrix)) & (matrix.energy > 0),
                }
            )
        )
    distance = np.abs(matrix.cols - matrix.rows)
    kept = np.unique(np.linspace(0, matrix.m - 1, min(matrix.m, _DISTANCES)).astype(int))
    within = {
        name: np.bincount(distance, weight, minlength=matrix.m).cumsum()[kept]
        for name, weight in (("share", squares / whole), ("noise_share", np.full(matrix.k, 1 / matrix.k)))
    }
    tables.append(pd.DataFrame({"side": "distance", "at": kept.astype(float), **within, "stands_out": False}))
    return pd.concat(tables, ignore_index=True)


_DISTANCES = 256


def _level(matrix: AdaptedMatrix) -> float:
    """Return the level of a judgement of many rows: far out, the Beta law of random directions is too light."""
    return noise.LEVEL / 2 if matrix.projected else noise.LEVEL


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
    rows = [{"part": part, **energy_of(matrix, inside)} for part, inside in parts.items()]
    return pd.DataFrame(rows).drop(columns="surprise")


def inside_basis(matrix: AdaptedMatrix) -> pd.Series:
    """Return share, noise_share, noise_low and noise_high, as in `energy_by_offset`, of M in the whole ‖ΔW‖_F²."""
    whole = energy_of(matrix, np.ones(matrix.k, bool))
    return pd.Series({name: float(whole[name]) for name in ("share", "noise_share", "noise_low", "noise_high")})


def energy_of(matrix: AdaptedMatrix, inside: np.ndarray) -> dict[str, float]:
    """Return the energy of the entries that are `inside`, (k,) bool.

    Returns:
        energy, share, entries, noise_share, noise_low, noise_high, as in `energy_by_offset`; and surprise, the
        two-sided p-value of the share under noise, 1 for a zero update.
    """
    law = noise.shares(matrix, inside.astype(np.int64), 2)
    low, high = law.interval()
    energy = float(np.square(matrix.values[inside]).sum())
    share = energy / (matrix.energy or 1.0)
    return {
        "energy": energy,
        "share": share,
        "entries": int(inside.sum()),
        "noise_share": float(law.mean[1]),
        "noise_low": float(low[1]),
        "noise_high": float(high[1]),
        "surprise": float(law.surprise(np.array([0.0, share]))[1]) if matrix.energy else 1.0,
    }


def _energy(matrix: AdaptedMatrix, column: str, labels: np.ndarray, group: np.ndarray) -> pd.DataFrame:
    """Return the energy table of a division of the entries: `group` (k,) is the place of each one's label."""
    energy = np.bincount(group, weights=matrix.values**2, minlength=len(labels))
    law = noise.shares(matrix, group, len(labels))
    low, high = law.interval()
    return pd.DataFrame(
        {
            column: labels,
            "energy": energy,
            "share": energy / (matrix.energy or 1.0),
            "entries": np.bincount(group, minlength=len(labels)),
            "noise_share": law.mean,
            "noise_low": low,
            "noise_high": high,
        }
    )


def concentration(matrix: AdaptedMatrix) -> pd.DataFrame:
    """Return how much of the energy the largest entries hold; `measures.null.entry_null` has the same for noise.

    Columns:
        count: Number of largest entries taken, from 0 to k, at most 201 of them.
        fraction_of_entries: count / k.
        energy_share: Part of the energy that they hold.
    """
    counts = sample_counts(matrix.k)
    return pd.DataFrame(
        {
            "count": counts,
            "fraction_of_entries": counts / matrix.k,
            "energy_share": held_by_largest(matrix.values)[counts],
        }
    )


def sample_counts(k: int) -> np.ndarray:
    """Return the numbers of entries at which a curve over all k is given: at most 201, from 0 to k."""
    return np.unique(np.linspace(0, k, min(k, 200) + 1).round().astype(np.int64))


def held_by_largest(values: np.ndarray) -> np.ndarray:
    """Return the part of the energy of `values` (k,) that the 0, 1, … k largest hold, (k + 1,); zeros if all are."""
    held = np.concatenate([[0.0], np.sort(values**2)[::-1].cumsum()])
    return held / (held[-1] or 1.0)


def entries_for_energy(matrix: AdaptedMatrix, share: float = SHARE) -> pd.Series:
    """Return the smallest part of the entries that holds `share` of M's energy.

    Returns:
        count, and fraction (of k); zero for a zero update.

    Raises:
        ValueError: If `share` is not between 0 and 1.
    """
    if not 0 < share < 1:
        raise ValueError(f"share={share!r} must lie between 0 and 1.")
    held = np.sort(matrix.values**2)[::-1].cumsum()
    count = int(np.searchsorted(held, share * held[-1])) + 1 if matrix.values.any() else 0
    return pd.Series({"count": count, "fraction": count / matrix.k})
