"""What the adapted model predicts for one text."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from analysis.figures.theme import Theme


def prediction_bars(predictions: pd.DataFrame, *, pattern: str, theme: Theme) -> go.Figure:
    """Draw the probability of each label, in the order given, so that bars keep their place as the dial turns.

    What to look for: which label leads, and by how much.

    Args:
        predictions: One row a label: ``label``, ``probability``.
        pattern: Name of the pattern, for its colour.
        theme: Light or dark.
    """
    raise NotImplementedError
