"""What the trials trained: open it in Explore, download it, delete it."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from analysis.trials.records import StudyRecord, TrialRecord
from app import selection, trials
from app.views.race import matrix


def kept(record: StudyRecord, of: Sequence[TrialRecord]) -> dict[int, TrialRecord]:
    """Return the trials whose adapters are still here, by number."""
    store = trials.store()
    return {trial.number: trial for trial in of if store.adapter_directory(record.id, trial.number).is_dir()}


def show(record: StudyRecord, of: Sequence[TrialRecord], first: int | None) -> None:
    """Draw the choice of an adapter, and what can be done with it.

    Args:
        record: The study.
        of: Its trials.
        first: Number of the trial that is chosen at first.
    """
    store, adapters = trials.store(), kept(record, of)
    if not adapters:
        return
    one_seed = len(record.study.seeds) == 1
    with st.container(horizontal=True, vertical_alignment="center", key="race-section-adapters"):
        number = st.selectbox(
            "Adapter of",
            list(adapters),
            index=list(adapters).index(first) if first in adapters else 0,
            format_func=lambda number: matrix.name(adapters[number], one_seed=one_seed) if number in adapters else "",
            key="adapters-trial",
            label_visibility="collapsed",
            width=320,
        )
        chosen, directory = adapters[number], store.adapter_directory(record.id, number)
        explorable = chosen.trial.spec.method != "head_only"
        st.button(
            "Open in Explore",
            icon=":material/search:",
            disabled=not explorable,
            key="adapters-open",
            help=None if explorable else "It adapts no matrix.",
            on_click=selection.open_adapter,
            args=(directory,),
        )
        st.download_button(
            "Download",
            lambda: pack(directory),
            file_name=f"{record.study.task}-{chosen.trial.spec.method}-seed{chosen.trial.spec.seed}.zip",
            mime="application/zip",
            icon=":material/download:",
            on_click="ignore",
            key="adapters-download",
        )
        if trials.owns(record):
            with st.popover("Delete", icon=":material/delete:", key="adapters-delete"):
                st.caption("Deletes the adapter; its measurements remain.")
                st.button(
                    "Delete it",
                    key="adapters-delete-now",
                    on_click=store.delete_adapter,
                    args=(record.id, number),
                )


def pack(directory: Path) -> bytes:
    """Return a directory as a zip file."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(directory.rglob("*")):
            archive.write(file, file.relative_to(directory))
    return packed.getvalue()
