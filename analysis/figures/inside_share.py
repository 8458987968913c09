"""Which share of an update lies inside the thin singular basis of its weight: a bar."""

from __future__ import annotations

import plotly.graph_objects as go

from analysis.figures.theme import Theme, axis, method_color, new_figure, set_layout


def inside_share(share: float, *, shape: tuple[int, int], theme: Theme) -> go.Figure:
    """Draw the share of ‖ΔW‖² that M holds, and the rest that leaves the basis.

    What to look for: how much of the update M shows at all. All of it for a square weight.

    Args:
        share: `AdaptedMatrix.inside_share`.
        shape: (out, in) of the weight. Noise would have min/max of the two inside.
        theme: Light or dark.
    """
    noise = min(shape) / max(shape)
    inside = f"{share:.0%} of the update’s energy lies inside the basis, in M"
    sentence = f"{inside}; noise would have {noise:.0%} there." if noise < 1 else f"{inside}: the weight is square."
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
    if noise < 1:
        figure.add_vline(x=noise, line={"color": theme.text, "width": 2, "dash": "dot"})
        left = noise > 0.7
        figure.add_annotation(
            x=noise, y=0, yref="y", text="noise", showarrow=False, xanchor="right" if left else "left",
            xshift=-5 if left else 5,
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
