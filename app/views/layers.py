"""The map of an adapter: layers down, kinds across; a click selects a matrix."""

import streamlit as st

from analysis.figures.layer_map import layer_map
from analysis.overview import relative_norms
from app import data, figures, selection


def show_map(chosen: selection.Selection) -> None:
    """Draw ‖ΔW‖/‖W‖ of every matrix."""
    table = data.adapter_table(relative_norms, chosen.adapter)
    figure = layer_map(table, theme=figures.theme(), selected=chosen.matrix)
    # The key follows the selection: a matrix picked elsewhere leaves no stale click behind.
    key = f"map-{chosen.matrix}"

    def clicked() -> None:
        if name := figures.clicked(key):
            selection.select_matrix(name)

    # The table of all measures below has these numbers as CSV.
    st.header("Where it changed", anchor=False, help=f"${figure.layout.meta['formula']}$")
    figures.draw(figure, key=key, on_select=clicked)
    st.caption(figure.layout.meta["caption"])
