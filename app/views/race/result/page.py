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
        outcome = results.of_study(record, of)
        behind = results.committed(record)
    except UserError as error:
        st.error(str(error), icon=":material/error:")
        return
    if outcome.trials.empty:
        st.header("No trial has finished.", anchor=False)
        _show_unfinished(of)
        if any(trial.turns for trial in of):
            st.header(film.TITLE, anchor=False)
            film.show(record, of)
        return

    words.show_verdict(record, of, outcome)
    _show_unfinished(of)
    left, right = st.columns([7, 4], gap="medium")
    with left:
        budget.show(outcome, behind)
    with right:
        words.show_numbers(record, outcome)
    best = outcome.best_svft
    section("In words", "words", lambda: words.show_details(outcome, behind))
    section("Compared with one of them", "differences", lambda: differences.show(outcome, behind))
    section("The price", "price", lambda: price.show(record, outcome))
    section("Rank of the update", "ranks", lambda: ranks.show(outcome))
    section("What was forgotten", "forgetting", lambda: forgetting.show(outcome))
    if any(trial.turns for trial in of):
        section(film.TITLE, "film", lambda: film.show(record, of, best))
    if len(outcome.labels) > 1:
        section("Where two of them disagree", "agreement", lambda: agreement.show(outcome))
    section("Every measure", "table", lambda: table.show(record, of, outcome))
    if adapters.kept(record, of):
        section("Trained adapters", "adapters", lambda: adapters.show(record, of, best))


def _show_unfinished(of: Sequence[TrialRecord]) -> None:
    """Say which trials have no result, and why."""
    lost: dict[str, list[str]] = {}
    for trial in of:
        if trial.state != "done":
            why = trial.reason or f"{trial.state.capitalize()} after step {trial.step} of {trial.trial.spec.steps}."
            lost.setdefault(why, []).append(f"{trial.trial.label} (seed {trial.trial.spec.seed})")
    for why, names in lost.items():
        st.caption(f":material/warning: No result for {', '.join(names)}: {why[0].lower()}{why[1:]}")
