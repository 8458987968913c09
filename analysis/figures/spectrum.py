"""What the update did to the singular values."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from analysis.figures.theme import Theme


def spectrum(table: pd.DataFrame, *, pattern: str, theme: Theme) -> go.Figure:
    """Draw σ as a thin curve, and Δσ as bars about zero under it, paired by matched vector.

    What to look for: whether large or small singular values moved. A tick "changed place" means that the same
    vector now has another rank in the order; a tick "turned" that the vector itself rotated.

    Args:
        table: The table of `analysis.spectrum.spectrum`: ``index``, ``sigma``, ``delta``, ``moved``, ``turned``.
        pattern: Name of the pattern, for its colour.
        theme: Light or dark.
    """
    raise NotImplementedError
