"""Where in the n×n square of M one looks."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from analysis.figures.box import Box
from analysis.figures.theme import Theme


def locator(
    entries: pd.DataFrame, *, n: int, pattern: str, theme: Theme, box: Box | None = None
) -> go.Figure:
    """Draw a small square of M: the place of the pattern, and the box of exact cells.

    What to look for: how little of M is trained, and where the enlarged cells lie.

    Args:
        entries: A table with ``i`` and ``j`` of the trained entries.
        n: Number of singular directions.
        pattern: Name of the pattern, for its colour.
        theme: Light or dark.
        box: The block shown by `exact_cells`.
    """
    raise NotImplementedError
