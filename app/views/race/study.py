"""The head of an open study: its name and state, and what can be done with it as a whole."""

from __future__ import annotations

import streamlit as st

from analysis.common import settings
from analysis.common.errors import TaskError, UserError
from analysis.training.data.own_data import OwnData
from analysis.training.tasks import OWN_PREFIX, get_task
from analysis.trials.files import export_study
from analysis.trials.records import StudyRecord
from analysis.trials.study import Study
from app import selection, trials
from app.compat import fragment
from app.views.race.plan import form

NOT_HERE = "This study is not here: it was deleted, or the link belongs to another server."


def show_head(record: StudyRecord) -> None:
    """Draw the head. While the study runs, the page follows it to its end."""
    running = record.state in trials.RUNNING
    with st.container(horizontal=True, vertical_alignment="center", key="race-study-head"):
        st.title(name(record), anchor=False, width="stretch")
        if trials.owns(record):
            _show_stop_or_continue(record)
        st.button("New study", icon=":material/add:", on_click=_plan_again, args=(record,), key="again")
        _show_share(record)
        show_more(record)
    form.show_complaint()
    if running:
        fragment(_follow, run_every=1)(record)


def name(record: StudyRecord) -> str:
    """Return a study's name for people."""
    return record.name or task_title(record.study)


def task_title(study: Study) -> str:
    """Return the name of a study's task for people."""
    try:
        return get_task(study.task).title
    except TaskError:  # of data that only its owner has
        return "Own data"


def show_more(record: StudyRecord) -> None:
    """Draw what else the owner can do: rename and delete."""
    if not trials.owns(record):
        return
    with st.popover("⋯", type="tertiary", help="Rename, delete", key=f"more-study-{record.id}"):
        key = f"name-{record.id}"
        st.text_input("Name", record.name, key=key, max_chars=80, on_change=_rename, args=(record.id, key))
        runs = record.state in trials.RUNNING
        st.button(
            "Delete",
            icon=":material/delete:",
            key=f"delete-{record.id}",
            disabled=runs,
            help="Stop it first." if runs else "With its trained adapters. It can be undone.",
            on_click=_delete,
            args=(record.id,),
        )


def _show_stop_or_continue(record: StudyRecord) -> None:
    engine = trials.engine()
    if engine.runs(record.id):
        st.button("Stop", icon=":material/stop_circle:", key="stop", on_click=engine.stop, args=(record.id,))
    elif (
        not settings.is_read_only()
        and record.state not in trials.RUNNING
        and any(trial.state in ("interrupted", "stopped", "failed") for trial in trials.store().trials(record.id))
    ):
        st.button("Continue", icon=":material/resume:", key="resume", on_click=engine.resume, args=(record.id,))


def _show_share(record: StudyRecord) -> None:
    with st.popover("Share", icon=":material/share:", key="share"):
        st.caption("This link opens the plan, here or in any other SVFT Explorer:")
        st.code(f"{st.context.url}?plan={record.study.to_link()}", language=None, wrap_lines=True)
        texts = ", with those of your texts that it shows" if record.study.task.startswith(OWN_PREFIX) else ""
        st.caption(
            f"Only you find this study here. Whoever has this link sees it{texts}, and cannot change it:"
            if trials.owns(record)
            else "This link opens the study on this server:"
        )
        st.code(f"{st.context.url}?study={record.id}", language=None, wrap_lines=True)
        st.download_button(
            "Plan and results as a file",
            lambda: export_study(trials.store(), record.id),
            file_name=f"{name(record)}.json",
            mime="application/json",
            icon=":material/download:",
            on_click="ignore",
            key="export",
        )


def _follow(record: StudyRecord) -> None:
    """Say what a study waits for, and run the page again once its state is another one."""
    engine, now = trials.engine(), trials.store().study(record.id)
    if now is None or now.state != record.state:
        st.rerun()
    if engine.error:
        st.error(engine.error, icon=":material/error:")
    elif not engine.ready:
        st.caption(":material/hourglass_top: The workers are warming up.")
    elif before := engine.queue_length(record.id):
        st.caption(f":material/hourglass_top: {before} {'study' if before == 1 else 'studies'} ahead of yours.")


def _plan_again(record: StudyRecord) -> None:
    try:
        content = trials.store().data(record.id)
        if content is not None and trials.owns(record):
            trials.bring(OwnData.from_bytes(content))
        form.fill(record.study)
    except UserError as error:
        form.complain(error)
    else:
        trials.open_study(None)


def _rename(id: str, key: str) -> None:
    trials.store().rename(id, st.session_state[key].strip())


def _delete(id: str) -> None:
    record = trials.store().study(id)
    if record is None:
        return
    trials.store().delete(id)
    st.session_state["deleted-study"] = (id, name(record))
    if selection.current().study == id:
        trials.open_study(None)
