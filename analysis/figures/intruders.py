"""New leading singular vectors that resemble no old one."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from analysis.figures.theme import Theme


def intruders(table: pd.DataFrame, *, pattern: str, theme: Theme, threshold: float = 0.6) -> go.Figure:
    """Draw the largest cosine of each new leading singular vector with any old one (arXiv 2410.21228).

    What to look for: points under the line are intruder dimensions, directions that the base did not have.

    Args:
        table: The table of `analysis.spectrum.intruders`: ``rank_new``, ``max_cosine_left``, ``max_cosine_right``,
            ``intruder``.
        pattern: Name of the pattern, for its colour.
        theme: Light or dark.
        threshold: The cosine under which a vector was counted as an intruder.
    """
    raise NotImplementedError
