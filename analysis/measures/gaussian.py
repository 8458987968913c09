"""Chance level of a weight's singular values: a Gaussian matrix of the same shape and Frobenius norm.

Its singular values follow the law of Marchenko & Pastur (1967), exact as the matrix grows; from n = 64 on, a draw is
within a few per cent of it. Light: numpy alone.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

_STEPS = 20_000  # of the integral, whose integrand is smooth in the angle

# The median of κ/n of a square Gaussian matrix, from P(κ/n < x) = exp(−2/x − 2/x²) (Edelman 1988, real matrices): the
# smallest singular value lies at the hard edge, of which the law of the bulk says nothing.
SQUARE_CONDITION = (1 + np.sqrt(1 + 2 * np.log(2))) / np.log(2)


def gaussian_values(shape: tuple[int, int], frobenius: float) -> np.ndarray:
    """Return the singular values that independent Gaussian entries have, descending: (n,), at the quantiles (i − ½)/n.

    Args:
        shape: (out, in), n = min(out, in).
        frobenius: ‖W‖_F, which they meet.
    """
    small, large = sorted(shape)
    values = np.sqrt(_quantiles(small, large))
    return values * (frobenius / np.linalg.norm(values))


def gaussian_condition(shape: tuple[int, int]) -> float:
    """Return the typical σ₁/σₙ of Gaussian entries: the median if square, else from the law's quantiles."""
    small, large = sorted(shape)
    if small == large:
        return float(SQUARE_CONDITION * small) if small > 1 else 1.0
    squares = _quantiles(small, large)
    return float(np.sqrt(squares[0] / squares[-1]))


@lru_cache(maxsize=64)
def _quantiles(small: int, large: int) -> np.ndarray:
    """Return the n = `small` quantiles of λ = σ²/(large·s²), descending, for entries of variance s².

    With γ = small/large, λ = 1 + γ + 2√γ cos θ has the density 2 sin²θ / (π λ) in θ from 0 to π.
    """
    gamma = small / large
    theta = (np.arange(_STEPS) + 0.5) * (np.pi / _STEPS)
    squares = 1 + gamma + 2 * np.sqrt(gamma) * np.cos(theta)  # descending
    held = np.concatenate([[0.0], np.cumsum(np.square(np.sin(theta)) / squares)])
    edges = np.arange(_STEPS + 1) * (np.pi / _STEPS)
    at = np.interp((np.arange(small) + 0.5) / small, held / held[-1], edges)
    quantiles = 1 + gamma + 2 * np.sqrt(gamma) * np.cos(at)
    quantiles.setflags(write=False)
    return quantiles
