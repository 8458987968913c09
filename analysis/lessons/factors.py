"""Factors for the entries of M by their place: what is on the diagonal, what is off it, and signs of vectors.

They take and return whatever array type they are given: numpy here, torch in a model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Factors = Callable[[Any, Any], Any]  # rows i and columns j of M, two arrays of one shape, -> one of that shape


def two_dials(on: float, off: float) -> Factors:
    """Return the factor `on` for entries on the diagonal of M, and `off` for all others."""
    return lambda i, j: off + (on - off) * (i == j)


def flipped_signs(every: int) -> Factors:
    """Return the factors sᵢsⱼ by which M must change if each `every`-th pair (uᵢ, vᵢ) has the other sign.

    An SVD is free to flip both vectors of a pair: W stays. But Mᵢⱼ uᵢvⱼᵀ changes sign if one of i and j is flipped.
    """
    return lambda i, j: (1 - 2 * (i % every == 0)) * (1 - 2 * (j % every == 0))
