"""Coverage: which share of an update ΔW each pattern Ω could hold, over the number of its entries.

Of all updates U M Vᵀ with M zero outside Ω, the nearest to ΔW has the entries of UᵀΔWV on Ω, so that a pattern covers
Σ_Ω (UᵀΔWV)² / ‖ΔW‖_F². What lies outside the thin basis (a weight that is not square) no pattern can cover.

A covered share says what a pattern could copy, not how well it trains: a pattern that covers 0.3% of what full
fine-tuning did can perform as well.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.adapters.adapter import AdaptedMatrix
from analysis.measures.coefficients import energy_shares

PATTERNS = ("plain", "banded", "random", "top_k", "best")
_POINTS = 41


def coverage(matrix: AdaptedMatrix) -> pd.DataFrame:
    """Return the share of ‖ΔW‖_F² that each pattern covers, at growing numbers of entries.

    Args:
        matrix: A matrix; of a projection, M is all of UᵀΔWV.

    Columns:
        pattern: "plain", "banded" (d = 0, 1, 2, …), "random", "top_k" (the k largest
            |uᵢᵀvⱼ|; only if they are known: a projection of a square weight), "best" (the k largest
            entries of UᵀΔWV: no pattern of k entries covers more, and nobody knows it before training).
        k: Number of entries.
        share: Share of ‖ΔW‖_F²; for random the expectation over Ω.
        low, high: For random, expectation ∓ 1.96 standard deviations over Ω, within [0, 1]; the share elsewhere.
        chance: k/(out·in), the share that k entries hold on average if ΔW is noise, see `measures.noise`.
        noise_low, noise_high: For plain, the 95% interval of that share; NaN elsewhere.
    """
    n, total = matrix.m, matrix.energy or 1.0
    energy = np.zeros((n, n))
    energy[matrix.rows, matrix.cols] = np.square(matrix.values)
    sizes = np.unique(np.geomspace(1, n * n, _POINTS).round().astype(np.int64))
    sizes = np.unique(np.append(sizes, n))
    parts = [_rows("plain", np.array([n]), np.array([np.trace(energy)]) / total)]
    ks, held = _bands(energy)
    parts.append(_rows("banded", ks, held / total))
    mean, deviation = _random(energy, sizes)
    parts.append(_rows("random", sizes, mean / total, 1.96 * deviation / total))
    alignment = matrix.projection.alignment if matrix.projection else None
    if alignment is not None:
        parts.append(_rows("top_k", sizes, _held(energy.ravel()[np.argsort(-alignment, axis=None)], sizes) / total))
    parts.append(_rows("best", sizes, _held(np.sort(energy, axis=None)[::-1], sizes) / total))
    table = pd.concat(parts, ignore_index=True)
    table["chance"] = table["k"] / (matrix.shape[0] * matrix.shape[1])
    diagonal = energy_shares(matrix).set_index("part").loc["on_diagonal"]
    for end in ("noise_low", "noise_high"):
        table[end] = np.where(table["pattern"] == "plain", diagonal[end], np.nan)
    return table


def _rows(pattern: str, k: np.ndarray, share: np.ndarray, spread: np.ndarray | float = 0.0) -> pd.DataFrame:
    share = np.minimum(share, 1.0)
    return pd.DataFrame(
        {
            "pattern": pattern,
            "k": k,
            "share": share,
            "low": np.clip(share - spread, 0.0, 1.0),
            "high": np.clip(share + spread, 0.0, 1.0),
        }
    )


def _held(energy: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    return np.concatenate([[0.0], energy.cumsum()])[sizes]


def _bands(energy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of entries, and the energy held, of bands of half-width d = 0, 1, 2, …, n − 1 (at most 41)."""
    n = len(energy)
    distance = np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
    by_distance = np.bincount(distance.ravel(), weights=energy.ravel(), minlength=n)
    widths = np.unique(np.concatenate([[0], np.geomspace(1, max(n - 1, 1), _POINTS).round()]).astype(np.int64))
    widths = widths[widths < n]
    return n * (2 * widths + 1) - widths * (widths + 1), by_distance.cumsum()[widths]


def _random(energy: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of the energy of k distinct entries drawn uniformly, in closed form.

    Sampling without replacement from N values of mean μ and variance s² (over N): the sum of k has the mean kμ and the
    variance k s² (N − k)/(N − 1).
    """
    count = energy.size
    variance = sizes * energy.var() * (count - sizes) / max(count - 1, 1)
    return sizes * energy.mean(), np.sqrt(variance)
