"""How few singular pairs hold a matrix."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from analysis.figures.theme import METHOD_COLORS, Theme, axis, new_figure, set_layout


def kept_energy(table: pd.DataFrame, *, pairs: int, theme: Theme) -> go.Figure:
    """Draw the share of ‖W‖² that the leading pairs hold, with a dot at `pairs`.

    What to look for: the curve rises at once, and the long tail adds little.

    Args:
        table: The table of `analysis.lessons.picture.kept_energy`: ``pairs``, ``sigma``, ``share``.
        pairs: How many leading pairs are kept.
        theme: Light or dark.
    """
    color, n = METHOD_COLORS["plain"], int(table["pairs"].iloc[-1])
    share = float(table["share"].iloc[pairs - 1])
    reading = f"The first {pairs} of {n} pairs hold" if pairs > 1 else f"The first of {n} pairs holds"
    figure = new_figure(
        theme,
        alt=f"Share of the energy over the number of leading pairs. {reading} {share:.2%}.",
        caption=f"{reading} {share:.2%} of the energy: notice how early the curve flattens.",
        formula=r"\sum_{i \le r} \sigma_i^2 / \sum_i \sigma_i^2",
        height=230,
    )
    figure.add_scatter(
        name="energy",
        x=table["pairs"],
        y=table["share"],
        customdata=table["sigma"],
        mode="lines",
        line={"color": color, "width": 2.5},
        showlegend=False,
        hovertemplate="%{x} pairs: %{y:.2%}; σ = %{customdata:.3g}<extra></extra>",
    )
    figure.add_scatter(
        name="kept",
        x=[pairs],
        y=[share],
        mode="markers",
        marker={"color": color, "size": 14, "line": {"color": theme.background, "width": 2}},
        cliponaxis=False,
        showlegend=False,
        hoverinfo="skip",
    )
    low = float(table["share"].iloc[0])
    set_layout(
        figure,
        margin={"t": 8, "r": 14},
        xaxis=axis(theme, "leading pairs r", type="log", tickvals=[t for t in (1, 3, 10, 30, 100, 300) if t <= n]),
        yaxis=axis(theme, "energy kept", tickformat=".0%", range=[low - 0.05 * (1 - low), 1 + 0.06 * (1 - low)]),
    )
    return figure
