"""New leading singular vectors that resemble no old one."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from analysis.figures.theme import Theme, axis, method_color, new_figure, set_layout


def intruders(table: pd.DataFrame, *, pattern: str, theme: Theme, threshold: float = 0.6) -> go.Figure:
    """Draw the largest cosine of each new leading singular vector with any old one (arXiv 2410.21228).

    What to look for: points under the line are intruder dimensions, directions that the base did not have.

    Args:
        table: The table of `analysis.measures.spectrum.intruders`: ``rank_new``, ``max_cosine_left``,
            ``max_cosine_right``, ``intruder``.
        pattern: Name of the pattern, for its colour.
        theme: Light or dark.
        threshold: The cosine under which a vector was counted as an intruder.
    """
    count, least = int(table["intruder"].sum()), table[["max_cosine_left", "max_cosine_right"]].min(axis=None)
    caption = (
        f"Points under the line resemble no old singular vector: {count or 'none'} of the {len(table)} leading "
        f"ones {'is an intruder' if count == 1 else 'are intruders'}; the lowest cosine is {least:.2f}."
    )
    if table.empty:
        caption = "No leading vector is known: the truncated basis leaves the order open."
    figure = new_figure(
        theme,
        alt=f"Largest cosine of the leading new singular vectors with any old one. {caption}",
        caption=caption,
        formula=r"\max_j |\langle u'_i, u_j \rangle|",
        height=280,
    )
    for side, symbol, size in (("left", "circle", 7), ("right", "diamond-open", 13)):
        figure.add_scatter(
            name=f"{side} vectors",
            x=table["rank_new"],
            y=table[f"max_cosine_{side}"],
            mode="markers",
            marker={"color": method_color(pattern), "symbol": symbol, "size": size, "line": {"width": 1.5}},
            hovertemplate=f"new rank %{{x}}: {side} cosine %{{y:.3f}}<extra></extra>",
        )
    figure.add_hline(y=threshold, line={"color": theme.text, "width": 1.5, "dash": "dash"})
    figure.add_annotation(
        x=0,
        xref="paper",
        y=threshold,
        text="intruder below",
        showarrow=False,
        xanchor="left",
        yanchor="top",
        xshift=4,
    )
    set_layout(
        figure,
        margin={"t": 32},
        xaxis=axis(theme, "place among the new singular values", range=[-0.6, len(table) - 0.4]),
        yaxis=axis(theme, "largest cosine", range=[0, 1.05]),
    )
    return figure
