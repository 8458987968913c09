"""Arithmetic of patterns: the band |j − i| ≤ d of M, its size and its order in files, and how a budget is shared.

NumPy only, and beside both packages: `svft` stores and trains bands, and `analysis` opens files without loading torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import isqrt

import numpy as np


def band_size(n: int, off_diag: int) -> int:
    """Return the number of entries of a band of half-width `off_diag` in an n×n matrix: ``n(2d+1) − d(d+1)``."""
    d = min(off_diag, n - 1)
    return n * (2 * d + 1) - d * (d + 1)


def half_width(k: int, n: int) -> int | None:
    """Return the half-width d of the band with exactly k entries in an n×n matrix; None if there is none."""
    if not n <= k <= n * n:
        return None
    outside = n * n - k  # two triangles of side n − 1 − d: (n−d)(n−1−d) entries
    side = (isqrt(4 * outside + 1) - 1) // 2
    return n - 1 - side if side * (side + 1) == outside else None


def nearest_half_width(n: int, k: int) -> int:
    """Return the half-width whose number of entries comes nearest to k (the smaller one of two)."""
    return int(np.argmin([abs(band_size(n, d) - k) for d in range(n)]))


def share_entries(budget: int, sizes: Sequence[int]) -> list[int]:
    """Share entries among matrices in proportion to their n, exactly: at least one and at most n² each.

    Args:
        budget: From one entry per matrix to the sum of n².
        sizes: n of each matrix.
    """
    n = np.asarray(sizes, dtype=np.int64)
    capacity = n * n
    # Largest remainders on top of the floor; what a full matrix cannot take goes to the others.
    shares = np.zeros(len(n), dtype=np.int64)
    open_ = np.ones(len(n), dtype=bool)
    while (left := budget - int(shares.sum())) > 0:
        ideal = left * n * open_ / (n * open_).sum()
        extra = np.floor(ideal).astype(np.int64)
        order = np.argsort(-(ideal - extra) * open_, kind="stable")
        extra[order[: left - int(extra.sum())]] += 1
        shares = np.minimum(shares + extra * open_, capacity)
        open_ = shares < capacity
    # Every matrix keeps at least one entry, taken from the largest shares.
    for empty in np.flatnonzero(shares == 0):
        shares[np.argmax(shares)] -= 1
        shares[empty] = 1
    return shares.tolist()


def plain_directions(n: int, k: int) -> int:
    """Return the number of leading directions whose diagonal has k entries, at most n."""
    return min(n, k)


def band_directions(n: int, k: int) -> int:
    """Return the number of leading directions for a band of about k entries.

    It is n if a band beside the diagonal fits into k entries, else the r whose band of half-width 1 comes nearest.
    """
    if k >= band_size(n, 1):
        return n
    r = max(1, round((k + 2) / 3))
    return r if nearest_half_width(r, k) else max(1, r - 1)  # 3 entries are nearest to a diagonal of 2: take 1


def square_directions(n: int, k: int) -> int:
    """Return the side of the leading square whose number of entries comes nearest to k, at most n."""
    side = isqrt(k)
    return max(1, min(n, side + (k - side * side > (side + 1) ** 2 - k)))


# Patterns of few entries are those of the leading directions: pattern -> (n, k) -> their number.
LEADING: dict[str, Callable[[int, int], int]] = {"plain": plain_directions, "banded": band_directions}


def diagonals(n: int, off_diag: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield (place in values, first row, first column, length) of each diagonal j − i = −d … d, in storage order.

    A diagonal is a contiguous part of the values, by increasing i.
    """
    start = 0
    for offset in range(-off_diag, off_diag + 1):
        length, row = n - abs(offset), max(0, -offset)
        yield start, row, row + offset, length
        start = start + length  # not in place: in a trace of torch, sizes are tensors


def band_indices(n: int, off_diag: int, rank: int | None = None) -> np.ndarray:
    """Return the flat indices i·n + j of a band in storage order, within the leading rank×rank block: int64 (k,)."""
    r = rank or n
    places = diagonals(r, min(off_diag, r - 1))
    return np.concatenate([row * n + col + np.arange(length) * (n + 1) for _, row, col, length in places])
