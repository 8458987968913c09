"""Energy of M by distance from the diagonal."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.figures.cells import bin_width
from analysis.figures.theme import Theme, axis, method_color, new_figure, number, set_layout

_BARS = 65  # at most; single diagonals of a scattered pattern hold a handful of entries


def offset_profile(profile: pd.DataFrame, *, pattern: str, theme: Theme) -> go.Figure:
    """Draw the share of ‖M‖² on each diagonal j − i, against the same for noise.

    What to look for: bars that rise above the marks, the share that noise on the same entries would have.

    Args:
        profile: The table of `analysis.measures.coefficients.energy_by_offset`: ``offset``, ``share``,
            ``noise_share``, ``noise_low``, ``noise_high``. Beyond 64 offsets neighbours share a bar, which adds
            them up (then without the interval of noise).
        pattern: Name of the pattern, for its colour.
        theme: Light or dark.
    """
    profile = profile.sort_values("offset")
    width = bin_width(int(np.ptp(profile["offset"])) + 1, _BARS)
    # Bins lie symmetrically about the diagonal, offset 0.
    middle = np.round(profile["offset"].to_numpy() / width).astype(int) * width
    bars = profile.groupby(middle)[["share", "noise_share"]].sum()
    excess = bars["share"] - bars["noise_share"]
    top = excess.idxmax()
    where = f"offset {number(top, '+d')}" if top else "the diagonal"
    if width > 1:
        where = f"offsets near {number(top, '+d')}" if top else "offsets near the diagonal"
    if len(bars) == 1:
        where = f"{where}, the only one trained,"
    verb = "holds" if width == 1 else "hold"
    reading = f"{where} {verb} {bars['share'][top]:.0%}, noise would hold {bars['noise_share'][top]:.0%}"
    figure = new_figure(
        theme,
        alt=(
            f"Bars of the share of M's energy by offset j − i, from {bars.index[0]} to {bars.index[-1]}. "
            f"Furthest above noise: {reading}."
        ),
        caption=f"Look for bars above what noise on the same entries would hold: {reading}.",
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
    interval = {}
    if width == 1:
        above, below = (np.abs(profile[edge] - profile["noise_share"]) for edge in ("noise_high", "noise_low"))
        interval = {"type": "data", "array": above, "arrayminus": below, "width": 5, "thickness": 1.5}
    figure.add_scatter(
        name="noise of equal k" + (" (95%)" if interval else ""),
        x=bars.index,
        y=bars["noise_share"],
        error_y=interval,
        mode="markers" if interval else "lines",
        line={"color": theme.text, "width": 1.5, "dash": "dot"},
        marker={"color": theme.text, "size": 6, "symbol": "diamond"},
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
    return figure
