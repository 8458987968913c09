"""Regions of an update: which of its coefficients between the singular vectors of W may differ from zero.

Coefficients are those of ΔW in W's own basis, completed: [U, U⊥]ᵀ ΔW [V, V⊥], of shape (out, in). The leading n×n
of them are M; the others belong to directions that W does not use, which a square weight of full rank does not have.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from svft_bands import band_indices, band_size

OFF_DIAG = 2  # d of the band, and of the scattered entries, which are as many


@dataclass(frozen=True)
class Region:
    """One region.

    Attributes:
        title: For people, in two lines.
        mask: (out, in, r) -> bool (out, in), True where the coefficient may differ from zero.
    """

    title: tuple[str, str]
    mask: Callable[[int, int, int], np.ndarray]


def coefficients_of(update: np.ndarray, W: np.ndarray) -> np.ndarray:
    """Return [U, U⊥]ᵀ ΔW [V, V⊥] of an update (out, in) of W (out, in), in float64."""
    U, _, Vt = np.linalg.svd(np.asarray(W, dtype=np.float64), full_matrices=True)
    return U.T @ np.asarray(update, dtype=np.float64) @ Vt.T


def outside_share(coefficients: np.ndarray, mask: np.ndarray) -> float:
    """Return the share of ‖ΔW‖² that lies outside a region; 0 for an update that is zero."""
    energy = coefficients**2
    return float(energy[~mask].sum() / max(energy.sum(), np.finfo(float).tiny))


def _of_entries(flat: np.ndarray, out: int, in_: int) -> np.ndarray:
    """Return the mask of entries of M, given by flat indices i · n + j."""
    n = min(out, in_)
    mask = np.zeros((out, in_), dtype=bool)
    mask[flat // n, flat % n] = True
    return mask


def _diagonal(out: int, in_: int, r: int) -> np.ndarray:
    return _of_entries(np.arange(r) * (min(out, in_) + 1), out, in_)


def _scattered(out: int, in_: int, r: int) -> np.ndarray:
    n = min(out, in_)
    flat = np.random.default_rng(0).choice(n * n, size=band_size(n, OFF_DIAG), replace=False)
    return _of_entries(flat, out, in_)


def _rectangle(rows: slice, cols: slice, out: int, in_: int) -> np.ndarray:
    mask = np.zeros((out, in_), dtype=bool)
    mask[rows, cols] = True
    return mask


_ALL = slice(None)

REGIONS: dict[str, Region] = {
    "diagonal": Region(("the", "diagonal"), lambda out, in_, r: _diagonal(out, in_, min(out, in_))),
    "leading diagonal": Region(("leading", "diagonal"), _diagonal),
    "band": Region(("a", "band"), lambda out, in_, r: _of_entries(band_indices(min(out, in_), OFF_DIAG), out, in_)),
    "scattered": Region(("scattered", "entries"), _scattered),
    "leading square": Region(("leading", "square"), lambda out, in_, r: _rectangle(slice(r), slice(r), out, in_)),
    "trailing square": Region(
        ("trailing", "square"), lambda out, in_, r: _rectangle(slice(r, None), slice(r, None), out, in_)
    ),
    "leading columns": Region(("leading", "columns"), lambda out, in_, r: _rectangle(_ALL, slice(r), out, in_)),
    "trailing rows": Region(
        ("trailing", "rows"),
        lambda out, in_, r: _rectangle(slice(min(out, in_) - r, min(out, in_)), _ALL, out, in_),
    ),
    "left space": Region(("all rows", "of M"), lambda out, in_, r: _rectangle(slice(min(out, in_)), _ALL, out, in_)),
    "everything": Region(("every-", "thing"), lambda out, in_, r: np.ones((out, in_), dtype=bool)),
}
