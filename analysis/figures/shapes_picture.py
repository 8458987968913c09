"""The equation W = U(Σ + M)Vᵀ as a picture of its shapes."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from analysis.figures.theme import Theme


def shapes_picture(
    entries: pd.DataFrame, *, shape: tuple[int, int], n: int, pattern: str, theme: Theme
) -> go.Figure:
    """Draw W, U, Σ, M and Vᵀ in proportion, with the pattern of trained entries in M.

    What to look for: everything grey is frozen; only the coloured cells of M are trained.

    Args:
        entries: A table with ``i`` and ``j`` of the trained entries.
        shape: (out, in) of W.
        n: Number of singular directions.
        pattern: Name of the pattern, for its colour.
        theme: Light or dark.
    """
    raise NotImplementedError
