"""Accuracy on the task against what was forgotten elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.figures.configurations import Frame, add_labels
from analysis.figures.theme import Theme, axis, method_marker, new_figure, number, series_color, set_layout

_HEIGHT = 400
_PLOT_HEIGHT = _HEIGHT - 84
_BESIDE = 0.02  # of the width: points nearer than that are labelled together


def accuracy_forgetting(summary: pd.DataFrame, *, words: str, theme: Theme) -> go.Figure:
    """Draw the accuracy of each configuration over its drift elsewhere, both with their 95% intervals.

    What to look for: points far up and far left learned the task and left the rest of the model's knowledge in place.

    Args:
        summary: The table of `analysis.trials.results.summarize`; what has no drift is left out. The interval of the
            drift is over seeds, and there is none with one seed.
        words: What the drift was measured on, `analysis.training.forgetting.Elsewhere.words`.
        theme: Light or dark.
    """
    table = summary.dropna(subset=["drift"])
    figure = new_figure(
        theme,
        alt=f"Accuracy on the task over drift on {words}. "
        + "; ".join(", ".join(_said(row)) for row in table.itertuples())
        + ".",
        caption="Far up and far left is best: the task is learned, and what the model made of other examples is left "
        "as it was. A trained head alone moves nothing: it stands at 0."
        if len(table)
        else "What was forgotten elsewhere was not measured.",
        formula=r"\text{drift} = \frac{1}{n}\sum_i \Big(1 - \frac{e_i \cdot e'_i}{\lVert e_i \rVert\, "
        r"\lVert e'_i \rVert}\Big)",
        height=_HEIGHT,
    )
    ends = table["drift_high"].fillna(table["drift"])
    right = max([*ends, 1e-3])
    frame = Frame((-0.04 * right, 1.08 * right), _range(table), _PLOT_HEIGHT)
    for row in table.itertuples():
        color = series_color(row.method, theme)
        figure.add_scatter(
            name=row.label,
            x=[row.drift],
            y=[row.accuracy],
            error_x=_interval(row.drift, row.drift_low, row.drift_high, color),
            error_y=_interval(row.accuracy, row.low, row.high, color),
            mode="markers",
            marker={
                "symbol": method_marker(row.method),
                "size": 11,
                "color": color,
                "line": {"width": 2, "color": theme.background},
            },
            customdata=["<br>".join(_said(row))],
            hovertemplate="%{customdata}<extra></extra>",
            showlegend=False,
        )
    outside = 0.0
    if len(table):
        points = pd.DataFrame({"label": table["label"], "x": table["drift"], "y": table["accuracy"]})
        outside = add_labels(figure, points, frame=frame, theme=theme, beside=_BESIDE * (frame.x[1] - frame.x[0]))
    set_layout(
        figure,
        margin={"t": 8, "r": 8 + outside},
        xaxis=axis(theme, f"drift: mean cosine distance, {words}", range=frame.x, rangemode="tozero"),
        yaxis=axis(theme, "test accuracy", range=frame.y, tickformat=".0%"),
    )
    return figure


def _range(table: pd.DataFrame) -> tuple[float, float]:
    if table.empty:
        return 0.0, 1.0
    low, high = table[["low", "accuracy"]].min(axis=None), table[["high", "accuracy"]].max(axis=None)
    margin = 0.06 * (high - low) or 0.01
    return float(low - margin), float(high + margin)


def _interval(value: float, low: float, high: float, color: str) -> dict[str, Any]:
    if np.isnan(low):
        return {"visible": False}
    return {"type": "data", "array": [high - value], "arrayminus": [value - low], "color": color, "thickness": 1.5}


def _said(row: Any) -> list[str]:
    spread = "" if np.isnan(row.drift_low) else f" (95% interval {number(row.drift_low)} to {number(row.drift_high)})"
    return [
        f"{row.label}: accuracy {row.accuracy:.1%}",
        f"drift {number(row.drift)}{spread}",
        f"another nearest neighbour for {row.neighbours_changed:.0%}",
        f"accuracy of the nearest one’s label {row.retrieval:.0%}, before {row.retrieval_before:.0%}",
    ]
