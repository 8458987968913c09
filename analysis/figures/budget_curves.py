"""Accuracy over the number of trained entries: one line per pattern."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.figures.theme import REFERENCE_DASHES, Theme, axis, fade, new_figure, series_color, set_layout
from analysis.training.methods import METHODS

_HEIGHT = 400


def budget_curves(table: pd.DataFrame, *, theme: Theme, marked: float | None = None) -> go.Figure:
    """Draw each pattern's mean accuracy over its trained entries (log axis), with a band of its 95% interval.

    What to look for: where the lines part. To the right all patterns meet full fine-tuning; to the left it matters
    which entries are trained.

    Args:
        table: Rows of `analysis.trials.results.summarize` of one task at several budgets: ``method``, ``label``,
            ``parameters``, ``seeds``, ``accuracy``, ``low``, ``high``. Head only and full fine-tuning are horizontal.
        theme: Light or dark.
        marked: A number of parameters to mark: 0.006% of the model, the smallest budget of the paper.
    """
    lines = table[~table["method"].isin(list(REFERENCE_DASHES))].sort_values(["method", "parameters"])
    bounds = table[table["method"].isin(list(REFERENCE_DASHES))].drop_duplicates("method")
    figure = new_figure(
        theme, alt=_alt(lines, bounds), caption=_caption(lines), formula=r"\text{right} / n", height=_HEIGHT
    )
    for method, rows in lines.groupby("method", sort=False):
        color, name = series_color(method, theme), METHODS[method].title
        x = rows["parameters"].to_numpy()
        band = np.concatenate([rows["high"], rows["low"][::-1]])
        figure.add_scatter(
            x=np.concatenate([x, x[::-1]]),
            y=band,
            fill="toself",
            fillcolor=fade(color, 0.12),
            line={"width": 0},
            mode="lines",
            hoverinfo="skip",
            showlegend=False,
        )
        hover = [
            f"{row.label}<br>{row.accuracy:.1%} (95% interval {row.low:.1%} to {row.high:.1%}, {row.seeds} seeds)"
            for row in rows.itertuples()
        ]
        figure.add_scatter(
            name=name,
            x=x,
            y=rows["accuracy"],
            mode="lines+markers",
            line={"color": color, "width": 2},
            marker={"size": 8},
            customdata=hover,
            hovertemplate="%{customdata}<extra></extra>",
        )
    for row in bounds.itertuples():
        line = {"color": theme.muted, "width": 1.5, "dash": REFERENCE_DASHES[row.method]}
        figure.add_hline(y=row.accuracy, line=line)
        figure.add_annotation(
            x=0, xref="paper", y=row.accuracy, text=f"{row.label} {row.accuracy:.1%}", xanchor="left",
            yanchor="bottom", showarrow=False, font_color=theme.muted,
        )  # fmt: skip
    if marked is not None:
        figure.add_vline(x=marked, line={"color": theme.muted, "width": 1, "dash": "dot"})
        figure.add_annotation(
            x=np.log10(marked), y=1, yref="paper", text="0.006%", xanchor="left", yanchor="top", showarrow=False,
            font_color=theme.muted,
        )  # fmt: skip
    set_layout(
        figure,
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"},
        xaxis=axis(theme, "trained entries of M in the whole model", type="log", dtick="D2", tickformat="~s"),
        yaxis=axis(theme, "accuracy", tickformat=".0%"),
    )
    return figure


def _alt(lines: pd.DataFrame, bounds: pd.DataFrame) -> str:
    shown = [f"{row.label}: {row.accuracy:.1%}" for row in pd.concat([lines, bounds]).itertuples()]
    return f"Accuracy over trained entries. {'; '.join(shown)}."


def _caption(lines: pd.DataFrame) -> str:
    smallest = lines.drop_duplicates("method").sort_values("accuracy")  # the first of each method
    worst, *_, best = smallest.itertuples()
    return (
        f"Look where the lines part. At its smallest budget {best.label} has {best.accuracy:.1%}, "
        f"{worst.label} {worst.accuracy:.1%}."
    )
