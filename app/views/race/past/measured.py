"""The study that comes with this project on the chosen task."""

from __future__ import annotations

import streamlit as st

from analysis.trials.study import Study
from app import trials
from app.views.race.past.studies import best


def show(study: Study) -> None:
    """Draw a button that opens it, with what it says in a few words; nothing on a task without one."""
    file = trials.committed().get(study.task)
    if file is None:
        return
    with st.container(key="measured"):
        st.button(
            "Measured before",
            icon=":material/monitoring:",
            type="tertiary",
            key="measured-study",
            on_click=trials.open_committed,
            args=(study.task,),
        )
        parts = [f"{len(file.results)} trials", f"{file.results['seed'].nunique()} seeds", *best(file.results)]
        st.caption(" · ".join(parts))
