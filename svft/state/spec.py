"""What one adapter trains in one matrix."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CoefficientSpec:
    """What one adapter trains in one matrix.

    Attributes:
        pattern: Name of the pattern that the matrix really gets.
        rank: Number r of leading directions that are open; n if nothing restricts it.
        off_diag: Half-width, for plain (0) and banded; None for patterns whose indices are stored.
    """

    pattern: str
    rank: int
    off_diag: int | None
