"""Accuracy over the dial α."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from analysis.figures.theme import Theme


def dial_curve(
    curve: pd.DataFrame,
    *,
    alpha: float,
    pattern: str,
    theme: Theme,
    head_only: float | None = None,
    full: float | None = None,
) -> go.Figure:
    """Draw the accuracy of U(Σ + αM)Vᵀ over α with its interval, and a dot at the dial's place.

    What to look for: where the curve peaks, and that turning the dial too far costs accuracy. α = 0 is the same
    head with M off, which is not the model trained with its head only.

    Args:
        curve: One row an α: ``alpha``, ``accuracy``, ``low``, ``high`` (fractions, 95 % interval), ascending.
        alpha: Where the dial stands; the dot lies on the straight line between the neighbouring points.
        pattern: Name of the pattern, for its colour.
        theme: Light or dark.
        head_only: Accuracy of the model trained with its head only, a reference line.
        full: Accuracy of full fine-tuning, a reference line.
    """
    raise NotImplementedError
