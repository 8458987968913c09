"""The box of exact cells: which part of M a click or a drawn rectangle asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

SIDE = 64  # cells: the most that stay readable one by one


class Box(NamedTuple):
    """A block of M: rows ``row_start … row_stop − 1`` and columns ``col_start … col_stop − 1``."""

    row_start: int
    row_stop: int
    col_start: int
    col_stop: int


def _clamp(low: float, high: float, n: int, side: int) -> tuple[int, int]:
    """Return a run of at most `side` indices within 0 … n, about the middle of low … high if that is longer."""
    start, stop = round(min(low, high)), round(max(low, high)) + 1
    if stop - start > side:
        start = (start + stop - side) // 2
        stop = start + side
    start = min(max(start, 0), n - 1)
    return start, min(max(stop, start + 1), n)


def box_around(i: int, j: int, n: int, side: int = 16) -> Box:
    """Return the box of `side` cells about the entry (i, j) of an n×n matrix, moved inside if it sticks out."""
    side = min(side, SIDE, n)
    row = min(max(i - side // 2, 0), n - side)
    col = min(max(j - side // 2, 0), n - side)
    return Box(row, row + side, col, col + side)


def box_from_square(x: Sequence[float], y: Sequence[float], n: int, side: int = SIDE) -> Box:
    """Return the box of a rectangle drawn in `coefficient_square` (x is j, y is i), as Streamlit reports it.

    Its middle `side` rows and columns, if it is larger.
    """
    return Box(*_clamp(min(y), max(y), n, side), *_clamp(min(x), max(x), n, side))


def box_from_strip(x: Sequence[float], y: Sequence[float], n: int, side: int = SIDE) -> Box:
    """Return the box of a rectangle drawn in `coefficient_strip` (x is i, y is j − i), as Streamlit reports it.

    Its middle `side` rows and columns, if it is larger.
    """
    row_start, row_stop = _clamp(min(x), max(x), n, side)
    return Box(row_start, row_stop, *_clamp(row_start + min(y), row_stop - 1 + max(y), n, side))
