"""Own data: a file of labelled texts, checked and previewed before it becomes the task of a plan."""

from __future__ import annotations

import io

import pandas as pd
import streamlit as st

from analysis.common.errors import UserError
from analysis.training.data.own_data import RARE, OwnData, check, read_table, suggest_columns
from analysis.training.data.own_table import WINDOWS
from analysis.training.tasks import TASKS
from app import trials
from app.views.race.plan import examples, form

_PREVIEWED = 4


def show() -> None:
    """Draw the upload, the columns, what the data would be, and the button that takes it; or what is in use."""
    with st.container(key="own-data"):
        st.file_uploader(
            "A table with a column of texts and one of labels: CSV, JSON or Parquet",
            type=["csv", "tsv", "txt", "json", "jsonl", "ndjson", "parquet"],
            max_upload_size=20,
            key="own-file",
            on_change=_read,
        )
        if "own-error" in st.session_state:
            st.error(st.session_state["own-error"], icon=":material/error:")
        if "own-table" in st.session_state:
            _show_preview(st.session_state["own-table"])
        elif chosen():
            data = st.session_state["own-data"]
            st.caption(f"In use: {data.title}, {len(data.pairs):,} texts in {len(data.labels)} classes.")
        elif "own-error" not in st.session_state:
            st.caption("Nothing leaves this server. A few hundred texts are enough, with at least 20 per class.")


def chosen() -> bool:
    """Whether the plan is for data of the visitor's own."""
    return st.session_state["plan"].task not in TASKS


def _read() -> None:
    """Read the file that was just chosen, from a callback; what is wrong with it is said below the uploader."""
    for key in ("own-table", "own-error", "own-content"):
        st.session_state.pop(key, None)
    file = st.session_state["own-file"]
    if file is not None:
        st.session_state["own-content"] = file.name, file.getvalue()
        _take(None)


def _take(header: bool | None) -> None:
    """Make the content of the file the table, with its first row as a header or not; None finds out."""
    name, content = st.session_state["own-content"]
    st.session_state.pop("own-error", None)
    try:
        table = read_table(io.BytesIO(content), name, header=header)
    except UserError as error:
        st.session_state["own-error"] = str(error)
        return
    try:
        text, label = suggest_columns(table)
    except UserError as error:
        st.session_state["own-error"] = str(error)
        if table.attrs["header"] is None:  # of a CSV file, the first row may be the reason
            return
        text, label = table.columns[0], table.columns[1]
    st.session_state.update(
        {"own-table": table, "own-text": text, "own-label": label, "own-header": table.attrs["header"]}
    )


def _show_preview(table: pd.DataFrame) -> None:
    columns = list(table.columns)
    left, right = st.columns(2)
    text = left.selectbox("Texts", columns, key="own-text", persist_state="session", on_change=_forget_error)
    label = right.selectbox("Labels", columns, key="own-label", persist_state="session", on_change=_forget_error)
    if table.attrs["header"] is not None:
        st.toggle(
            "The first row names the columns",
            key="own-header",
            persist_state="session",
            on_change=lambda: _take(st.session_state["own-header"]),
            help="Off: it is an example like the others.",
        )
    if table.attrs["encoding"] == WINDOWS:
        st.caption(f"Not UTF-8, so it is read as {WINDOWS}: check letters with accents below.")
    if "own-error" in st.session_state:
        return
    try:
        data = check(table, text, label)
    except UserError as error:
        st.error(str(error), icon=":material/error:")
        if (data := _without_rare(table, text, label)) is None:
            return
        rows = data.dropped[RARE]
        st.caption(f"Without the {rows:,} {'row' if rows == 1 else 'rows'} of rare labels:")
    _show_data(data)


def _forget_error() -> None:
    st.session_state.pop("own-error", None)


def _without_rare(table: pd.DataFrame, text: str, label: str) -> OwnData | None:
    """Return what is left without rare labels, None if that does not help."""
    try:
        data = check(table, text, label, drop_rare=True)
    except UserError:
        return None
    return data if RARE in data.dropped else None


def _show_data(data: OwnData) -> None:
    task = data.task()
    n_train = len(data.pairs) - task.n_test - task.n_validation
    dropped = "".join(f" {count:,} dropped: {reason}." for reason, count in data.dropped.items())
    st.caption(
        f"{len(data.pairs):,} of {data.rows:,} rows: {n_train:,} to train, {task.n_validation:,} to watch, "
        f"{task.n_test:,} to test.{dropped}"
    )
    left, right = st.columns([2, 3])
    with left:
        st.dataframe(
            {"Class": list(data.counts), "Texts": list(data.counts.values())},
            column_config={
                "Texts": st.column_config.ProgressColumn(format="%d", min_value=0, max_value=max(data.counts.values()))
            },
            height=min(38 + 35 * len(data.labels), 213),
            key="own-counts",
            alt=f"Number of texts in each of the {len(data.labels)} classes.",
        )
    with right:
        examples.draw(data.pairs[:_PREVIEWED], "text")
    rare = data.dropped.get(RARE)
    left_out = f", leave out {rare:,} rare" if rare else ""
    st.button(
        f"Use these {len(data.pairs):,} texts{left_out}", type="primary", key="own-use", on_click=_use, args=(data,)
    )


def _use(data: OwnData) -> None:
    trials.bring(data)
    for key in ("own-table", "own-content"):
        st.session_state.pop(key, None)
    form.change_task()
