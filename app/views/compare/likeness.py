"""How alike two adapters are: in the selected matrix as a sentence, in every matrix on the map."""

from __future__ import annotations

import streamlit as st

from analysis.adapters.adapter import Adapter
from analysis.common.jobs import Job
from analysis.figures.comparison_map import LIKENESSES, comparison_map
from analysis.measures.comparison import comparison_table
from analysis.measures.likeness import matrix_verdict
from app import data, figures, selection
from app.selection import Opened
from app.views import progress
from app.views.compare.pair import Pair


def show_verdict(pair: Pair) -> None:
    """Say whether the two updates of the matrix are alike; of a large matrix as soon as the map knows."""
    (first, name), (second, _) = pair.both
    if pair.matrices[0].m <= data.QUICK:
        st.markdown(matrix_verdict(data.compared(first, second, name), pair.names))
        return
    job = data.comparison_job(first, second)

    def draw() -> None:
        row = next((row for row in job.results if row["name"] == name), None)
        if row is not None:
            st.markdown(matrix_verdict(row, pair.names))

    progress.repeat(draw, lambda: job.running)


def show_map(chosen: Opened, other: Adapter, job: Job) -> None:
    """Draw how alike the updates are in every matrix, within a fragment."""
    if st.session_state.pop("rerun-page", False):  # a click within a fragment runs the fragment alone
        st.rerun()
    likeness = st.segmented_control(
        "Likeness",
        list(LIKENESSES),
        default="cosine",
        format_func=LIKENESSES.get,
        key="likeness",
        required=True,
        label_visibility="collapsed",
    )
    # Containers of their own: a figure whose place changes, as what is above it goes, can be left standing twice.
    with st.container(key="comparing"):
        progress.show(
            job, "Comparing", key="comparison", restart=lambda: data.restart_comparison(chosen.adapter, other)
        )
    with st.container(key="likeness-figure"):
        _draw_map(chosen, job, likeness)


def _draw_map(chosen: Opened, job: Job, likeness: str) -> None:
    rows = job.results
    if not rows:
        return
    table = comparison_table(rows)
    figure = comparison_map(table, theme=figures.theme(), likeness=likeness, selected=chosen.matrix)
    key = f"likeness-map-{likeness}-{chosen.matrix}"

    def clicked() -> None:
        if name := figures.clicked(key):
            selection.select_matrix(chosen.adapter, name)
            st.session_state["rerun-page"] = True

    figures.draw(figure, key=key, on_select=clicked)
    # The table of all shared matrices has these numbers as CSV.
    st.caption(figures.words(figure)["caption"], help=f"${figures.words(figure)['formula']}$")
