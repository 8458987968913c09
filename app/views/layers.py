"""The map of an adapter: layers down, kinds across; a click selects a matrix."""

from collections.abc import Callable

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from analysis.common.jobs import Job
from analysis.figures.brush_map import brush_map
from analysis.figures.layer_map import layer_map
from analysis.measures.brush import Brush, brush_shares, brush_table
from analysis.measures.overview import norm_table, relative_norms
from app import data, figures, selection
from app.views import progress

SIZE, BOX = "Size", "In the box"


def show_map(chosen: selection.Opened) -> None:
    """Draw ‖ΔW‖/‖W‖ of every matrix, or what the box that was drawn in M holds of each.

    If the matrices have to be projected first, the map fills meanwhile.
    """
    of = SIZE
    with st.container(horizontal=True, vertical_alignment="bottom", key="head-of-map"):
        st.header("Where it changed", anchor=False, width="stretch")
        if chosen.brush is not None:
            of = st.segmented_control(
                "Of every matrix",
                [SIZE, BOX],
                default=SIZE,
                key="shown-on-map",
                required=True,
                label_visibility="collapsed",
            )
    if of == BOX and chosen.brush is not None:
        _show_boxes(chosen, chosen.brush)
    elif not chosen.adapter.projected:
        _draw(chosen, layer_map, data.adapter_table(relative_norms, chosen.adapter))
    else:
        job = data.overview_job(chosen.adapter)
        _fill(
            job,
            lambda: _draw(chosen, layer_map, norm_table(chosen.adapter, _norms(job))),
            "overview",
            lambda: data.restart_overview(chosen.adapter),
        )


def _norms(job: Job) -> dict[str, float]:
    return {name: norm for name, norm, _ in job.results}


def _show_boxes(chosen: selection.Opened, brush: Brush) -> None:
    if not chosen.adapter.projected:
        _draw(chosen, brush_map, data.adapter_table(brush_shares, chosen.adapter, brush=brush), brush=brush)
        return
    job = data.brush_job(chosen.adapter, brush.text)

    def draw() -> None:
        _draw(chosen, brush_map, brush_table(chosen.adapter.matrices, list(job.results)), brush=brush)

    _fill(job, draw, "brush-map", lambda: data.restart_brush(chosen.adapter, brush.text))


def _fill(job: Job, draw: Callable[[], None], key: str, restart: Callable[[], None]) -> None:
    """Draw a map that fills while its job runs."""

    def filling() -> None:
        if st.session_state.pop("rerun-page", False):  # a click within a fragment runs the fragment alone
            st.rerun()
        draw()
        progress.show(job, "Projecting", key=key, restart=restart)

    progress.repeat(filling, lambda: job.running)


def _draw(chosen: selection.Opened, draw_map: Callable[..., go.Figure], table: pd.DataFrame, **options: Brush) -> None:
    figure = figures.build(draw_map, table, theme=figures.theme(), selected=chosen.matrix, **options)
    # The key follows the selection: a matrix picked elsewhere leaves no stale click behind.
    key = f"map-{chosen.matrix}"

    def clicked() -> None:
        if name := figures.clicked(key):
            selection.select_matrix(chosen.adapter, name)
            st.session_state["rerun-page"] = chosen.adapter.projected

    # The table of all measures below has the numbers of the size as CSV.
    figures.draw(figure, key=key, on_select=clicked)
    st.caption(figures.words(figure)["caption"], help=f"${figures.words(figure)['formula']}$")
