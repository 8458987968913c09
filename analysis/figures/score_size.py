"""Whether the entries that asked for most at the start are those that training made large."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.figures.cells import MAX_POINTS
from analysis.figures.theme import Theme, axis, method_color, new_figure, number, set_layout

_HOVER = "i = %{customdata[0]}, j = %{customdata[1]}<br>gradient %{x:.3g}<br>|M| %{y:.3g}<extra></extra>"


def score_size(table: pd.DataFrame, *, name: str, theme: Theme) -> go.Figure:
    """Draw |M_ij| after training over the gradient by it before, both axes log, one point per chosen entry.

    What to look for: points that rise to the right; then the first gradient says where training goes.

    Args:
        table: One row per entry: ``name`` of its module, ``i``, ``j``, ``score`` and ``value``, its M_ij.
        name: Of the open matrix, whose points are coloured.
        theme: Light or dark.
    """
    table = table[table["value"] != 0]
    size = np.abs(table["value"])
    rho = size.corr(table["score"], method="spearman") if len(table) > 2 else 0.0
    chance = 1.96 / np.sqrt(max(len(table) - 1, 1))
    reading = f"rank correlation {number(rho, '.2f')} over {len(table):,} entries, by chance within ±{chance:.2f}"
    figure = new_figure(
        theme,
        alt=f"Size of the trained entries over their gradient at the start: {reading}.",
        caption=f"Points that rise to the right mean that the first gradient says where training goes: {reading}.",
        formula=r"|M_{ij}| \text{ after},\quad |\partial L / \partial M_{ij}| \text{ before}",
        height=320,
    )
    here = table["name"] == name
    for title, rows, color, opacity in (
        ("other matrices", ~here, theme.muted, 0.45),
        ("this matrix", here, method_color("chosen"), 1.0),
    ):
        shown = table[rows].head(MAX_POINTS)
        figure.add_scatter(
            name=title,
            x=shown["score"],
            y=shown["value"].abs(),
            mode="markers",
            marker={"size": 6, "color": color, "opacity": opacity},
            customdata=shown[["i", "j"]].to_numpy(),
            hovertemplate=_HOVER,
        )
    set_layout(
        figure,
        margin={"t": 8},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"},
        xaxis=axis(theme, "|gradient by the entry| before training", type="log", dtick=1, exponentformat="power"),
        yaxis=axis(theme, "|entry| after training", type="log", dtick=1, exponentformat="power"),
    )
    return figure
