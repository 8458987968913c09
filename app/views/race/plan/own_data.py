"""Own data: a file of labelled texts, checked and previewed before it becomes the task of a plan."""

from __future__ import annotations

import streamlit as st

from analysis.common.errors import UserError
from analysis.training.own_data import OwnData, check, read_table, suggest_columns
from analysis.training.tasks import TASKS
from app import trials
from app.views.race.plan import examples, form

_PREVIEWED = 4


def show() -> None:
    """Draw the upload, the columns, what the data would be, and the button that takes it; or what is in use."""
    with st.container(key="own-data"):
        st.file_uploader(
            "A table with a column of texts and one of labels: CSV, JSON lines or Parquet",
            type=["csv", "tsv", "txt", "json", "jsonl", "ndjson", "parquet"],
            max_upload_size=20,
            key="own-file",
            on_change=_read,
        )
        if "own-table" in st.session_state:
            _show_preview()
        elif chosen():
            data = st.session_state["own-data"]
            st.caption(f"In use: {data.title}, {len(data.pairs):,} texts in {len(data.labels)} classes.")
        else:
            st.caption("Nothing leaves this server. A few hundred texts are enough, with at least 20 per class.")


def chosen() -> bool:
    """Whether the plan is for data of the visitor's own."""
    return st.session_state["plan"].task not in TASKS


def _read() -> None:
    file = st.session_state["own-file"]
    st.session_state.pop("own-table", None)
    if file is None:
        return
    try:
        table = read_table(file, file.name)
        text, label = suggest_columns(table)
    except UserError as error:
        form.complain(error)
    else:
        st.session_state.update({"own-table": table, "own-text": text, "own-label": label})


def _show_preview() -> None:
    table = st.session_state["own-table"]
    columns = list(table.columns)
    left, right = st.columns(2)
    text = left.selectbox("Texts", columns, key="own-text", persist_state="session")
    label = right.selectbox("Labels", columns, key="own-label", persist_state="session")
    try:
        data = check(table, text, label)
    except UserError as error:
        st.error(str(error), icon=":material/error:")
        return
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
    st.button(f"Use these {len(data.pairs):,} texts", type="primary", key="own-use", on_click=_use, args=(data,))


def _use(data: OwnData) -> None:
    trials.bring(data)
    st.session_state.pop("own-table")
    form.change_task()
