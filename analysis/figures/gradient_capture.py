"""How much of the gradient each pattern can follow, beside chance, before anything is trained."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from analysis.common.wording import percent
from analysis.figures.theme import Theme, axis, new_figure, series_color, set_layout
from analysis.training.methods import METHODS

_SYMBOLS = ("circle", "diamond", "square", "triangle-up", "star")  # of budgets, ascending


def gradient_capture(table: pd.DataFrame, *, theme: Theme) -> go.Figure:
    """Draw the share of the squared gradient on each pattern's entries, and a grey tick for chance, on a log axis.

    What to look for: points far to the right of their tick; the pattern follows more of the gradient than its number
    of entries explains.

    Args:
        table: Rows of `analysis.training.diagnosis`: ``pattern``, ``budget``, ``entries``, ``captured``, ``chance``.
        theme: Light or dark.
    """
    order = list(dict.fromkeys(table["pattern"]))
    titles = {pattern: METHODS[pattern].title for pattern in order}
    largest = table["budget"].max()
    best, *_ = table[table["budget"] == largest].sort_values("captured", ascending=False).itertuples()
    reading = (
        f"with {largest:,} entries, {titles[best.pattern]} follows {percent(best.captured)} of the squared gradient, "
        f"chance {percent(best.chance)}"
    )
    figure = new_figure(
        theme,
        alt="Share of the squared gradient that each pattern can follow. "
        + "; ".join(
            f"{titles[row.pattern]}, {row.budget:,} entries: {percent(row.captured)} (chance {percent(row.chance)})"
            for row in table.itertuples()
        )
        + ".",
        caption=f"Look for points far to the right of their grey tick, which is chance: {reading}.",
        formula=r"\sum_{(i,j)\in\Omega} (u_i^\top \nabla_W L\, v_j)^2 / \lVert \nabla_W L \rVert_F^2",
        height=90 + 44 * len(order),
    )
    budgets = sorted(table["budget"].unique())
    for place, budget in enumerate(budgets):
        rows = table[table["budget"] == budget]
        names = rows["pattern"].map(titles)
        figure.add_scatter(
            name="chance",
            x=rows["chance"],
            y=names,
            mode="markers",
            marker={"symbol": "line-ns-open", "size": 16, "color": theme.muted, "line": {"width": 2}},
            hovertemplate=f"chance for {budget:,} entries: %{{x:.2~%}}<extra></extra>",
            showlegend=place == 0,
            legendgroup="chance",
        )
        figure.add_scatter(
            name=f"{budget:,} entries",
            x=rows["captured"],
            y=names,
            mode="markers",
            marker={
                "symbol": _SYMBOLS[place % len(_SYMBOLS)],
                "size": 11,
                "color": [series_color(pattern, theme) for pattern in rows["pattern"]],
            },
            hovertemplate=f"%{{y}}, {budget:,} entries: %{{x:.2~%}}<extra></extra>",
        )
    set_layout(
        figure,
        margin={"t": 8},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"},
        xaxis=axis(theme, "share of the squared gradient", type="log", tickformat="~%", dtick=1),
        yaxis=axis(
            theme, "pattern", type="category", categoryorder="array", categoryarray=list(titles.values())[::-1]
        ),
    )
    return figure
