"""Energy of M by distance from the diagonal."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from analysis.figures.theme import Theme


def offset_profile(profile: pd.DataFrame, *, pattern: str, theme: Theme) -> go.Figure:
    """Draw the share of ‖M‖² on each diagonal j − i, against the same for noise.

    What to look for: bars that rise above the dashed line, the share that noise on the same entries would have.

    Args:
        profile: The table of `analysis.coefficients.energy_by_offset`: ``offset``, ``share``, ``noise_share``,
            ``entries``.
        pattern: Name of the pattern, for its colour.
        theme: Light or dark.
    """
    raise NotImplementedError
