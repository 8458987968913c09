"""M of a plain or banded pattern, unrolled along its diagonals."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from analysis.figures.cells import Mode
from analysis.figures.theme import Theme


def coefficient_strip(entries: pd.DataFrame, *, n: int, theme: Theme, mode: Mode = "signed") -> go.Figure:
    """Draw the band of M as a strip: x is the row i, y the diagonal offset j − i.

    What to look for: runs of one colour, and whether the middle row (the diagonal) stands out.

    Args:
        entries: The table of `analysis.coefficients.entries`: ``i``, ``j``, ``offset``, ``value``, ``relative``.
        n: Number of singular directions.
        theme: Light or dark.
        mode: "signed" Mᵢⱼ, "magnitude" |Mᵢⱼ|, or "relative" Mᵢⱼ/√(σᵢσⱼ).

    Returns:
        A figure whose "select" points carry ``customdata = [i, j]``; a box drawn in it goes to `box_from_strip`.
        Beyond 512 columns neighbours along a diagonal share a cell, which shows the largest in magnitude.
    """
    raise NotImplementedError
