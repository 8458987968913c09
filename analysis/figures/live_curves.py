"""The curves of trials while they run."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Literal

import altair as alt
import pandas as pd

from analysis.figures.live import ZOOM, in_house_style
from analysis.figures.theme import Theme, method_color, method_marker, series_color

Measure = Literal["accuracy", "loss", "train_loss", "macro_f1"]

_TITLES: dict[Measure, str] = {
    "accuracy": "accuracy",
    "loss": "loss",
    "train_loss": "training loss",
    "macro_f1": "macro F1",
}
_HEIGHT, _LEGEND_ROW = 270, 20  # pixels
_COLUMNS = 2  # of the legend
# Configurations of one colour are told apart by their dashes, in this order; what bounds the others has its own.
_DASHES = (
    [1, 0], [6, 3], [2, 2], [9, 3, 2, 3], [14, 3], [3, 6], [9, 3, 2, 3, 2, 3], [14, 3, 4, 3], [1, 5], [9, 6, 9, 2],
)  # fmt: skip
_REFERENCE_DASHES = {"head_only": [2, 4], "full": [10, 4]}
# Corners of the markers for which Vega has no name, in a square from −1 to 1 with y downwards.
_CORNERS = {
    "star": [
        (0.4 ** (k % 2) * math.sin(math.pi * k / 5), -(0.4 ** (k % 2)) * math.cos(math.pi * k / 5)) for k in range(10)
    ],
    "pentagon": [(math.sin(2 * math.pi * k / 5), -math.cos(2 * math.pi * k / 5)) for k in range(5)],
    "hexagon": [(math.sin(math.pi * k / 3), -math.cos(math.pi * k / 3)) for k in range(6)],
}


def live_curves(
    points: pd.DataFrame, methods: Mapping[str, str], steps: int, *, theme: Theme, measure: Measure = "accuracy"
) -> alt.LayerChart:
    """Draw a measure of all trials over the steps; the colour, dashes and marker of a line are its configuration's.

    The chart can be zoomed and moved, and a double click takes it back.

    Args:
        points: ``trial``, ``label``, ``seed``, ``step`` and `measure`; one row per evaluation.
        methods: Label -> method of all configurations that are planned, in the order of the legend.
        steps: Optimizer steps of a trial, where the axis ends.
        theme: Light or dark.
        measure: A column of `points`.
    """
    data = points[["trial", "label", "seed", "step"]].assign(
        method=points["label"].map(methods), value=points[measure]
    )
    labels, colors = list(methods), [series_color(method, theme) for method in methods.values()]
    markers = {method: _shape(method_marker(method)) for method in methods.values()}
    share = measure in ("accuracy", "macro_f1")
    legend = alt.Legend(title=None, orient="bottom", columns=_COLUMNS, symbolType="stroke", symbolSize=300)
    color = alt.Scale(domain=labels, range=colors)
    dashes = alt.Scale(domain=labels, range=_dashes(methods))
    base = alt.Chart(data.dropna(subset=["value"])).encode(
        x=alt.X("step:Q", title="step", scale=alt.Scale(domain=[0, steps], nice=False)),
        y=alt.Y(
            "value:Q",
            title=_TITLES[measure],
            scale=alt.Scale(zero=False),
            axis=alt.Axis(format="~%" if share else ".3~f"),
        ),
        detail="trial:N",
        tooltip=[
            alt.Tooltip("label:N", title="trained"),
            alt.Tooltip("seed:Q", title="seed"),
            alt.Tooltip("step:Q", title="step"),
            alt.Tooltip("value:Q", title=_TITLES[measure], format=".1%" if share else ".3f"),
        ],
    )
    line = base.mark_line(strokeWidth=2, clip=True, tooltip=None).encode(
        stroke=alt.Stroke("label:N", scale=color, legend=legend),
        strokeDash=alt.StrokeDash("label:N", scale=dashes, legend=legend),
    )
    line = line.properties(name="lines")  # Altair's own name for it would differ with the data
    shape = alt.Scale(domain=list(markers), range=list(markers.values()))
    dot = base.mark_point(strokeWidth=0, size=45, opacity=1, clip=True).encode(
        fill=alt.Fill("label:N", scale=color, legend=legend), shape=alt.Shape("method:N", scale=shape, legend=None)
    )
    reach = base.mark_point(size=300, opacity=0, clip=True)  # the pointer need not hit the dot itself
    chart = alt.layer(line, dot, reach).properties(
        width="container",
        height=_HEIGHT + _LEGEND_ROW * -(-len(labels) // _COLUMNS),
        description=f"{_TITLES[measure].capitalize()} of each trial over the steps.",
    )
    movable = chart.interactive(name=ZOOM)
    assert isinstance(movable, alt.LayerChart)  # Altair makes another kind only of facets
    return in_house_style(movable, theme)


def _shape(marker: str) -> str:
    """Return a marker under Vega's name for it, or as the path that Vega takes instead."""
    if marker not in _CORNERS:
        return marker
    return "M" + "L".join(f"{x:.2f},{y:.2f}" for x, y in _CORNERS[marker]) + "Z"


def _dashes(methods: Mapping[str, str]) -> list[list[int]]:
    """Return the dashes of each label: of those that share a colour, each has its own as long as there are enough."""
    seen: Counter[str] = Counter()
    dashes = []
    for method in methods.values():
        color = method_color(method)
        dashes.append(_REFERENCE_DASHES.get(method) or _DASHES[seen[color] % len(_DASHES)])
        seen[color] += method not in _REFERENCE_DASHES
    return dashes
