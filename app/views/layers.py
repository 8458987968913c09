"""The map of an adapter: layers down, kinds across; a click selects a matrix."""

import pandas as pd
import streamlit as st

from analysis.common.jobs import Job
from analysis.figures.layer_map import layer_map
from analysis.measures.overview import norm_table, relative_norms
from app import data, figures, selection
from app.views import progress


def show_map(chosen: selection.Opened) -> None:
    """Draw ‖ΔW‖/‖W‖ of every matrix; if they have to be projected first, the map fills meanwhile."""
    if not chosen.adapter.projected:
        _draw(chosen, data.adapter_table(relative_norms, chosen.adapter))
        return
    job = data.overview_job(chosen.adapter)
    progress.repeat(lambda: _filling(chosen, job), lambda: job.running)


def _filling(chosen: selection.Opened, job: Job) -> None:
    if st.session_state.pop("rerun-page", False):  # a click within a fragment runs the fragment alone
        st.rerun()
    norms = {name: norm for name, norm, _ in job.results}
    _draw(chosen, norm_table(chosen.adapter, norms))
    progress.show(job, "Projecting", key="overview", restart=lambda: data.restart_overview(chosen.adapter))


def _draw(chosen: selection.Opened, table: pd.DataFrame) -> None:
    figure = figures.build(layer_map, table, theme=figures.theme(), selected=chosen.matrix)
    # The key follows the selection: a matrix picked elsewhere leaves no stale click behind.
    key = f"map-{chosen.matrix}"

    def clicked() -> None:
        if name := figures.clicked(key):
            selection.select_matrix(chosen.adapter, name)
            st.session_state["rerun-page"] = chosen.adapter.projected

    # The table of all measures below has these numbers as CSV.
    st.header("Where it changed", anchor=False, help=f"${figure.layout.meta['formula']}$")
    figures.draw(figure, key=key, on_select=clicked)
    st.caption(figure.layout.meta["caption"])
