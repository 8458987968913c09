"""M to drag a box over, and what the box holds: on the views Coefficients and Edit. The box lives in the selection."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from analysis.figures.box import brush_from_square, brush_from_strip
from analysis.figures.coefficient_square import coefficient_square
from analysis.figures.coefficient_strip import coefficient_strip
from analysis.measures.brush import DRAWS, Brush, Brushed, brushed
from analysis.measures.coefficients import entries
from app import data, figures, selection
from app.selection import Opened

STRIPS = ("plain", "banded")


def draw(chosen: Opened, *, key: str, mode: str = "signed", height: int | None = None) -> None:
    """Draw M with the box outlined; a rectangle that is dragged over it becomes the box, and so do numbers behind "⋯".

    Args:
        chosen: The selection.
        key: Of the figure.
        mode: What it shows of M, see `coefficient_square`.
        height: In pixels, if the figure's own does not suit the page.
    """
    matrix = data.matrix(chosen.adapter, chosen.matrix)
    cells = data.table(entries, chosen.adapter, chosen.matrix)
    strip = matrix.pattern in STRIPS
    draw_M = coefficient_strip if strip else coefficient_square
    figure = figures.build(draw_M, cells, n=matrix.m, theme=figures.theme(), mode=mode, brush=chosen.brush)
    # The key follows the box: the figure that is drawn with it has nothing selected, and a drag is always news.
    name, key = key, f"{key}-{chosen.matrix}-{mode}-{chosen.brush.text if chosen.brush else ''}"

    def drawn() -> None:
        boxes = st.session_state[key]["selection"]["box"]
        if boxes:
            x, y = boxes[0]["x"], boxes[0]["y"]
            brush = (
                brush_from_strip(x, y, matrix.m, int(cells["offset"].abs().max()))
                if strip
                else brush_from_square(x, y, matrix.m)
            )
            _take(brush)

    figures.draw(figure, key=key, on_select=drawn, select="box", height=height)
    figures.explain(figure, cells, key=name, file_name="coefficients.csv", more=lambda: _by_numbers(chosen))


def show_held(chosen: Opened, more: Callable[[], None] | None = None) -> Brushed | None:
    """Say what the box holds, beside chance; return it, None without a box.

    Args:
        chosen: The selection.
        more: Draws what else can be done with a box that holds entries, before the other buttons.
    """
    if chosen.brush is None:
        with st.container(key="brush"):
            st.caption("Drag a box over M to measure what it holds.")
        return None
    quick = data.matrix(chosen.adapter, chosen.matrix).m <= data.QUICK  # a scan of M for each random update
    draws = DRAWS if quick else 0
    held: Brushed = data.table(brushed, chosen.adapter, chosen.matrix, brush=chosen.brush, draws=draws)
    with st.container(key="brush"):
        st.markdown(held.sentence(chosen.brush))
        with st.container(horizontal=True, vertical_alignment="center"):
            if more is not None and held.entries:
                more()
            st.button("Clear", on_click=selection.change, kwargs={"brush": ""}, type="tertiary", key="brush-clear")
    return held


def _by_numbers(chosen: Opened) -> None:
    """Draw the box as two ranges, for whoever does not drag."""
    matrix = data.matrix(chosen.adapter, chosen.matrix)
    by = chosen.brush.by if chosen.brush else "o" if matrix.pattern in STRIPS else "j"
    reach = int(data.table(entries, chosen.adapter, chosen.matrix)["offset"].abs().max())
    low, high = (0, matrix.m - 1) if by == "j" else (-reach, reach)
    brush = chosen.brush or Brush((0, matrix.m // 10), (0, matrix.m // 10) if by == "j" else (low, high), by)
    ranges = {
        f"brush-rows-{matrix.m}": ("Rows i", brush.rows, 0, matrix.m - 1),
        f"brush-across-{by}-{low}-{high}": ("Columns j" if by == "j" else "Offsets j − i", brush.across, low, high),
    }

    def take() -> None:
        rows, across = (st.session_state.get(key, now) for key, (_, now, *_) in ranges.items())
        _take(Brush(rows, across, by))

    for key, (title, now, least, most) in ranges.items():
        if least < most:
            first, last = (min(max(end, least), most) for end in now)
            st.session_state[key] = (first, last)
            st.slider(f"Box: {title}", least, most, key=key, on_change=take)


def _take(brush: Brush) -> None:
    selection.change(brush=brush.text)
