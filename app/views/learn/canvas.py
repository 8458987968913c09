"""A canvas of 24×24 cells on which a pattern is painted, or shown."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import streamlit as st

from analysis.figures.theme import method_color
from analysis.lessons.painting import SIDE
from app import figures


def show(cells: np.ndarray, *, method: str, label: str, key: str, on_paint: Callable[[set[int]], None] | None) -> None:
    """Draw the canvas.

    Args:
        cells: How full each cell is, (SIDE, SIDE), from 0 to 1.
        method: Of the pattern, for its colour.
        label: Alternative text.
        key: Of the component.
        on_paint: Given the painted cells (row · SIDE + column), from a callback; None if nothing can be painted.
    """
    theme = figures.theme()

    def painted() -> None:
        given = st.session_state[key].get("cells") or []
        on_paint({int(cell) for cell in given if 0 <= int(cell) < SIDE * SIDE})

    _component()(
        data={
            "side": SIDE,
            "cells": cells.ravel().round(3).tolist(),
            "ink": method_color(method),
            "ground": theme.absent,
            "line": theme.background,
            "editable": on_paint is not None,
            "label": label,
        },
        key=key,
        on_cells_change=painted if on_paint else lambda: None,
    )


@cache  # registered once: a second component of one name would take the place of the first
def _component() -> Callable:
    return st.components.v2.component(
        "svft_canvas",
        html='<canvas role="img" tabindex="0"></canvas>',
        css="canvas { width: 100%; max-width: 432px; aspect-ratio: 1; touch-action: none; display: block; }",
        js=(Path(__file__).parent / "canvas.js").read_text(encoding="utf-8"),
    )
