"""The plan: a study that is filled in, ready to be started or changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from analysis.common.errors import UserError
from analysis.training.tasks import TASKS, get_task
from analysis.trials.duration import expected_duration
from analysis.trials.study import LeftOut, Study, Trial
from app import selection, trials
from app.views import progress
from app.views.race.past import measured, small_budgets
from app.views.race.plan import bet, diagnosis, examples, form, lanes, own_data, settings


def show() -> None:
    """Draw task, lanes, bet and the button that starts the study."""
    with st.container(key="race-title"):
        st.title("Let fine-tuning methods race, and see which gives most for its parameters", anchor=False)
    try:
        form.begin()
        _follow_link()
    except UserError as error:
        form.complain(error)
    form.show_complaint()
    if "plan" not in st.session_state:
        return
    study, planned, left_out, error = _plan()
    left, right = st.columns([8, 5], gap="medium")
    with left:
        with st.container(key="task"):
            st.pills(
                "Task",
                [*TASKS, form.OWN],
                format_func=lambda task: TASKS[task].title if task in TASKS else "Your own data",
                key="plan-task",
                required=True,
                on_change=form.change_task,
                persist_state="session",
                label_visibility="collapsed",
            )
        if st.session_state["plan-task"] == form.OWN:
            own_data.show()
            if not own_data.chosen():
                return
        lanes.show(study, planned, left_out)
        settings.show(study)
    with right, st.container(border=True, key="start-card"):
        bet.show(planned)
        with st.container(key="start-bar"):
            st.button(
                "Start",
                type="primary",
                icon=":material/play_arrow:",
                width="stretch",
                key="start",
                disabled=error is not None,
                on_click=_start,
                args=(study, planned),
            )
            expected = st.container()
    with right:
        if error is not None:
            st.error(str(error), icon=":material/error:")
        examples.show(study)
        measured.show(study)
        small_budgets.show(study)
        diagnosis.show(study)
    with expected:  # last: the first call takes a second, to begin with the workers
        engine = trials.engine()
        progress.repeat(lambda: _expect(study, planned), lambda: not (engine.ready or engine.error))


def _plan() -> tuple[Study, list[Trial], list[LeftOut], UserError | None]:
    """Return what the form describes, the trials and what is left out, or why there are none."""
    study = st.session_state["plan"]
    try:
        study = form.read()
        planned, left_out = study.plan()
    except UserError as error:
        return study, [], [], error
    return study, planned, left_out, trials.refusal(planned)


def _follow_link() -> None:
    """Fill the form with the plan in the URL, once; in a class with the visitor's own seed."""
    link = selection.current().plan
    if link and link != st.session_state.get("plan-link"):
        st.session_state["plan-link"] = link
        study = Study.from_link(link)
        form.fill(replace(study, seeds=(trials.class_seed(),)) if trials.class_code() else study)


def _start(study: Study, planned: Sequence[Trial]) -> None:
    try:
        trials.start(study, planned, name=get_task(study.task).title, bet=bet.current(planned))
    except UserError as error:
        form.complain(error)


def _expect(study: Study, planned: Sequence[Trial]) -> None:
    """Write how many trials there are, how long they take, and whether the workers are there."""
    engine = trials.engine()
    if engine.error:
        st.error(engine.error, icon=":material/error:")
        return
    turns = trials.store().turns(study.task, study.base)
    duration = expected_duration(study, planned, turns, engine.workers, engine.step_seconds, trials.committed())
    words = [f"{len(planned)} trials"]
    if not engine.ready:
        words.append("workers are warming up")
    elif duration is not None:
        words.append(f"{duration.words} on {engine.workers} workers")
    st.caption(", ".join(words), help=None if duration is None or duration.measured else _GUESS)


_GUESS = "Estimated from a training step measured when the workers started: no study of this kind has run here yet."
