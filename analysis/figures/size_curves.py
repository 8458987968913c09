"""Trainable parameters over the size of each method."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from analysis.figures.theme import Theme, axis, method_marker, new_figure, series_color, set_layout
from analysis.planning.sizing import LETTERS

_HEIGHT = 380
_DASHES = ("solid", "dash", "dot", "dashdot")  # of patterns whose curves coincide


def size_curves(curves: pd.DataFrame, *, budget: int, theme: Theme) -> go.Figure:
    """Draw parameters over the size of each method (off_diag d, rank r, …), both axes log, and a line at the budget.

    What to look for: where a curve crosses the line, that method has the budget; plain is a level far below, VeRA
    hardly grows with its rank.

    Args:
        curves: The table of `analysis.planning.budgets.size_curves`.
        budget: Trainable parameters.
        theme: Light or dark.
    """
    plain = curves.loc[curves["size_name"].isna(), "count"]
    ends = curves[curves["size"].notna()].groupby("title", sort=False)
    figure = new_figure(
        theme,
        alt=f"Trainable parameters over the size of each method, with a line at {budget:,}. "
        + "; ".join(
            f"{title}: {group['count'].min():,} at {group['size'].min():.0f} to {group['count'].max():,} at "
            f"{group['size'].max():.0f}"
            for title, group in ends
        )
        + ".",
        caption=f"Where a curve crosses the dotted line, that method trains {budget:,} parameters. "
        + (f"Plain has {plain.iloc[0]:,}, or fewer on the leading directions alone." if len(plain) else ""),
        formula=r"n(2d+1) - d(d+1),\quad r\,(\text{out}+\text{in}),\quad r\,(\text{out}+\text{in}) + \text{out},"
        r"\quad \text{out} + r",
        height=_HEIGHT,
    )
    drawn: dict[tuple, int] = {}  # curve -> how often it was drawn
    for method, curve in curves.groupby("method", sort=False):
        color, sized = series_color(method, theme), curve[curve["size"] > 0]
        title = curve["title"].iloc[0]
        if curve["size"].isna().all():
            x, y, dash = [1, curves["size"].max()], [curve["count"].iloc[0]] * 2, "solid"
        else:
            x, y = sized["size"], sized["count"]
            dash = _DASHES[drawn.setdefault(tuple(y), 0) % len(_DASHES)]
            drawn[tuple(y)] += 1
        letter = LETTERS.get(curve["size_name"].iloc[0], "r")
        figure.add_scatter(
            name=title,
            x=x,
            y=y,
            mode="lines" if curve["size"].isna().all() else "lines+markers",
            line={"color": color, "width": 2, "dash": dash},
            marker={"symbol": method_marker(method), "size": 6, "color": color},
            hovertemplate=f"{title}"
            + ("" if curve["size"].isna().all() else f", {letter} = %{{x}}")
            + ": %{y:,} parameters<extra></extra>",
        )
    figure.add_hline(y=budget, line={"color": theme.text, "width": 1.5, "dash": "dot"})
    set_layout(
        figure,
        margin={"t": 52, "r": 16},
        xaxis=axis(theme, "size: off_diag d, rank r, or numbers u", type="log", dtick=1, tickformat="~s"),
        yaxis=axis(theme, "trained parameters", type="log", dtick=1, tickformat="~s"),
    )
    return figure
