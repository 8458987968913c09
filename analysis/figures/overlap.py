"""How much of the leading singular subspaces survived."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from analysis.figures.theme import Theme


def overlap(table: pd.DataFrame, *, pattern: str, theme: Theme) -> go.Figure:
    """Draw the overlap of the leading r old and new singular subspaces, with the level of chance.

    What to look for: dips below 1 are sizes r at which the leading subspace turned.

    Args:
        table: The table of `analysis.spectrum.subspace_overlap`: ``r``, ``overlap_left``, ``overlap_right`` and
            their chance levels.
        pattern: Name of the pattern, for its colour.
        theme: Light or dark.
    """
    raise NotImplementedError
