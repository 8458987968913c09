"""M of a scattered pattern (random, top_k, custom), drawn so that it can be seen."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from analysis.figures.cells import Mode
from analysis.figures.theme import Theme


def coefficient_square(entries: pd.DataFrame, *, n: int, theme: Theme, mode: Mode = "signed") -> go.Figure:
    """Draw the entries of M at their places, each as a square of at least 5 pixels.

    What to look for: rows or columns of strong colour, i.e. single directions that carry much of the update.

    Args:
        entries: The table of `analysis.coefficients.entries`: ``i``, ``j``, ``value``, ``relative``.
        n: Number of singular directions.
        theme: Light or dark.
        mode: "signed" Mᵢⱼ, "magnitude" |Mᵢⱼ|, or "relative" Mᵢⱼ/√(σᵢσⱼ).

    Returns:
        A figure whose "select" points carry ``customdata = [i, j, value]``; a box drawn in it goes to
        `box_from_square`. Up to 5,000 entries the points are the squares themselves, beyond that entries are
        binned and a bin shows the largest in magnitude.
    """
    raise NotImplementedError
