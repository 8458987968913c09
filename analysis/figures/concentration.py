"""How few entries carry the energy of M, beside the same for noise."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.figures.theme import Theme, axis, fade, method_color, new_figure, set_layout


def concentration(curve: pd.DataFrame, *, pattern: str, theme: Theme, share: float = 0.9) -> go.Figure:
    """Draw the cumulative energy of M's entries, largest first, with the band of noise of equal k.

    What to look for: the curve above the grey band is concentration; on the band, it is what noise shows too.

    Args:
        curve: The table of `analysis.measures.coefficients.concentration`: ``fraction_of_entries``, ``energy_share``,
            ``noise_low``, ``noise_mid``, ``noise_high``.
        pattern: Name of the pattern, for its colour.
        theme: Light or dark.
        share: The share of energy that is read off and marked.
    """
    fractions = curve["fraction_of_entries"].to_numpy()

    def needed(column: str) -> float:
        """Return the fraction of entries whose energy reaches `share`."""
        return float(np.interp(share, curve[column], fractions))

    # The upper edge of the band needs the fewest entries.
    ours, few, middle, many = (needed(c) for c in ("energy_share", "noise_high", "noise_mid", "noise_low"))
    noise = f"noise needs ({middle:.0%})"
    comparison = f"fewer than {noise}" if ours < few else f"more than {noise}" if ours > many else f"as {noise}"
    caption = (
        f"{share:.0%} of the energy lies in {ours:.0%} of the entries, {comparison}: only a curve above the grey band "
        "is concentration."
    )
    if not curve["energy_share"].any():
        caption = "The update is zero: it has no energy to concentrate."
    figure = new_figure(
        theme,
        alt=(
            f"Cumulative energy of M's entries, largest first: {share:.0%} of it lies in {ours:.0%} of the entries; "
            f"for noise of equal k in {middle:.0%}."
        ),
        caption=caption,
        formula=r"\sum_{l \le c} M_{(l)}^2 / \lVert M \rVert_F^2,\quad |M_{(1)}| \ge |M_{(2)}| \ge \dots",
        height=300,
    )
    band = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip"}
    figure.add_scatter(x=fractions, y=curve["noise_low"], showlegend=False, **band)
    figure.add_scatter(
        x=fractions,
        y=curve["noise_high"],
        name="noise of equal k",
        fill="tonexty",
        fillcolor=fade(theme.muted, 0.45),
        **band,
    )
    figure.add_scatter(
        x=fractions,
        y=curve["noise_mid"],
        name="noise, middle",
        mode="lines",
        line={"color": theme.muted, "width": 1.5, "dash": "dot"},
        showlegend=False,
        hovertemplate="noise: %{x:.1%} of entries hold %{y:.1%}<extra></extra>",
    )
    figure.add_scatter(
        x=fractions,
        y=curve["energy_share"],
        name="M",
        mode="lines",
        line={"color": method_color(pattern), "width": 2.5},
        hovertemplate="%{x:.1%} of entries hold %{y:.1%} of the energy<extra></extra>",
    )
    figure.add_scatter(
        x=[0, ours, ours],
        y=[share, share, 0],
        mode="lines",
        line={"color": theme.text, "width": 1, "dash": "dash"},
        showlegend=False,
        hoverinfo="skip",
    )
    figure.add_annotation(
        x=ours, y=share / 2, text=f"{ours:.0%} of entries", showarrow=False, xanchor="left", xshift=6
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
