"""Edits of one's own: the largest values, a scale, a band, a layer; and accuracy over the amount."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import streamlit as st

from analysis.figures.edit_curve import edit_curve
from analysis.measures.edits import OFF, Edit, layers
from analysis.running.edit_effects import Accuracy, effect, effect_curve
from app import data, figures
from app.selection import Opened
from app.views import progress
from app.views.edit import evaluations
from app.views.edit.outcome import TRAINED, sentence, wait_for

ALL, ONE = "All matrices", "This matrix"


@dataclass(frozen=True)
class Amount:
    """An edit with an amount, and the amounts of its curve.

    Attributes:
        title: What it does.
        axis: Name of the amount.
        places: Of the curve.
        percent: Whether amounts are fractions.
        make: From an amount and the names of the matrices to an edit.
    """

    title: str
    axis: str
    places: tuple[float, ...]
    percent: bool
    make: Callable[[float, tuple[str, ...] | None], Edit]


AMOUNTS = (
    Amount(
        "Keep the largest p %",
        "part of the values that stay",
        (0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0),
        True,
        lambda amount, names: Edit("largest_only", {"share": amount}, names),
    ),
    Amount(
        "Scale by α",
        "α",
        (-1.0, -0.5, 0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0),
        False,
        lambda amount, names: Edit("scaled", {"alpha": amount}, names),
    ),
)
BAND, LAYER = "Zero a band", "Switch a layer off"


def show(chosen: Opened) -> tuple[Edit, str]:
    """Draw the controls and the outcome; return the edit that they describe, and it in words."""
    amounts = {amount.title: amount for amount in AMOUNTS}
    what, where = st.columns([3, 2], vertical_alignment="bottom")
    title = what.selectbox("Edit", [*amounts, BAND, LAYER], key="custom-edit")
    names, suffix = None, ""
    if title != LAYER:
        with where:
            names, suffix = pick_scope(chosen)
    if title in amounts:
        return _amount(chosen, amounts[title], names, suffix)
    if title == LAYER:
        of = layers(chosen.adapter)
        layer = st.selectbox("Layer", list(of), key="custom-layer", label_visibility="collapsed")
        edit, words = Edit("scaled", {"alpha": 0.0}, of[layer]), f"{layer} off"
        _curve_of_layers(chosen, of, edit, words)
        return edit, words
    edit, words = _band(chosen, names, suffix)
    measure(chosen, [edit.to_json()])
    show_outcome(chosen, edit, words)
    return edit, words


def pick_scope(chosen: Opened, default: str = ALL) -> tuple[tuple[str, ...] | None, str]:
    """Draw the choice of the matrices that an edit changes; return their names, None for all, and words for it."""
    scope = st.segmented_control(
        "Where", [ALL, ONE], default=default, key=f"scope-{default}", required=True, label_visibility="collapsed"
    )
    if scope == ALL:
        return None, ""
    return (chosen.matrix,), f" in {data.matrix(chosen.adapter, chosen.matrix).label}"


def _amount(chosen: Opened, amount: Amount, names: tuple[str, ...] | None, suffix: str) -> tuple[Edit, str]:
    if amount.percent:
        percent = st.slider("p", 0, 100, 30, format="%d%%", key="custom-share")
        value, words = percent / 100, f"Largest {percent}% only{suffix}"
    else:
        value = st.slider("α", -1.0, 3.0, 0.5, 0.05, format="%.2f", key="custom-alpha")
        words = f"Scaled by α = {value:g}{suffix}".replace("-", "−")
    edit = amount.make(value, names)
    lines = {place: amount.make(place, names).to_json() for place in amount.places}
    measure(chosen, [edit.to_json()], list(lines.values()))
    outcome = show_outcome(chosen, edit, words)
    if outcome:
        points = {place: outcome[line] for place, line in {**lines, value: edit.to_json()}.items() if line in outcome}
        _curve(chosen, amount.axis, points, sorted(amount.places), amount.percent, outcome)
    return edit, words


def _curve_of_layers(chosen: Opened, of: dict[str, tuple[str, ...]], edit: Edit, words: str) -> None:
    numbered = {
        float(layer.removeprefix("layer ")): Edit("scaled", {"alpha": 0.0}, names).to_json()
        for layer, names in of.items()
        if layer.startswith("layer ")
    }
    measure(chosen, [edit.to_json()], list(numbered.values()))
    outcome = show_outcome(chosen, edit, words)
    if outcome and numbered:
        points = {place: outcome[line] for place, line in numbered.items() if line in outcome}
        _curve(chosen, "layer switched off", points, list(numbered), False, outcome)


def measure(chosen: Opened, lines: list[str], curve: Sequence[str] = ()) -> None:
    """Draw the buttons that have a worker evaluate an edit, or a whole curve of them."""
    outcomes = evaluations.outcomes(chosen.adapter)
    needed = [TRAINED, OFF.to_json(), *lines]
    with st.container(horizontal=True, key="measure-edit"):
        for title, asked, kind in (("Measure", needed, "primary"), ("Draw the curve", [*needed, *curve], "secondary")):
            if (title == "Measure" or curve) and not all(line in outcomes for line in asked):
                st.button(
                    title,
                    type=kind,
                    key=title.lower().replace(" ", "-"),
                    on_click=evaluations.start,
                    args=(chosen.adapter, asked),
                    help=f"Evaluates {sum(line not in outcomes for line in asked)} edits on the test split.",
                )


def show_outcome(chosen: Opened, edit: Edit, words: str) -> dict[str, np.ndarray] | None:
    """Write what the edit did, once it is known; return all that is known then."""
    line = edit.to_json()
    outcomes = evaluations.outcomes(chosen.adapter)
    lines = [TRAINED, OFF.to_json(), line]
    if not all(line in outcomes for line in lines):
        if any((job := evaluations.worker(chosen.adapter, line)) and job.running for line in lines):
            wait_for(chosen, lines)
        return None
    st.markdown(f"**{sentence(words, effect(outcomes[TRAINED], outcomes[line]))}**")
    return outcomes


def _curve(
    chosen: Opened,
    axis: str,
    points: dict[float, np.ndarray],
    ticks: list[float],
    percent: bool,
    outcomes: dict[str, np.ndarray],
) -> None:
    """Draw accuracy over the amount, as far as it is measured."""
    if len(points) < 2 and evaluations.running(chosen.adapter) is None:
        return
    table = effect_curve(list(points), list(points.values()))
    figure = edit_curve(
        table,
        trained=Accuracy.of(outcomes[TRAINED]).value,
        off=Accuracy.of(outcomes[OFF.to_json()]).value,
        what=axis,
        ticks=ticks,
        percent=percent,
        pattern=chosen.pattern,
        theme=figures.theme(),
    )
    figures.draw(figure, key="edit-curve")
    figures.explain(figure, table, key="edit-curve", file_name="edit_curve.csv")
    job = evaluations.running(chosen.adapter)
    if job is not None:
        progress.follow(job, "Drawing the curve", key="curve", restart=lambda: None, seen=len(job.results))


def _band(chosen: Opened, names: tuple[str, ...] | None, suffix: str) -> tuple[Edit, str]:
    n = data.matrix(chosen.adapter, chosen.matrix).m
    first, last = st.slider("Distance |j − i| from the diagonal", 0, n - 1, (0, 0), key=f"custom-band-{n}")
    return Edit("without_band", {"first": first, "last": last}, names), f"Band {first} to {last} zeroed{suffix}"
