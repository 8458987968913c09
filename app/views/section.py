"""A part of a page that one opens; what is closed costs nothing."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st


def section(title: str, key: str, draw: Callable[[], None]) -> None:
    """Draw a title that opens, and below it what `draw` draws once it is open."""
    box = st.expander(title, key=f"open-{key}", on_change="rerun")
    if box.open:
        with box:
            draw()
