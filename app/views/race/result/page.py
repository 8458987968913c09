"""The result of a study, an article from the verdict down to every number."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from analysis.common.errors import UserError
from analysis.trials.records import StudyRecord, TrialRecord
from app import trials
from app.views.race import results
from app.views.race.result import adapters, agreement, budget, differences, film, price, ranks, table, words


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
        film.show(record, of)
        return

    words.show_verdict(record, of, found)
    _show_unfinished(of)
    budget.show(found, behind)
    left, right = st.columns([6, 5], gap="medium")
    with left:
        differences.show(found, behind)
    with right:
        words.show_details(found, behind)
    left, right = st.columns(2, gap="medium")
    with left:
        price.show(record, found)
    with right:
        ranks.show(found)
    film.show(record, of, found.best_svft)
    agreement.show(found)
    table.show(record, of, found)
    adapters.show(record, of, found.best_svft)


def _show_unfinished(of: Sequence[TrialRecord]) -> None:
    """Say which trials have no result, and why."""
    lost: dict[str, list[str]] = {}
    for one in of:
        if one.state != "done":
            why = one.reason or f"{one.state.capitalize()} after step {one.step} of {one.trial.spec.steps}."
            lost.setdefault(why, []).append(f"{one.trial.label} (seed {one.trial.spec.seed})")
    for why, names in lost.items():
        st.caption(f":material/warning: No result for {', '.join(names)}: {why[0].lower()}{why[1:]}")
