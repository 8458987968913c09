"""Which share of an update lies inside the thin singular basis of its weight: a bar."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from analysis.figures.theme import Theme, axis, fade, method_color, new_figure, set_layout
from analysis.measures.noise import Level


def inside_share(inside: pd.Series, *, theme: Theme) -> go.Figure:
    """Draw the share of ‖ΔW‖² that M holds, and the rest that leaves the basis.

    What to look for: how much of the update M shows at all. All of it for a square weight.

    Args:
        inside: `analysis.measures.coefficients.inside_basis`: ``share``, ``noise_share``, ``noise_low``,
            ``noise_high``. Of a square weight, noise lies inside, too.
        theme: Light or dark.
    """
    share, noise = inside["share"], Level(*inside[["noise_share", "noise_low", "noise_high"]])
    sentence = f"{noise.percent(share)} of the update’s energy lies inside the basis, in M"
    if noise.mean == 1:
        sentence = f"{sentence}: the weight is square."
    else:
        compared = {"inside": "as it would", "above": "more than", "below": "less than"}[noise.place(share)]
        sentence = f"{sentence}, {compared} in random directions ({noise.words(noise.percent)})."
    figure = new_figure(
        theme,
        alt=f"Bar: {sentence}",
        caption=sentence,
        formula=r"\lVert U^\top \Delta W V \rVert_F^2 / \lVert \Delta W \rVert_F^2",
        height=96,
    )
    for name, length, color in (
        ("inside the basis", share, method_color("projected")),
        ("outside", 1 - share, theme.absent),
    ):
        figure.add_bar(
            name=name,
            x=[length],
            y=[""],
            orientation="h",
            marker={"color": color, "line": {"color": theme.muted, "width": 1}},
            hovertemplate=f"{name}: %{{x:.1%}}<extra></extra>",
        )
    if noise.mean < 1:
        figure.add_vrect(x0=noise.low, x1=noise.high, fillcolor=fade(theme.muted, 0.6), line={"width": 0})
        figure.add_vline(x=noise.mean, line={"color": theme.text, "width": 2, "dash": "dot"})
        left = noise.mean > 0.7
        figure.add_annotation(
            x=noise.low if left else noise.high, y=0, yref="y", text="noise", showarrow=False,
            xanchor="right" if left else "left", xshift=-5 if left else 5,
        )  # fmt: skip
    set_layout(
        figure,
        barmode="stack",
        showlegend=False,
        margin={"t": 4, "b": 4, "l": 4, "r": 16},
        xaxis=axis(theme, "share of ‖ΔW‖²", tickformat=".0%", range=[0, 1]),
        yaxis={"visible": False},
    )
    return figure
