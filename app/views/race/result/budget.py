"""Accuracy, or recovered performance, against trained parameters."""

from __future__ import annotations

import streamlit as st

from analysis.figures.accuracy_budget import accuracy_budget
from app import figures
from app.compat import fragment
from app.views.race.results import Results

_MEASURES = {"accuracy": "Accuracy", "recovered": "Recovered performance"}


@fragment
def show(results: Results, behind: Results | None) -> None:
    """Draw the study, on the one that comes with this project if there is one."""
    with st.container(horizontal=True, vertical_alignment="center", key="race-section-budget"):
        st.header("What a parameter buys", anchor=False, width="stretch")
        measure = st.segmented_control(
            "Measure",
            list(_MEASURES),
            default="accuracy",
            format_func=_MEASURES.get,
            key="budget-measure",
            required=True,
            label_visibility="collapsed",
        )
    figure = accuracy_budget(
        results.summary,
        theme=figures.theme(),
        committed=None if behind is None else behind.summary,
        front=results.front,
        measure=measure,
    )
    figures.draw(figure, key=f"budget-{measure}")
    figures.explain(figure, results.summary, key="budget", file_name="accuracy.csv")
