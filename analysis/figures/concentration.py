"""How few entries carry the energy of M, beside the same for noise."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from analysis.figures.theme import Theme


def concentration(curve: pd.DataFrame, *, pattern: str, theme: Theme, share: float = 0.9) -> go.Figure:
    """Draw the cumulative energy of M's entries, largest first, with the band of noise of equal k.

    What to look for: the curve above the grey band is concentration; on the band, it is what noise shows too.

    Args:
        curve: The table of `analysis.coefficients.concentration`: ``fraction_of_entries``, ``energy_share``,
            ``noise_low``, ``noise_mid``, ``noise_high``.
        pattern: Name of the pattern, for its colour.
        theme: Light or dark.
        share: The share of energy that is read off and marked.
    """
    raise NotImplementedError
