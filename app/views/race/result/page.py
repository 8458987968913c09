"""The result of a study: the verdict, one figure and three numbers on one screen, and below them what one opens."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from analysis.common.errors import UserError
from analysis.trials.records import StudyRecord, TrialRecord
from app import trials
from app.views.race import results
from app.views.race.result import (
    adapters,
    agreement,
    budget,
    differences,
    film,
    forgetting,
    price,
    ranks,
    table,
    words,
)
from app.views.section import section


def show(record: StudyRecord) -> None:
    """Draw what the finished trials say; what has not finished is named."""
    of = trials.store().trials(record.id)
    try:
        found = results.of_study(record, of)
        behind = results.committed(record)
    except UserError as error:
        st.error(str(error), icon=":material/error:")
        return
    if found.trials.empty:
        st.header("No trial has finished.", anchor=False)
        _show_unfinished(of)
        if any(one.turns for one in of):
            st.header(film.TITLE, anchor=False)
            film.show(record, of)
        return

    words.show_verdict(record, of, found)
    _show_unfinished(of)
    left, right = st.columns([7, 4], gap="medium")
    with left:
        budget.show(found, behind)
    with right:
        words.show_numbers(record, found)
    best = found.best_svft
    section("In words", "words", lambda: words.show_details(found, behind))
    section("Compared with one of them", "differences", lambda: differences.show(found, behind))
    section("The price", "price", lambda: price.show(record, found))
    section("Rank of the update", "ranks", lambda: ranks.show(found))
    section("What was forgotten", "forgetting", lambda: forgetting.show(found))
    if any(one.turns for one in of):
        section(film.TITLE, "film", lambda: film.show(record, of, best))
    if len(found.labels) > 1:
        section("Where two of them disagree", "agreement", lambda: agreement.show(found))
    section("Every measure", "table", lambda: table.show(record, of, found))
    if adapters.kept(record, of):
        section("Trained adapters", "adapters", lambda: adapters.show(record, of, best))


def _show_unfinished(of: Sequence[TrialRecord]) -> None:
    """Say which trials have no result, and why."""
    lost: dict[str, list[str]] = {}
    for one in of:
        if one.state != "done":
            why = one.reason or f"{one.state.capitalize()} after step {one.step} of {one.trial.spec.steps}."
            lost.setdefault(why, []).append(f"{one.trial.label} (seed {one.trial.spec.seed})")
    for why, names in lost.items():
        st.caption(f":material/warning: No result for {', '.join(names)}: {why[0].lower()}{why[1:]}")
