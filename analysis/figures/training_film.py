"""A study's training as a film: the curves of its trials up to a step, and M of one matrix at that step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.figures.coefficient_film import coefficient_film
from analysis.figures.theme import REFERENCE_DASHES, Theme, axis, method_marker, series_color, set_layout

_CURVES, _MOST_OF_M = 190, 300  # pixels
_GAP, _COLORBAR = 56, 44  # between the two, and more if M's colours are explained above it


def training_film(
    points: pd.DataFrame,
    methods: Mapping[str, str],
    i: np.ndarray,
    j: np.ndarray,
    values: np.ndarray,
    steps: Sequence[int],
    *,
    n: int,
    theme: Theme,
) -> go.Figure:
    """Draw `coefficient_film` with the accuracy of all trials above it, both up to the same step.

    What to look for: whether accuracy still rises where M no longer moves.

    Args:
        points: ``trial``, ``label``, ``seed``, ``step`` and ``accuracy``; one row per evaluation.
        methods: Label -> method.
        i: Rows of the trained entries, (k,).
        j: Their columns, (k,).
        values: M at each evaluation, (evaluations, k).
        steps: Of these evaluations.
        n: Number of singular directions.
        theme: Light or dark.
    """
    figure = coefficient_film(i, j, values, steps, n=n, theme=theme)
    curves = [rows for _, rows in points.groupby("trial", sort=False)]
    for rows in curves:
        figure.add_scatter(**_curve(rows, methods, theme))
    for frame, step in zip(figure.frames, steps):
        parts = [rows[rows["step"] <= step] for rows in curves]
        frame.data = [*frame.data, *(go.Scatter(x=rows["step"], y=rows["accuracy"]) for rows in parts)]
        frame.traces = list(range(1 + len(curves)))

    margin = figure.layout.margin
    of_m = min(figure.layout.height - margin.t - margin.b, _MOST_OF_M)
    bar = figure.data[0].colorbar
    above = bar.orientation == "h"
    whole = of_m + _GAP + above * _COLORBAR + _CURVES
    top = of_m / whole  # of M, as a share of both
    bar.update({"y": top} if above else {"y": 0, "len": top, "yanchor": "bottom"})
    figure.layout.yaxis.domain = (0, top)
    low, high = points["accuracy"].min(), points["accuracy"].max()
    room = 0.06 * (high - low) or 0.01
    set_layout(
        figure,
        height=whole + margin.t + margin.b,
        xaxis2=axis(theme, "step", range=[0, 1.02 * points["step"].max()], anchor="y2"),
        yaxis2=axis(
            theme,
            "accuracy",
            anchor="x2",
            range=[low - room, high + room],
            domain=(1 - _CURVES / whole, 1),
            tickformat=".0%",
            nticks=5,
        ),
    )
    # The ground of M says that an entry is not trained; here it would say nothing.
    figure.add_shape(
        type="rect",
        xref="x2 domain",
        yref="y2 domain",
        **{"x0": 0, "x1": 1, "y0": 0, "y1": 1},
        fillcolor=theme.background,
        line_width=0,
        layer="below",
    )
    last = points.sort_values("step").drop_duplicates("trial", keep="last").groupby("label", sort=False)["accuracy"]
    figure.layout.meta["alt"] += " Above, the accuracy of each trial over the steps; it ends at " + "; ".join(
        f"{label}: {value:.1%}" for label, value in last.mean().items()
    )
    return figure


def _curve(rows: pd.DataFrame, methods: Mapping[str, str], theme: Theme) -> dict:
    """Return the keywords of one trial's line."""
    label, seed = rows["label"].iloc[0], rows["seed"].iloc[0]
    method = methods[label]
    color = series_color(method, theme)
    return {
        "name": label,
        "x": rows["step"],
        "y": rows["accuracy"],
        "xaxis": "x2",
        "yaxis": "y2",
        "mode": "lines+markers",
        "line": {"color": color, "width": 1.5, "dash": REFERENCE_DASHES.get(method, "solid")},
        "marker": {"color": color, "symbol": method_marker(method), "size": 5},
        "hovertemplate": f"{label}, seed {seed}<br>step %{{x}}: %{{y:.1%}}<extra></extra>",
        "showlegend": False,
    }
