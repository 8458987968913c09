"""Rank of the update against the number of trained parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.figures.configurations import BESIDE, Frame, add_bound_name, add_labels, spread
from analysis.figures.theme import REFERENCE_DASHES, Theme, axis, new_figure, series_color, set_layout

_HEIGHT = 400
_PLOT_HEIGHT = _HEIGHT - 90
_MARKS = {"rank": "line-ew", "effective_rank": "circle", "stable_rank": "diamond"}


def rank_budget(summary: pd.DataFrame, *, theme: Theme) -> go.Figure:
    """Draw rank, effective rank and stable rank of ΔW of each configuration by its parameters (both axes log).

    What to look for: SVFT reaches a high rank with few parameters, and how much of that rank carries weight: the
    effective rank lies far below it if few directions hold most of ΔW.

    Args:
        summary: The table of `analysis.trials.results.summarize`; ranks are means over the adapted matrices. Full
            fine-tuning is a horizontal line at its effective rank; what changes no matrix is left out.
        theme: Light or dark.
    """
    full = summary[summary["method"] == "full"]
    table = summary[~summary["method"].isin(REFERENCE_DASHES) & (summary["stable_rank"] > 0)]
    table = table.sort_values("parameters", kind="stable")
    readings = [
        f"{row.label}, {row.parameters:,} parameters: {_words(row)}" for row in pd.concat([table, full]).itertuples()
    ]
    caption = "No update is known yet."
    if len(table):
        most = table.loc[table["effective_rank"].idxmax()]
        caption = (
            "The bar is the rank of ΔW, the point its effective rank, how many directions carry its weight: the most "
            f"in {most['label']}, {most['effective_rank']:.3g} of {most['rank']:.4g}."
        )
    figure = new_figure(
        theme,
        alt="Rank of the update ΔW against trained parameters. " + "; ".join(readings) + ".",
        caption=caption,
        formula=r"\mathrm{rank}\,\Delta W,\quad \exp H\bigl(s / \textstyle\sum_j s_j\bigr),\quad"
        r" \lVert \Delta W \rVert_F^2 / \lVert \Delta W \rVert_2^2",
        height=_HEIGHT,
    )
    exponents = spread(np.log10(table["parameters"].to_numpy(float)), BESIDE)
    x, colors = 10**exponents, [series_color(method, theme) for method in table["method"]]
    for at, color, row in zip(x, colors, table.itertuples()):
        line = {"color": color, "width": 1.5}
        figure.add_shape(type="line", x0=at, x1=at, y0=row.stable_rank, y1=row.rank, line=line)
    for name, symbol in _MARKS.items():
        outline = {"width": 2 if name == "rank" else 0, "color": colors}
        figure.add_scatter(
            name=name.replace("_", " "),
            x=x,
            y=table[name],
            mode="markers",
            marker={"symbol": symbol, "color": colors, "size": 9, "line": outline},
            customdata=[
                f"{row.label}<br>{row.parameters:,} parameters<br>{_words(row)}" for row in table.itertuples()
            ],
            hovertemplate="%{customdata}<extra></extra>",
            showlegend=False,
        )
        shown = {"symbol": symbol, "color": theme.text, "size": 9, "line": outline | {"color": theme.text}}
        figure.add_scatter(name=name.replace("_", " "), x=[None], y=[None], mode="markers", marker=shown)
    frame, outside = Frame((4, 6), (0, 3), _PLOT_HEIGHT), 0.0
    if len(table):
        low, high = np.log10([table["stable_rank"].min(), max([table["rank"].max(), *full["effective_rank"]])])
        frame = Frame((exponents[0] - 0.12, exponents[-1] + 0.12), (low - 0.15, high + 0.2), _PLOT_HEIGHT)
        points = pd.DataFrame({"label": table["label"], "x": exponents, "y": np.log10(table["effective_rank"])})
        outside = add_labels(figure, points, frame=frame, theme=theme)
        for row in full.itertuples():
            text = f"{row.label}, effective rank {row.effective_rank:.3g}"
            line = {"color": theme.muted, "width": 1.5, "dash": REFERENCE_DASHES["full"]}
            figure.add_hline(y=row.effective_rank, line=line)
            place = np.log10(row.effective_rank)
            add_bound_name(figure, place, text, points=points, frame=frame, theme=theme)
    parameters = "trained parameters, excluding the head"
    set_layout(
        figure,
        margin={"t": 34, "r": 8 + outside},
        xaxis=axis(theme, parameters, type="log", range=frame.x, dtick="D2", tickformat="~s"),
        yaxis=axis(theme, "rank of ΔW, mean over matrices", type="log", range=frame.y, dtick="D2", tickformat="~s"),
    )
    return figure


def _words(row: Any) -> str:
    return f"rank {row.rank:.4g}, effective rank {row.effective_rank:.3g}, stable rank {row.stable_rank:.3g}"
