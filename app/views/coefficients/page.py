"""The view of M itself: where its entries are large, and whether more so than noise would be."""

import pandas as pd
import streamlit as st

from analysis.common.wording import percent
from analysis.figures.box import SIDE, Box, box_around, box_of
from analysis.figures.concentration import concentration as concentration_figure
from analysis.figures.exact_cells import exact_cells
from analysis.figures.locator import locator
from analysis.figures.offset_profile import BARS, offset_profile
from analysis.measures.coefficients import concentration, energy_by_offset, entries, entries_for_energy
from app import data, figures, selection
from app.selection import Opened
from app.views import projection
from app.views.coefficients import brush
from app.views.edit import brushed

MODES = {"signed": "Signed", "magnitude": "Magnitude", "relative": "Relative to √(σᵢσⱼ)"}


def show(chosen: Opened) -> None:
    """Draw M, the box over it, its exact cells, the profile by offset, and the concentration beside noise."""
    matrix = data.matrix(chosen.adapter, chosen.matrix)
    cells = data.table(entries, chosen.adapter, chosen.matrix)
    theme = figures.theme()

    with st.container(horizontal=True, vertical_alignment="bottom", key="stage-head"):
        st.header(f"{matrix.label} · {matrix.pattern_label}", anchor=False, width="stretch")
        mode = st.segmented_control(
            "Values",
            list(MODES),
            default="signed",
            format_func=MODES.get,
            key="mode",
            required=True,
            label_visibility="collapsed",
        )

    if matrix.projected:
        projection.show_inside(chosen)
    brush.draw(chosen, key="coefficients", mode=mode)
    brush.show_held(chosen, None if matrix.projected else _offer_edit)

    box = _box(chosen, cells, matrix.m, strip=matrix.pattern in brush.STRIPS)
    left, right = st.columns([3, 2], gap="medium")
    with left:
        st.subheader("Exact cells", anchor=False)
        block = figures.build(exact_cells, cells, box=box, theme=theme, mode=mode)
        figures.draw(block, key="cells")
        figures.explain(block, _inside(cells, box), key="cells", file_name="cells.csv")
    with right:
        st.subheader("Where in M", anchor=False)
        small = figures.build(
            locator, cells, n=matrix.m, pattern=matrix.pattern, theme=theme, box=box, brush=chosen.brush
        )
        figures.draw(small, key="locator")
        st.caption(figures.words(small)["caption"])

    left, right = st.columns(2, gap="medium")
    with left:
        fraction = float(data.table(entries_for_energy, chosen.adapter, chosen.matrix)["fraction"])
        null = data.entry_null(chosen.adapter, chosen.matrix)
        whose = "M’s energy" if matrix.projected else "the energy"
        form = null.fraction.percent if null else percent
        beside = f", {null.fraction.count(fraction, form)}" if null else ""
        st.subheader(f"90% of {whose}: {form(fraction)} of the entries{beside}", anchor=False)
        curve = data.table(concentration, chosen.adapter, chosen.matrix)
        figure = figures.build(
            concentration_figure, curve, null, fraction=fraction, pattern=matrix.pattern, theme=theme
        )
        figures.draw(figure, key="concentration", height=280)
        figures.explain(figure, curve, key="concentration", file_name="concentration.csv")
    with right:
        profile = data.table(energy_by_offset, chosen.adapter, chosen.matrix, most=BARS)
        if len(profile) > 1:  # the one diagonal of a plain M holds everything
            st.subheader("Energy by distance from the diagonal", anchor=False)
            figure = figures.build(offset_profile, profile, pattern=matrix.pattern, theme=theme, brush=chosen.brush)
            figures.draw(figure, key="offsets", height=280)
            figures.explain(figure, profile, key="offsets", file_name="energy_by_offset.csv")
    if matrix.projected:
        projection.show_coverage(chosen)


def _box(chosen: Opened, cells: pd.DataFrame, n: int, *, strip: bool) -> Box:
    """Return the block of M to enlarge: the drawn box, else a band's leading one, or that of the largest entry."""
    if chosen.brush is not None:
        return box_of(chosen.brush, n)
    if strip:
        return box_around(0, 0, n, side=16)
    largest = cells.loc[cells["value"].abs().idxmax()]
    return box_around(int(largest["i"]), int(largest["j"]), n, side=SIDE)


def _inside(cells: pd.DataFrame, box: Box) -> pd.DataFrame:
    """Return the entries in the box."""
    return cells[
        cells["i"].between(box.row_start, box.row_stop - 1) & cells["j"].between(box.col_start, box.col_stop - 1)
    ]


def _offer_edit() -> None:
    """Draw the button that opens the view Edit with the box."""

    def open_edit() -> None:
        st.session_state["card"] = brushed.TITLE
        selection.change(view=selection.EDIT)

    st.button("Zero it, and see what is lost", on_click=open_edit, icon=":material/edit:", key="brush-edit")
