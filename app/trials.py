"""Trials in the app: the engine of this server, who the visitor is and what data they brought, the open study."""

from __future__ import annotations

import atexit
import os
import sqlite3
from collections.abc import Sequence
from typing import TYPE_CHECKING

import streamlit as st

from analysis.common import settings
from analysis.common.errors import TaskError, UserError
from analysis.training.data.own_data import OwnData, register
from analysis.training.tasks import OWN_PREFIX, get_task
from analysis.trials.files import StudyFile, committed_studies, import_study
from analysis.trials.records import StudyRecord
from analysis.trials.store import Store, data_directory
from analysis.trials.study import Study, Trial
from app import selection
from app.uploads import visitor

if TYPE_CHECKING:
    from analysis.trials.engine import Engine

RUNNING = ("queued", "running")

EVERYONE = ""  # owner of what no visitor may change


@st.cache_resource(show_spinner=False)
def store() -> Store:
    """Return the studies of this server.

    Raises:
        UserError: If they cannot be kept.
    """
    try:
        store = Store()
        store.purge()  # what was deleted when the server last ran
        return store
    except (OSError, sqlite3.Error) as error:
        raise UserError(
            f"Studies cannot be kept in {data_directory()} ({error}): set SVFT_DATA_DIR to a directory that can be "
            "written to, and start the app again."
        ) from error


@st.cache_resource(show_spinner=False)
def engine() -> Engine:
    """Return the engine of this server. The first call starts its workers, which warm up in the background."""
    from analysis.trials.engine import Engine  # a second for Dask: not before the first page is drawn

    created = Engine(store(), scheduler=os.environ.get("SVFT_SCHEDULER") or None, workers=settings.workers())
    atexit.register(created.close)
    return created


@st.cache_resource(show_spinner=False)
def committed() -> dict[str, StudyFile]:
    """Return the studies that come with this project, by task."""
    return committed_studies()


def refusal(planned: Sequence[Trial]) -> UserError | None:
    """Return why these trials may not run on this server, None if they may."""
    if settings.is_read_only():
        return UserError("This server shows earlier results and trains nothing: run SVFT Explorer yourself to race.")
    steps, most = sum(trial.spec.steps for trial in planned), settings.max_study_steps()
    if most is not None and steps > most:
        return UserError(
            f"On this server, the trials of a study can have {most:,} training steps in total, not {steps:,}: choose "
            "fewer methods, seeds or steps."
        )
    return None


def start(study: Study, planned: Sequence[Trial], *, name: str, bet: dict | None) -> None:
    """Start a study of this visitor and open it, from a callback. In a class it is seen with the others’.

    Raises:
        UserError: If it may not run here, or its data are not here.
    """
    if (reason := refusal(planned)) is not None:
        raise reason
    own = own_data(study.task)
    id = engine().start(study, owner=visitor(), name=name, bet=bet, data=own and own.to_bytes())
    if class_code():
        store().add_to_class(class_code(), id)
    open_study(id)


def add_seeds(record: StudyRecord, more: int) -> None:
    """Run more seeds of a study of this visitor.

    Raises:
        UserError: If they may not run here.
    """
    if (reason := refusal(record.study.with_more_seeds(more).plan()[0])) is not None:
        raise reason
    engine().add_seeds(record.id, more)


def owns(record: StudyRecord) -> bool:
    """Whether this visitor may change a study. What belongs to everyone is nobody's to change here."""
    return record.owner == visitor()


def class_code() -> str:
    """Return the code of the class that the URL names, "" if it names none."""
    return selection.current().class_code


def class_seed() -> int:
    """Return the seed that this visitor has in the class of the URL, which it joins by asking; 0 without a class."""
    return store().join_class(class_code(), visitor()) if class_code() else 0


def bring(data: OwnData) -> None:
    """Keep the visitor's own data for this session, so that plans can be about them."""
    register(data)
    st.session_state["own-data"] = data


def own_data(task: str) -> OwnData | None:
    """Return the data of a task, None for one of ours.

    Raises:
        TaskError: If they are someone's own, and this visitor has not brought them.
    """
    if not task.startswith(OWN_PREFIX):
        return None
    data = st.session_state.get("own-data")
    if data is None or data.name != task:
        raise TaskError(
            "This study uses someone’s own data file, which isn’t loaded: choose the same file under “Your own "
            "data”, and "
            "then open this again."
        )
    return data


def opened() -> StudyRecord | None:
    """Return the study that the URL names, None if it names none that is here."""
    id = selection.current().study
    if not id:
        return None
    engine()  # marks studies as interrupted whose engine is gone
    return store().study(id)


def open_study(id: str | None) -> None:
    """Open a study, or none, on the page Race; from a callback."""
    selection.change(study=id or "", plan="")


def open_committed(task: str) -> None:
    """Open the study that ships with this project on a task, from a callback. It is kept once, as everyone's."""
    file = committed()[task]
    kept = (record.id for record in store().studies(EVERYONE) if record.study == file.study)
    id = next(kept, None) or import_study(store(), file, owner=EVERYONE, name=get_task(task).title)
    open_study(id)
