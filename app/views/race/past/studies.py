"""Past studies: reopen, rename, delete; and a study's file from elsewhere."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta

import pandas as pd
import streamlit as st

from analysis.common.errors import UserError
from analysis.trials.files import import_study, read_study
from analysis.trials.records import StudyRecord
from app import trials, uploads
from app.views.race import study
from app.views.race.plan import form

SHOWN = 8


def show() -> None:
    """Draw the visitor's studies, the newest first."""
    ours = [file.study for file in trials.committed().values()]
    readable, reasons = trials.store().studies_and_reasons(uploads.visitor())
    records = [record for record in readable if record.owner or record.study not in ours]
    with st.container(horizontal=True, vertical_alignment="center", key="race-past-head"):
        st.header("Past studies" if records else "Studies", anchor=False, width="stretch")
        with st.popover("Open a file", icon=":material/upload_file:", type="tertiary"):
            st.file_uploader("A study’s JSON file", type="json", key="study-file", on_change=_open_file)
    _show_undo()
    everything = len(records) <= SHOWN or st.session_state.get("past-all", False)
    for record in records if everything else records[:SHOWN]:
        _row(record)
    if len(records) > SHOWN:
        st.toggle(f"Show all {len(records)}", key="past-all", persist_state="session")
    for reason, count in Counter(reasons).items():
        st.caption(f"{count} {'study' if count == 1 else 'studies'} cannot be shown here. {reason}")


def _show_undo() -> None:
    """Offer to take the visitor's last deletion back."""
    if deleted := st.session_state.get("deleted-study"):
        id, name = deleted
        with st.container(horizontal=True, vertical_alignment="center", key="race-undo"):
            st.caption(f"Deleted: {name}")
            st.button("Undo", icon=":material/undo:", type="tertiary", key="undo-delete", on_click=_undo, args=(id,))


def _undo(id: str) -> None:
    trials.store().restore(id)
    del st.session_state["deleted-study"]


def _row(record: StudyRecord) -> None:
    name = study.name(record)
    with st.container(horizontal=True, vertical_alignment="center", wrap=False, key=f"past-{record.id}"):
        st.button(
            name,
            key=f"open-{record.id}",
            type="tertiary",
            on_click=trials.open_study,
            args=(record.id,),
            width=280,
        )
        task = study.task_title(record.study)
        facts = [
            *([] if task == name else [task]),
            _state(record),
            *best(trials.store().results(record.id)),
            _when(record.created),
        ]
        st.caption(" · ".join(facts), width="stretch")
        study.show_more(record)


def _state(record: StudyRecord) -> str:
    before = trials.engine().queue_length(record.id)
    return f"queued, {before} ahead of it" if record.state == "queued" and before else record.state


def best(results: pd.DataFrame) -> list[str]:
    """Return the configuration of the highest mean accuracy, in words; nothing if there are no results."""
    if results.empty:
        return []
    means = results.groupby("label")["accuracy"].mean()
    return [f"best: {means.idxmax()}, {means.max():.1%}"]


def _when(created: float) -> str:
    ago = datetime.now() - datetime.fromtimestamp(created)
    if ago < timedelta(hours=1):
        return f"{ago.seconds // 60} min ago"
    return (
        f"{ago.seconds // 3600} h ago" if ago < timedelta(days=1) else f"{datetime.fromtimestamp(created):%-d %B %Y}"
    )


def _open_file() -> None:
    """Show the results in a file, or fill the form with its plan."""
    file = st.session_state["study-file"]
    if file is None:
        return
    try:
        study_file = read_study(file.getvalue())
        if study_file.results.empty:
            form.fill(study_file.study)
        else:
            own = trials.own_data(study_file.study.task)
            trials.open_study(
                import_study(
                    trials.store(),
                    study_file,
                    owner=uploads.visitor(),
                    name=file.name.removesuffix(".json"),
                    data=own and own.to_bytes(),
                )
            )
    except UserError as error:
        form.complain(error)
