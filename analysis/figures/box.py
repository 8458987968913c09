"""A box drawn in M: from the rectangle on the screen to cells, its outline, and its part shown cell by cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from analysis.figures.theme import Theme
from analysis.measures.brush import Brush

SIDE = 64  # cells: the most that stay readable one by one


class Box(NamedTuple):
    """A block of M: rows ``row_start … row_stop − 1`` and columns ``col_start … col_stop − 1``."""

    row_start: int
    row_stop: int
    col_start: int
    col_stop: int


def box_around(i: int, j: int, n: int, side: int = 16) -> Box:
    """Return the box of `side` cells about the entry (i, j) of an n×n matrix, moved inside if it sticks out."""
    side = min(side, SIDE, n)
    row = min(max(i - side // 2, 0), n - side)
    col = min(max(j - side // 2, 0), n - side)
    return Box(row, row + side, col, col + side)


def box_of(brush: Brush, n: int, side: int = SIDE) -> Box:
    """Return the middle `side` rows and columns of a brushed box, inside an n×n matrix."""
    rows = _middle(*brush.rows, n, side)
    part = replace(brush, rows=(rows[0], rows[1] - 1)) if brush.by == "o" else brush
    return Box(*rows, *_middle(*part.columns(n), n, side))


def brush_from_square(x: Sequence[float], y: Sequence[float], n: int) -> Brush:
    """Return the box of a rectangle drawn in `coefficient_square` (x is j, y is i), as Streamlit reports it.

    Every cell that it touches is in it; what sticks out of the n×n matrix is cut off.
    """
    return Brush(_cells(y, 0, n - 1), _cells(x, 0, n - 1), "j")


def brush_from_strip(x: Sequence[float], y: Sequence[float], n: int, reach: int) -> Brush:
    """Return the box of a rectangle drawn in `coefficient_strip` (x is i, y is j − i), as Streamlit reports it.

    Every cell that it touches is in it; what sticks out of the strip, of offsets up to ±`reach`, is cut off.
    """
    return Brush(_cells(x, 0, n - 1), _cells(y, -reach, reach), "o")


def outline(brush: Brush, theme: Theme, *, strip: bool) -> dict[str, Any]:
    """Return the Plotly shape that outlines a box in `coefficient_strip` or else in a square of M.

    A box of columns is slanted in a strip, and one of offsets in a square.
    """
    line = {"color": theme.text, "width": 2}
    (first, last), (low, high) = ((start - 0.5, stop + 0.5) for start, stop in (brush.rows, brush.across))
    if strip == (brush.by == "o"):
        x, y = ((first, last), (low, high)) if strip else ((low, high), (first, last))
        return {"type": "rect", "x0": x[0], "x1": x[1], "y0": y[0], "y1": y[1], "line": line}
    corners = [(first, low), (first, high), (last, high), (last, low)]
    points = [(i, across - i) if strip else (i + across, i) for i, across in corners]
    return {"type": "path", "path": "M" + "L".join(f"{x:g},{y:g}" for x, y in points) + "Z", "line": line}


def _cells(ends: Sequence[float], least: int, most: int) -> tuple[int, int]:
    """Return the first and the last whole number that a drawn range touches, within least … most."""
    first, last = (min(max(round(end), least), most) for end in (min(ends), max(ends)))
    return first, last


def _middle(first: int, last: int, n: int, side: int) -> tuple[int, int]:
    """Return start and stop of at most `side` indices within 0 … n, about the middle of first … last if longer."""
    start, stop = first, last + 1
    if stop - start > side:
        start = (start + stop - side) // 2
        stop = start + side
    start = min(max(start, 0), n - 1)
    return start, min(max(stop, start + 1), n)
