"""From a base model to a race on it, or to what a fine-tuning of it would cost."""

from __future__ import annotations

import streamlit as st

from analysis.common.errors import UserError
from analysis.training.on_base import task_for
from app import selection, uploads
from app.views.race.plan import form


def show(chosen: selection.OpenedBase) -> None:
    """Draw the two buttons; what cannot be trained here says why."""
    task, why_not = _task(chosen)
    st.button(
        "Train on it",
        type="primary",
        icon=":material/flag:",
        key="base-train",
        disabled=bool(why_not),
        help=why_not or "Fills in a race with this model, ready to be started.",
        on_click=_train,
        args=(chosen.name, task),
    )
    st.button(
        "What would it cost?",
        icon=":material/payments:",
        key="base-budgets",
        on_click=_cost,
        args=(chosen.name,),
    )


def _task(chosen: selection.OpenedBase) -> tuple[str, str]:
    """Return the task to train for, and why that cannot be done, "" if it can."""
    if uploads.owns(chosen.directory):
        return "", "An upload is gone when you leave, and training goes on: name a directory or a Hub id instead."
    try:
        return task_for(chosen.directory), ""
    except UserError as error:
        return "", str(error)


def _train(model: str, task: str) -> None:
    try:
        form.fill(form.default_study(task, model))
    except UserError as error:
        form.complain(error)
    selection.go("race", tab=selection.RACE_TABS[0], study="", plan="")


def _cost(model: str) -> None:
    st.session_state["budgets-model"] = model
    selection.go("race", tab=selection.RACE_TABS[1], study="", plan="")
