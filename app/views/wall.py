"""The coefficient wall: every trained number of an adapter in one picture; a click opens that matrix in Explore."""

import streamlit as st

from analysis.figures.coefficient_wall import coefficient_wall
from analysis.overview import is_plain
from analysis.overview import wall as wall_table
from app import data, figures, selection

HEIGHT = 262


def show(chosen: selection.Selection) -> None:
    """Draw all adapted matrices as the rows of one heatmap."""
    table = data.adapter_table(wall_table, chosen.adapter)
    signed = is_plain(chosen.adapter)
    figure = coefficient_wall(table, signed=signed, theme=figures.theme(), selected=chosen.matrix)

    def clicked() -> None:
        if name := figures.clicked("wall"):
            selection.select_matrix(name, explore=True)

    with st.container(key="wall-card"):
        what = f"All {chosen.adapter.trainable:,} trained numbers" if signed else "Every row of every M"
        st.subheader(f"{what}: click a row to open its matrix", anchor=False)
        figures.draw(figure, key="wall", on_select=clicked, height=HEIGHT)
        figures.explain(figure, table, key="wall", file_name="coefficient_wall.csv")
