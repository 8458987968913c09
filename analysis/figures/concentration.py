"""How few entries carry the energy of M, beside the same for noise."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.common.wording import percent
from analysis.figures.theme import Theme, axis, fade, method_color, new_figure, set_layout
from analysis.measures.coefficients import SHARE
from analysis.measures.null import EntryNull


def concentration(
    curve: pd.DataFrame, null: EntryNull | None = None, *, fraction: float, pattern: str, theme: Theme
) -> go.Figure:
    """Draw the cumulative energy of M's entries, largest first, with the band of noise.

    What to look for: the curve above the grey band is concentration; on the band, it is what noise shows too.

    Args:
        curve: The table of `analysis.measures.coefficients.concentration`: ``fraction_of_entries``, ``energy_share``.
        null: What noise shows; None while that is being drawn.
        fraction: Part of the entries that holds 90% of the energy, of `entries_for_energy`.
        pattern: Name of the pattern, for its colour.
        theme: Light or dark.
    """
    fractions = curve["fraction_of_entries"].to_numpy()
    form = null.fraction.percent if null else percent
    reading = f"{SHARE:.0%} of the energy lies in {form(fraction)} of the entries"
    if null is not None:
        place = null.fraction.count(fraction, form)
        reading = f"{reading}, {place}. Only a curve above the grey band is concentration"
    if not curve["energy_share"].any():
        reading = "The update is zero: it has no energy to concentrate"
    figure = new_figure(
        theme,
        alt=f"Cumulative energy of M's entries, largest first. {reading}.",
        caption=f"{reading}.",
        formula=r"\sum_{l \le c} M_{(l)}^2 / \lVert M \rVert_F^2,\quad |M_{(1)}| \ge |M_{(2)}| \ge \dots",
        height=300,
    )
    if null is not None:
        _add_noise(figure, fractions, null.curve, theme)
    figure.add_scatter(
        x=fractions,
        y=curve["energy_share"],
        name="M",
        mode="lines",
        line={"color": method_color(pattern), "width": 2.5},
        hovertemplate="%{x:.1%} of entries hold %{y:.1%} of the energy<extra></extra>",
    )
    figure.add_scatter(
        x=[0, fraction, fraction],
        y=[SHARE, SHARE, 0],
        mode="lines",
        line={"color": theme.text, "width": 1, "dash": "dash"},
        showlegend=False,
        hoverinfo="skip",
    )
    figure.add_annotation(
        x=fraction, y=SHARE / 2, text=f"{percent(fraction)} of entries", showarrow=False, xanchor="left", xshift=6
    )
    set_layout(
        figure,
        margin={"t": 32, "r": 24},
        xaxis=axis(
            theme,
            "fraction of entries, largest first",
            tickformat=".0%",
            range=[0, 1],
            tickvals=[0, 0.25, 0.5, 0.75, 1],
        ),
        yaxis=axis(theme, "share of energy", tickformat=".0%", range=[0, 1.02]),
    )
    return figure


def _add_noise(figure: go.Figure, fractions: np.ndarray, noise: pd.DataFrame, theme: Theme) -> None:
    band = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip"}
    figure.add_scatter(x=fractions, y=noise["noise_low"], showlegend=False, **band)
    figure.add_scatter(
        x=fractions,
        y=noise["noise_high"],
        name="noise (95%)",
        fill="tonexty",
        fillcolor=fade(theme.muted, 0.45),
        **band,
    )
    figure.add_scatter(
        x=fractions,
        y=noise["noise_mid"],
        name="noise, middle",
        mode="lines",
        line={"color": theme.muted, "width": 1.5, "dash": "dot"},
        showlegend=False,
        hovertemplate="noise: %{x:.1%} of entries hold %{y:.1%}<extra></extra>",
    )
