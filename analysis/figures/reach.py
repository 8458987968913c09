"""What an M can reach of a target, and what it leaves."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from analysis.figures.theme import CUSTOM_COLOR, Theme, axis, fade, new_figure, set_layout

_PARTS = {
    "reached": "reached",
    "not_in_pattern": "entries not in Ω",
    "outside_basis": "outside the singular vectors",
}


def reach(table: pd.DataFrame, *, theme: Theme) -> go.Figure:
    """Draw, of ‖P − W‖², what M reaches, what Ω leaves out, and what no M can reach.

    What to look for: on the square weight all of M reaches everything; on the rectangular one a residual stays.

    Args:
        table: The table of `analysis.lessons.lemma.reach_table`.
        theme: Light or dark.
    """
    colors = {
        "reached": CUSTOM_COLOR,
        "not_in_pattern": fade(CUSTOM_COLOR, 0.3),
        "outside_basis": theme.muted,
    }
    labels = [f"{row.weight}<br>{row.pattern}" for row in table.itertuples()]
    left = table[table["pattern"] == "all of M"].set_index("weight")["residual"]
    worst = left.idxmax()
    figure = new_figure(
        theme,
        alt="Parts of the way to a target. "
        + " ".join(
            f"{row.weight}, {row.pattern}: {row.reached:.0%} reached, {row.residual:.0%} left."
            for row in table.itertuples()
        ),
        caption=f"Look at the grey part: even all of M leaves {left.max():.0%} on the {worst} weight, whose columns "
        f"reach beyond the singular vectors; on the other one {left.min():.0%} stays.",
        formula=r"\lVert P - W - UMV^\top\rVert^2 = \lVert P - W\rVert^2 - \lVert M\rVert^2,\quad "
        r"M = U^\top(P - W)V \text{ on } \Omega",
        height=230,
    )
    for name, title in _PARTS.items():
        figure.add_bar(
            name=title,
            orientation="h",
            y=labels,
            x=table[name],
            marker={"color": colors[name], "line": {"width": 0}},
            text=[f"{value:.0%}" if value > 0.04 else "" for value in table[name]],
            textposition="inside",
            insidetextanchor="middle",
            hovertemplate=f"{title}: %{{x:.1%}}<extra>%{{y}}</extra>",
        )
    set_layout(
        figure,
        barmode="stack",
        bargap=0.25,
        margin={"t": 30, "r": 14},
        xaxis=axis(theme, "part of ‖P − W‖²", tickformat=".0%", range=[0, 1], fixedrange=True),
        yaxis=axis(theme, "weight and pattern", autorange="reversed", showgrid=False, fixedrange=True),
    )
    return figure
