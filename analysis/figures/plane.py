"""A 2×2 matrix at work: the unit circle, and the ellipse that it becomes."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from analysis.figures.theme import METHOD_COLORS, Theme, axis, fade, new_figure, number, set_layout
from analysis.lessons.plane import circle

# The two pairs keep their hue from circle to ellipse.
_FIRST, _SECOND = METHOD_COLORS["plain"], METHOD_COLORS["banded"]


def plane(U: np.ndarray, sigma: tuple[float, float], V: np.ndarray, *, theme: Theme, reach: float = 3.2) -> go.Figure:
    """Draw the unit circle with v₁ and v₂, and beside it W's ellipse with σ₁u₁ and σ₂u₂.

    What to look for: V chooses the directions that become the axes, Σ stretches them, U turns the result.

    Args:
        U: Left singular vectors, (2, 2).
        sigma: Their singular values.
        V: Right singular vectors, (2, 2).
        theme: Light or dark.
        reach: Half the width of each square.
    """
    W = U @ np.diag(sigma) @ V.T
    flat = " One value is 0: the ellipse is a line, and W has rank 1." if min(sigma) == 0 < max(sigma) else ""
    figure = new_figure(
        theme,
        alt=(
            f"The unit circle, and the ellipse that W makes of it: half-axes {sigma[0]:g} and {sigma[1]:g}. "
            f"W = [[{_n(W[0, 0])}, {_n(W[0, 1])}], [{_n(W[1, 0])}, {_n(W[1, 1])}]]."
        ),
        caption=(f"Look at where v₁ and v₂ go: they become the half-axes, {sigma[0]:g} and {sigma[1]:g} long.{flat}"),
        formula=r"W = U\Sigma V^\top,\quad W v_i = \sigma_i u_i",
        height=360,
    )
    points = circle()
    for number_, (curve, axes, names) in enumerate(
        ((points, V, ("v₁", "v₂")), (W @ points, U * np.array(sigma), ("σ₁u₁", "σ₂u₂"))), start=1
    ):
        of = {"xaxis": "x", "yaxis": "y"} if number_ == 1 else {"xaxis": "x2", "yaxis": "y2"}
        figure.add_scatter(
            name="circle" if number_ == 1 else "ellipse",
            x=curve[0],
            y=curve[1],
            mode="lines",
            fill="toself",
            fillcolor=fade(theme.muted, 0.12),
            line={"color": theme.muted, "width": 2},
            hoverinfo="skip",
            showlegend=False,
            **of,
        )
        for (x, y), name, color in zip(axes.T, names, (_FIRST, _SECOND)):
            figure.add_scatter(
                name=name,
                x=[0, x],
                y=[0, y],
                mode="lines+markers+text",
                marker={"color": color, "size": [1, 11], "symbol": ["circle", "arrow"], "angleref": "previous"},
                line={"color": color, "width": 3},
                text=["", f"<b>{name}</b>"],
                textfont={"color": theme.text, "size": 15},
                textposition="top right" if x * y >= 0 else "top left",
                cliponaxis=False,
                hovertemplate=f"{name}: (%{{x:.2f}}, %{{y:.2f}})<extra></extra>",
                showlegend=False,
                **of,
            )
    span = {"range": [-reach, reach], "dtick": 1, "fixedrange": True}
    set_layout(
        figure,
        margin={"t": 8},
        xaxis=axis(theme, "x: the circle", domain=[0, 0.47], **span),
        yaxis=axis(theme, "y", scaleanchor="x", **span),
        xaxis2=axis(theme, "x: the ellipse W · circle", domain=[0.53, 1], anchor="y2", **span),
        yaxis2=axis(theme, "y", scaleanchor="x2", anchor="x2", **span),
    )
    return figure


def _n(value: float) -> str:
    return number(round(value, 2) + 0.0, "g")
