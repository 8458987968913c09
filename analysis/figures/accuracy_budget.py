"""Accuracy, or recovered performance, against the number of trained parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.figures.configurations import (
    BESIDE,
    Frame,
    add_bound_name,
    add_configurations,
    add_labels,
    add_legend,
    spread,
)
from analysis.figures.theme import REFERENCE_DASHES, Theme, axis, fade, new_figure, set_layout

Measure = Literal["accuracy", "recovered"]

_COLUMNS: dict[Measure, tuple[str, str, str]] = {
    "accuracy": ("accuracy", "low", "high"),
    "recovered": ("recovered", "recovered_low", "recovered_high"),
}
_TITLES: dict[Measure, str] = {"accuracy": "test accuracy", "recovered": "recovered performance"}
_FORMULAS: dict[Measure, str] = {
    "accuracy": r"\text{right} / n_\text{test}",
    "recovered": r"\frac{\text{method} - \text{head only}}{\text{full} - \text{head only}}",
}
_HEIGHT = 460
_PLOT_HEIGHT = _HEIGHT - 84


def accuracy_budget(
    own: pd.DataFrame,
    *,
    theme: Theme,
    committed: pd.DataFrame | None = None,
    front: Sequence[str] = (),
    measure: Measure = "accuracy",
) -> go.Figure:
    """Draw each configuration by its parameters (log axis) and its accuracy; a line is the front.

    What to look for: how far up one gets with few parameters, and where more of them stop helping. Head only and full
    fine-tuning are horizontal lines. Configurations of one budget stand side by side, so that all can be seen.

    Args:
        own: The table of `analysis.trials.results.summarize`: solid points. With one seed an interval covers the
            test examples alone, which its hover text says. It may be empty.
        theme: Light or dark.
        committed: The same of the study that stands behind: pale intervals.
        front: Labels on the front (`analysis.trials.results.front`), of `own`, or of `committed` if that is empty.
        measure: "accuracy", or "recovered" for recovered performance, as far as it is defined.
    """
    own = _drawn(own, measure)
    behind = own.iloc[:0] if committed is None else _drawn(committed, measure)
    bounds = pd.concat([own, behind]).query("method in @REFERENCE_DASHES.keys()").drop_duplicates("method")
    bands = pd.concat([behind, own]).query("method in @REFERENCE_DASHES.keys()").drop_duplicates("method")
    own, behind = (table[~table["method"].isin(list(REFERENCE_DASHES))] for table in (own, behind))
    main = behind if own.empty else own
    figure = new_figure(
        theme,
        alt=_alt(main, bounds, measure),
        caption=_caption(main, front, measure),
        formula=_FORMULAS[measure],
        height=_HEIGHT,
    )
    if main.empty:
        figure.add_annotation(text=f"No {_TITLES[measure]} to show yet.", showarrow=False, x=0.5, y=0.5)
        set_layout(figure, xaxis={"visible": False, "range": [0, 1]}, yaxis={"visible": False, "range": [0, 1]})
        return figure

    places = _side_by_side(pd.concat([own, behind]))
    own, behind, main = (
        table.assign(x=np.array([places[label] for label in table["label"]], float), y=table["value"])
        for table in (own, behind, main)
    )
    frame = _frame(pd.concat([own, behind]), bounds, measure)
    points = pd.DataFrame({"label": main["label"], "x": np.log10(main["x"]), "y": main["y"]})
    _add_bounds(figure, bounds, bands, points, frame, theme)
    add_configurations(figure, behind, along="y", theme=theme, pale=True)
    on_front = main[main["label"].isin(front)].sort_values("x")
    figure.add_scatter(
        name="front",
        x=on_front["x"],
        y=on_front["y"],
        mode="lines",
        line={"color": theme.text, "width": 1.5},
        hoverinfo="skip",
        showlegend=False,
    )
    add_configurations(figure, own, along="y", theme=theme, pale=False)
    outside = add_labels(figure, points, frame=frame, theme=theme)
    if len(own) and len(behind):
        add_legend(figure, theme=theme, own="this study", behind=f"shipped study, {behind['seeds'].max()} seeds")
    set_layout(
        figure,
        margin={"t": 34, "r": 8 + outside},
        xaxis=axis(
            theme, "trained parameters, excluding the head", type="log", range=frame.x, dtick="D2", tickformat="~s"
        ),
        yaxis=axis(theme, _TITLES[measure], range=frame.y, tickformat=".0%"),
    )
    return figure


def _drawn(table: pd.DataFrame, measure: Measure) -> pd.DataFrame:
    """Return the rows where the measure is defined, with ``value``, ``low``, ``high`` and ``hover``."""
    value, low, high = _COLUMNS[measure]
    table = table.dropna(subset=[value])
    columns = {"value": table[value], "low": table[low], "high": table[high]}
    hover = [
        f"{row.label}<br>{row.parameters:,} parameters<br>{_TITLES[measure]} {_percent(v)} (95% interval "
        f"{_percent(lo)} to {_percent(hi)})<br>"
        f"{'1 seed: of the test examples alone' if row.seeds == 1 else f'{row.seeds} seeds'}"
        for row, v, lo, hi in zip(table.itertuples(), *columns.values())
    ]
    return table.assign(**columns, hover=hover)


def _percent(value: float) -> str:
    return f"{value:.1%}".replace("-", "−")


def _alt(main: pd.DataFrame, bounds: pd.DataFrame, measure: Measure) -> str:
    points = [f"{row.label}, {row.parameters:,} parameters: {_percent(row.value)}" for row in main.itertuples()]
    lines = [f"{row.label}: {_percent(row.value)}" for row in bounds.itertuples()]
    return f"{_TITLES[measure].capitalize()} against trained parameters. " + "; ".join(points + lines) + "."


def _caption(main: pd.DataFrame, front: Sequence[str], measure: Measure) -> str:
    if main.empty:
        return (
            "Recovered performance needs full fine-tuning clearly above head only."
            if measure == "recovered"
            else "No trial has finished."
        )
    best = main.loc[main["value"].idxmax()]
    shown = [label for label in front if label in set(main["label"])]
    look = "Look for points far up and far left"
    line = (
        f"; the line goes through the front, each clearly above the one before: {', then '.join(shown)}"
        if len(shown) > 1
        else ""
    )
    highest = f"{best['label']}, {_percent(best['value'])} with {best['parameters']:,} parameters"
    return f"{look}; the highest is {highest}{line}."


def _side_by_side(table: pd.DataFrame) -> dict[str, float]:
    """Return the place of each label: its parameters, a little off if others have about the same."""
    exponents = np.log10(table.drop_duplicates("label").set_index("label")["parameters"].astype(float)).sort_values(
        kind="stable"
    )
    return dict(zip(exponents.index, 10 ** spread(exponents.to_numpy(), BESIDE)))


def _frame(points: pd.DataFrame, bounds: pd.DataFrame, measure: Measure) -> Frame:
    """Return ranges that hold all points with their intervals, and the bounds unless they lie far off."""
    x = np.log10(points["x"])
    low, high = points[["low", "y"]].min(axis=None), points[["high", "y"]].max(axis=None)
    span = max(high - low, 0.02)
    near = bounds["value"][(bounds["value"] > low - span / 2) & (bounds["value"] < high + span / 2)]
    low, high = min([low, *near]), max([high, *near])
    margin = 0.06 * (high - low) or 0.01
    top = high + 1.6 * margin
    if measure == "accuracy":
        top = min(top, 1.0) if high < 1.0 else 1.0 + margin / 2  # no tick beyond 100%, but the marks there are whole
    return Frame((x.min() - 0.12, x.max() + 0.12), (low - margin, top), _PLOT_HEIGHT)


def _add_bounds(
    figure: go.Figure, bounds: pd.DataFrame, bands: pd.DataFrame, points: pd.DataFrame, frame: Frame, theme: Theme
) -> None:
    """Add head only and full fine-tuning as lines over their bands, or a note at the edge beyond which they lie."""
    for row in bands.dropna(subset=["low"]).itertuples():
        if frame.y[0] <= row.value <= frame.y[1] and row.low < row.high:
            figure.add_hrect(y0=row.low, y1=row.high, fillcolor=fade(theme.muted, 0.12), line_width=0, layer="below")
    for row in bounds.itertuples():
        text = f"{row.label} {_percent(row.value)}"
        if frame.y[0] <= row.value <= frame.y[1]:
            line = {"color": theme.muted, "width": 1.5, "dash": REFERENCE_DASHES[row.method]}
            figure.add_hline(y=row.value, line=line)
            add_bound_name(figure, row.value, text, points=points, frame=frame, theme=theme)
        else:
            below = row.value < frame.y[0]
            place = {"y": 0, "yanchor": "bottom"} if below else {"y": 1, "yanchor": "top"}
            figure.add_annotation(
                text=f"{'↓' if below else '↑'} {text}",
                x=0,
                xref="paper",
                xanchor="left",
                yref="paper",
                showarrow=False,
                font_color=theme.muted,
                **place,
            )
