"""How long an SVD takes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.figures.theme import METHOD_COLORS, Theme, axis, new_figure, set_layout
from analysis.lessons.cost import extrapolate

_UP_TO = 4096


def svd_time(measured: pd.DataFrame, *, size: int, theme: Theme) -> go.Figure:
    """Draw the measured seconds over n, and the line of n³ from the largest, with `size` marked.

    What to look for: twice the size takes eight times as long; it is paid once per weight, then read from disk.

    Args:
        measured: The table of `analysis.lessons.cost.measure_svd`.
        size: n of the weight in question.
        theme: Light or dark.
    """
    at = float(extrapolate(measured, np.array([size]))[0])
    sentence = f"an SVD of {size}×{size} takes about {_seconds(at)} here"
    figure = new_figure(
        theme,
        alt=f"Seconds of an SVD over the size n of a square matrix: {sentence}.",
        caption=f"{sentence[0].upper()}{sentence[1:]}. Look at the slope: twice the size takes eight times as long.",
        formula=r"t(n) \approx c\,n^3",
        height=250,
    )
    color = METHOD_COLORS["plain"]
    line = np.geomspace(measured["n"].max(), _UP_TO, 20)
    figure.add_scatter(
        name="n³ from the largest",
        x=line,
        y=extrapolate(measured, line),
        mode="lines",
        line={"color": theme.muted, "width": 2, "dash": "dot"},
        hovertemplate="n = %{x:.0f}: about %{y:.2g} s<extra></extra>",
    )
    figure.add_scatter(
        name="measured here",
        x=measured["n"],
        y=measured["seconds"],
        mode="lines+markers",
        line={"color": color, "width": 2},
        marker={"size": 8},
        hovertemplate="n = %{x}: %{y:.3g} s<extra></extra>",
    )
    figure.add_scatter(
        name="this weight",
        x=[size],
        y=[at],
        mode="markers",
        marker={"color": METHOD_COLORS["banded"], "size": 13, "line": {"color": theme.background, "width": 2}},
        hovertemplate="n = %{x}: about %{y:.2g} s<extra></extra>",
    )
    ticks = {"tickvals": [64, 128, 256, 512, 1024, 2048, 4096], "range": [np.log10(56), np.log10(_UP_TO * 1.15)]}
    set_layout(
        figure,
        xaxis=axis(theme, "n, of an n×n weight", type="log", **ticks),
        yaxis=axis(theme, "seconds", type="log", tickformat="~g", dtick=1),
    )
    return figure


def _seconds(value: float) -> str:
    return f"{1000 * value:.2g} ms" if value < 0.1 else f"{value:.2g} s" if value < 100 else f"{value:.0f} s"
