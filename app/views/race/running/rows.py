"""The trials of a study, one row per configuration: how far its seeds are, and how accurate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

import pandas as pd
import streamlit as st

from analysis.figures.theme import REFERENCE_DASHES, method_marker, series_color
from analysis.trials.records import TrialRecord
from app import figures

_GLYPHS = {
    "circle": "●", "square": "■", "diamond": "◆", "cross": "✚", "star": "★", "pentagon": "⬟", "hexagon": "⬢",
    "triangle-up": "▲", "triangle-down": "▼", "triangle-left": "◀", "triangle-right": "▶",
}  # fmt: skip
_LINES = {"dot": "┈", "dash": "╌"}
# Widths in pixels: all but the state fit into the column beside the curves.
_COLUMNS = {
    "marker": st.column_config.TextColumn("", width=28),
    "label": st.column_config.TextColumn("Configuration", width=182),
    "accuracy": st.column_config.TextColumn("Accuracy", width=76),
    "progress": st.column_config.ProgressColumn("Steps", format="percent", min_value=0, max_value=1, width=95),
    "states": st.column_config.TextColumn("State"),
}


def show(of: Sequence[TrialRecord], points: pd.DataFrame) -> None:
    """Draw the rows: marker, name, accuracy so far, steps done, state; below them, why a trial failed.

    Args:
        of: The trials.
        points: Of the study (`Store.points`).
    """
    last = points.drop_duplicates("trial", keep="last").set_index("trial")["accuracy"]
    by_label = groupby(sorted(of, key=_first_of_label(of)), key=lambda trial: trial.trial.label)
    groups = [list(seeds) for _, seeds in by_label]
    theme = figures.theme()
    colors = [series_color(seeds[0].trial.spec.method, theme) for seeds in groups]
    table = pd.DataFrame([_row(seeds, last) for seeds in groups], columns=list(_COLUMNS))
    st.dataframe(
        table.style.apply(lambda _: [f"color: {color}" for color in colors], subset=["marker"]),
        column_config=_COLUMNS,
        hide_index=True,
        height="content",
        key="trials",
        alt=f"Table of the {len(of)} trials, one row for each configuration.",
    )
    for seeds in groups:
        for reason in dict.fromkeys(_reasons(seeds)):
            st.caption(f"{seeds[0].trial.label}: {reason}")


def _first_of_label(of: Sequence[TrialRecord]) -> Callable[[TrialRecord], tuple[int, int]]:
    first: dict[str, int] = {}
    for trial in of:
        first.setdefault(trial.trial.label, trial.number)
    return lambda trial: (first[trial.trial.label], trial.number)


def _row(seeds: list[TrialRecord], last: pd.Series) -> tuple[str, str, str, float, str]:
    latest = [last[trial.number] for trial in seeds if trial.number in last.index]
    states = Counter(trial.state for trial in seeds)
    return (
        _glyph(seeds[0].trial.spec.method),
        seeds[0].trial.label,
        f"{sum(latest) / len(latest):.1%}" if latest else "",
        sum(trial.step for trial in seeds) / sum(trial.trial.spec.steps for trial in seeds),
        ", ".join(f"{count} {state}" for state, count in states.items()) if len(seeds) > 1 else seeds[0].state,
    )


def _reasons(seeds: list[TrialRecord]) -> Iterator[str]:
    for trial in seeds:
        if trial.reason:
            yield f"seed {trial.trial.spec.seed}: {trial.reason}" if len(seeds) > 1 else trial.reason


def _glyph(method: str) -> str:
    return _LINES[REFERENCE_DASHES[method]] if method in REFERENCE_DASHES else _GLYPHS[method_marker(method)]
