"""Edits of one's own: the largest values, a scale, a band, a block, a layer; and accuracy over the amount."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import streamlit as st

from analysis.figures.box import box_from_square, box_from_strip
from analysis.figures.coefficient_square import coefficient_square
from analysis.figures.coefficient_strip import coefficient_strip
from analysis.figures.edit_curve import edit_curve
from analysis.measures.coefficients import entries
from analysis.measures.edits import OFF, Edit, layers
from analysis.running.edit_effects import Accuracy, effect, effect_curve
from app import data, figures
from app.selection import Opened
from app.views import progress
from app.views.coefficients import STRIPS
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
BAND, BLOCK, LAYER = "Zero a band", "Zero a block", "Switch a layer off"


def show(chosen: Opened) -> tuple[Edit, str]:
    """Draw the controls and the outcome; return the edit that they describe, and it in words."""
    amounts = {amount.title: amount for amount in AMOUNTS}
    what, where = st.columns([3, 2], vertical_alignment="bottom")
    title = what.selectbox("Edit", [*amounts, BAND, BLOCK, LAYER], key="custom-edit")
    scope = None
    if title != LAYER:
        scope = where.segmented_control(
            "Where", [ALL, ONE], default=ALL, key="custom-scope", required=True, label_visibility="collapsed"
        )
    names = (chosen.matrix,) if scope == ONE else None
    label = data.matrix(chosen.adapter, chosen.matrix).label
    suffix = f" in {label}" if names else ""
    if title in amounts:
        return _amount(chosen, amounts[title], names, suffix)
    if title == LAYER:
        of = layers(chosen.adapter)
        layer = st.selectbox("Layer", list(of), key="custom-layer", label_visibility="collapsed")
        edit, words = Edit("scaled", {"alpha": 0.0}, of[layer]), f"{layer} off"
        _curve_of_layers(chosen, of, edit, words)
        return edit, words
    edit, words = (_band if title == BAND else _block)(chosen, names, suffix)
    _measure(chosen, [edit.to_json()])
    _outcome(chosen, edit, words)
    return edit, words


def _amount(chosen: Opened, amount: Amount, names: tuple[str, ...] | None, suffix: str) -> tuple[Edit, str]:
    if amount.percent:
        percent = st.slider("p", 0, 100, 30, format="%d%%", key="custom-share")
        value, words = percent / 100, f"Largest {percent}% only{suffix}"
    else:
        value = st.slider("α", -1.0, 3.0, 0.5, 0.05, format="%.2f", key="custom-alpha")
        words = f"Scaled by α = {value:g}{suffix}".replace("-", "−")
    edit = amount.make(value, names)
    lines = {place: amount.make(place, names).to_json() for place in amount.places}
    _measure(chosen, [edit.to_json()], list(lines.values()))
    outcome = _outcome(chosen, edit, words)
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
    _measure(chosen, [edit.to_json()], list(numbered.values()))
    outcome = _outcome(chosen, edit, words)
    if outcome and numbered:
        points = {place: outcome[line] for place, line in numbered.items() if line in outcome}
        _curve(chosen, "layer switched off", points, list(numbered), False, outcome)


def _measure(chosen: Opened, lines: list[str], curve: Sequence[str] = ()) -> None:
    """Draw the buttons that have a worker evaluate an edit, or a whole curve of them."""
    outcomes = evaluations.known(chosen.adapter)
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


def _outcome(chosen: Opened, edit: Edit, words: str) -> dict[str, np.ndarray] | None:
    """Write what the edit did, once it is known; return all that is known then."""
    line = edit.to_json()
    outcomes = evaluations.known(chosen.adapter)
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
    known: dict[str, np.ndarray],
) -> None:
    """Draw accuracy over the amount, as far as it is measured."""
    if len(points) < 2 and evaluations.running(chosen.adapter) is None:
        return
    table = effect_curve(list(points), list(points.values()))
    figure = edit_curve(
        table,
        trained=Accuracy.of(known[TRAINED]).value,
        off=Accuracy.of(known[OFF.to_json()]).value,
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


def _block(chosen: Opened, names: tuple[str, ...] | None, suffix: str) -> tuple[Edit, str]:
    """Draw M to draw a box in, and the box as two ranges."""
    matrix = data.matrix(chosen.adapter, chosen.matrix)
    strip = matrix.pattern in STRIPS
    cells = data.table(entries, chosen.adapter, chosen.matrix)
    draw_M = coefficient_strip if strip else coefficient_square
    figure = draw_M(cells, n=matrix.m, theme=figures.theme())
    key, ranges = f"edit-box-{chosen.matrix}", (f"custom-rows-{matrix.m}", f"custom-cols-{matrix.m}")

    def drawn() -> None:
        boxes = st.session_state[key]["selection"]["box"]
        if boxes:
            read = box_from_strip if strip else box_from_square
            box = read(boxes[0]["x"], boxes[0]["y"], matrix.m, side=matrix.m)
            st.session_state[ranges[0]] = (box.row_start, box.row_stop - 1)
            st.session_state[ranges[1]] = (box.col_start, box.col_stop - 1)

    figures.draw(figure, key=key, on_select=drawn, select="box", height=None if strip else 380)
    st.caption("Draw a box in M, or set it here.")
    for name in ranges:
        st.session_state.setdefault(name, (0, max(matrix.m // 10 - 1, 0)))
    (row, row_last), (col, col_last) = (
        st.slider(title, 0, matrix.m - 1, key=name)
        for title, name in zip(("Rows i", "Columns j"), ranges, strict=True)
    )
    block = {"row_start": row, "row_stop": row_last + 1, "col_start": col, "col_stop": col_last + 1}
    return (
        Edit("without_block", block, names),
        f"Rows {row} to {row_last}, columns {col} to {col_last} zeroed{suffix}",
    )
