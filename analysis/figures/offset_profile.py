"""Energy of M by distance from the diagonal."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.figures.theme import Theme, add_span, axis, method_color, new_figure, number, set_layout
from analysis.measures.brush import Brush
from analysis.measures.noise import Level

BARS = 65  # at most; single diagonals of a scattered pattern hold a handful of entries


def offset_profile(profile: pd.DataFrame, *, pattern: str, theme: Theme, brush: Brush | None = None) -> go.Figure:
    """Draw the share of ‖M‖² on each diagonal j − i, against the same for noise.

    What to look for: bars that differ from the marks, the share that noise has, by more than their whiskers. Of many
    bars some do by chance; the caption judges all together.

    Args:
        profile: The table of `analysis.measures.coefficients.energy_by_offset`, of at most `BARS` rows.
        pattern: Name of the pattern, for its colour.
        theme: Light or dark.
        brush: The box whose offsets are shaded.
    """
    bars = profile.sort_values("offset").set_index("offset")
    width = int(bars["width"].iloc[0])
    reading = _reading(bars, width)
    figure = new_figure(
        theme,
        alt=f"Bars of the share of M's energy by offset j − i, from {bars.index[0]} to {bars.index[-1]}. {reading}.",
        caption=f"{reading}{'' if brush is None else '; the offsets of the box are shaded'}.",
        formula=r"\sum_{j-i=o} M_{ij}^2 \,/\, \lVert M \rVert_F^2",
        height=260,
    )
    figure.add_bar(
        name="M",
        x=bars.index,
        y=bars["share"],
        width=0.8 * width,
        marker={"color": method_color(pattern), "line": {"width": 0}},
        hovertemplate="offset %{x}: %{y:.2%} of the energy<extra></extra>",
    )
    above, below = (np.abs(bars[edge] - bars["noise_share"]) for edge in ("noise_high", "noise_low"))
    figure.add_scatter(
        name="noise (95% each)",
        x=bars.index,
        y=bars["noise_share"],
        error_y={
            "type": "data",
            "array": above,
            "arrayminus": below,
            "width": 4 if width == 1 else 0,
            "thickness": 1.5,
        },
        mode="markers",
        marker={"color": theme.text, "size": 6 if width == 1 else 3, "symbol": "diamond"},
        hovertemplate="noise: %{y:.2%}<extra></extra>",
    )
    set_layout(
        figure,
        margin={"t": 32},
        xaxis=axis(
            theme,
            "offset j − i",
            showgrid=False,
            range=[min(bars.index[0], -2) - 0.6 * width, max(bars.index[-1], 2) + 0.6 * width],
            **({"dtick": 1} if len(bars) <= 11 else {}),
        ),
        yaxis=axis(theme, "share of energy", tickformat=".0%", rangemode="tozero"),
    )
    if brush is not None:
        low, high = brush.offsets()
        add_span(figure, low - width / 2, high + width / 2, theme)
    return figure


def _reading(bars: pd.DataFrame, width: int) -> str:
    """Say which bar is furthest from noise, if any is that is not so by chance."""
    count = int(bars["stands_out"].sum())
    if not count:
        return f"No bar stands out from noise, all {len(bars)} judged together"
    far = (bars["share"] - bars["noise_share"]).abs()[bars["stands_out"]].idxmax()
    bar = bars.loc[far]
    where = "the diagonal" if far == 0 else f"offset {number(far, '+d')}"
    if width > 1:
        where = "offsets near the diagonal" if far == 0 else f"offsets near {number(far, '+d')}"
    noise = Level(bar["noise_share"], bar["noise_low"], bar["noise_high"])
    return (
        f"{count} of {len(bars)} bars {'stands' if count == 1 else 'stand'} out from noise, furthest {where}: "
        f"{noise.percent(bar['share'])} of the energy, in noise {noise.words(noise.percent)}"
    )
