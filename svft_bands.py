"""The band of M, |j − i| ≤ d: how many entries it has, which d a number of entries means, and their order in files.

NumPy only, and beside both packages: `svft` stores and trains bands, and `analysis` opens files without loading torch.
"""

from __future__ import annotations

from collections.abc import Iterator
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
