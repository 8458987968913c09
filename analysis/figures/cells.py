"""Cells of M for the figures: modes, clipped colour scales, binning, and points that can be clicked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.figures.plain import PlainTrace
from analysis.figures.theme import Theme, diverging_scale, sequential_scale, set_layout

Mode = Literal["signed", "magnitude", "relative"]

MODE_TITLES: dict[Mode, str] = {"signed": "Mᵢⱼ", "magnitude": "|Mᵢⱼ|", "relative": "Mᵢⱼ / √(σᵢσⱼ)"}
MODE_FORMULAS: dict[Mode, str] = {
    "signed": r"M_{ij}",
    "magnitude": r"|M_{ij}|",
    "relative": r"M_{ij} / \sqrt{\max(\sigma_i, \sigma_1/100)\,\max(\sigma_j, \sigma_1/100)}",
}
MAX_CELLS = 512  # along one side of a heatmap sent to the browser
SQUARE_BINS = 70  # along one side of a square of M: a cell is at least 5 pixels wide also on a small screen
MAX_POINTS = 5000  # of an SVG scatter
PERCENTILE = 99


class Scale(NamedTuple):
    """A colour scale clipped at the 99th percentile of the magnitudes.

    Attributes:
        limit: Where it ends.
        clipped: How many values lie beyond.
        total: How many values there are.
        low: Where it begins: −limit on a signed scale, 0 on one of magnitudes.
        colors: Plotly colour scale.
    """

    limit: float
    clipped: int
    total: int
    low: float
    colors: list[tuple[float, str]]

    @property
    def note(self) -> str:
        """Return the words that follow a caption: how many of the numbers are off the scale."""
        if not self.clipped:
            return ""
        verb = "lies" if self.clipped == 1 else "lie"
        return f" ({self.clipped:,} of {self.total:,} {verb} beyond the ends of the colour scale)"

    def heat(self) -> dict[str, Any]:
        """Return the keywords of a heatmap trace."""
        return {"colorscale": self.colors, "zmin": self.low, "zmax": self.limit}


def color_scale(values: np.ndarray, *, signed: bool, theme: Theme, limit: float | None = None) -> Scale:
    """Return the scale of `values`, diverging if `signed`; `limit` sets its end, else the 99th percentile."""
    magnitude = np.abs(values[np.isfinite(values)])
    limit = _limit(magnitude) if limit is None else limit
    return Scale(
        limit=limit,
        clipped=int((magnitude > limit).sum()),
        total=int(magnitude.size),
        low=-limit if signed else 0.0,
        colors=diverging_scale(theme) if signed else sequential_scale(theme),
    )


def common_limit(*entries: pd.DataFrame) -> float:
    """Return where one signed colour scale for several tables of entries ends: the widest of their own."""
    values = [table["value"].to_numpy(float) for table in entries]
    return max(_limit(np.abs(table[np.isfinite(table)])) for table in values)


def _limit(magnitude: np.ndarray) -> float:
    """Return the 99th percentile, or what is larger than zero; an adapter that is all zero has a scale too."""
    limit = float(np.percentile(magnitude, PERCENTILE, method="higher")) if magnitude.size else 0.0
    return limit or float(magnitude.max(initial=0.0)) or 1.0


def shown_values(entries: pd.DataFrame, mode: Mode) -> np.ndarray:
    """Return the numbers of `entries` that `mode` shows: (k,)."""
    if mode == "relative":
        return entries["relative"].to_numpy(float)
    values = entries["value"].to_numpy(float)
    return np.abs(values) if mode == "magnitude" else values


def strongest(row: np.ndarray, col: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return, for each occupied cell (row, col), the position of its value of largest magnitude.

    A bin shows its strongest entry, with its sign: a mean would let opposite entries cancel.
    """
    order = np.lexsort((np.abs(values), col, row))
    last = np.ones(len(order), dtype=bool)
    last[:-1] = (np.diff(row[order]) != 0) | (np.diff(col[order]) != 0)
    return order[last]


def bin_width(length: int, at_most: int = MAX_CELLS) -> int:
    """Return how many neighbours share a cell so that `length` of them need no more than `at_most` cells."""
    return -(-max(length, 1) // at_most)


def grid(row: np.ndarray, col: np.ndarray, values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return a heatmap's cells (float32, `shape`), NaN where no value lies, else the strongest one."""
    cells = np.full(shape, np.nan, dtype=np.float32)
    keep = strongest(row, col, values)
    cells[row[keep], col[keep]] = values[keep]
    return cells


class Layout(NamedTuple):
    """Which cell of a heatmap each entry of M lies in.

    Attributes:
        row: Of each entry's cell, (k,).
        col: The same.
        shape: Of the cells.
        place: Keywords of a heatmap trace that put the cells where their entries are.
    """

    row: np.ndarray
    col: np.ndarray
    shape: tuple[int, int]
    place: dict[str, Any]

    def cells(self, values: np.ndarray) -> np.ndarray:
        """Return the cells for `values`, (k,): see `grid`."""
        return grid(self.row, self.col, values, self.shape)


def strip_layout(i: np.ndarray, j: np.ndarray) -> Layout:
    """Return the cells of a band unrolled along its diagonals: x is the row i, y the offset j − i."""
    offset = j - i
    width, reach = int(max(i.max(), j.max())) + 1, int(np.abs(offset).max())
    across, down = bin_width(width), bin_width(2 * reach + 1)
    place = {"x0": (across - 1) / 2, "dx": across, "y0": -reach + (down - 1) / 2, "dy": down}
    shape = (-(-(2 * reach + 1) // down), -(-width // across))
    return Layout((offset + reach) // down, i // across, shape, place)


def square_layout(i: np.ndarray, j: np.ndarray, side: int, at_most: int) -> Layout:
    """Return at most `at_most` by `at_most` cells of a square of `side` rows and columns of M."""
    width = bin_width(side, at_most)
    bins = -(-side // width)
    place = {"x0": (width - 1) / 2, "dx": width, "y0": (width - 1) / 2, "dy": width}
    return Layout(i // width, j // width, (bins, bins), place)


def select_points(x: np.ndarray, y: np.ndarray, customdata: Sequence[Sequence[Any]], hover: str) -> PlainTrace:
    """Return the invisible squares over a heatmap that report clicks and boxes; `hover` is their template.

    They are small, and the figure's hover distance is unlimited (see `make_selectable`): so the nearest one
    answers, wherever one clicks.
    """
    invisible = {"marker": {"opacity": 0}}
    return PlainTrace(
        type="scatter",
        name="select",
        x=x,
        y=y,
        mode="markers",
        marker={"symbol": "square", "size": 6, "opacity": 0},
        selected=invisible,
        unselected=invisible,
        customdata=np.array(customdata, dtype=object),  # nested lists are gone through item by item, which is slow
        hovertemplate=hover + "<extra></extra>",
        showlegend=False,
    )


def make_selectable(figure: go.Figure) -> None:
    """Let a click anywhere in `figure` reach the nearest of its "select" points."""
    set_layout(figure, hovermode="closest", hoverdistance=-1, clickmode="event+select")
