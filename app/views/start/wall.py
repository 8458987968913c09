"""The coefficient wall: every trained number of an adapter in one picture; a click opens that matrix in Explore."""

import pandas as pd
import streamlit as st

from analysis.figures.coefficient_wall import coefficient_wall
from analysis.measures.overview import is_plain
from analysis.measures.overview import wall as wall_table
from app import data, figures, selection
from app.views import progress

HEIGHT = 262


def show(chosen: selection.Opened) -> None:
    """Draw all adapted matrices as the rows of one heatmap; if they have to be projected first, it comes after."""
    if not chosen.adapter.projected:
        _draw(chosen, data.adapter_table(wall_table, chosen.adapter))
        return
    job = data.overview_job(chosen.adapter)
    if job.complete:
        _draw(chosen, pd.concat([part for _, _, part in job.results], ignore_index=True))
    else:
        st.subheader("Every row of every M, once it is projected", anchor=False)
        progress.wait(job, "Projecting", key="overview", restart=lambda: data.restart_overview(chosen.adapter))


def _draw(chosen: selection.Opened, table: pd.DataFrame) -> None:
    signed = is_plain(chosen.adapter)
    figure = figures.build(coefficient_wall, table, signed=signed, theme=figures.theme(), selected=chosen.matrix)

    def clicked() -> None:
        if name := figures.clicked("wall"):
            selection.select_matrix(chosen.adapter, name)
            selection.go("explore")

    with st.container(key="wall-card"):
        what = f"All {chosen.adapter.trainable:,} trained numbers" if signed else "Every row of every M"
        st.subheader(f"{what}: click a row to open its matrix", anchor=False)
        figures.draw(figure, key="wall", on_select=clicked, height=HEIGHT)
        figures.explain(figure, table, key="wall", file_name="coefficient_wall.csv")
