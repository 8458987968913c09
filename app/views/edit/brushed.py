"""The edit of a box that is dragged over M: zeroed, beside as many entries zeroed elsewhere."""

from __future__ import annotations

import streamlit as st

from analysis.measures.edits import Edit
from analysis.running.edit_effects import effect
from app import data
from app.selection import Opened
from app.views.coefficients import brush
from app.views.edit import custom
from app.views.edit.outcome import beside_elsewhere, wait_for

TITLE = "Zero a box"


def show(chosen: Opened) -> tuple[Edit, str] | None:
    """Draw M, the box, and what zeroing it did; return the edit and it in words, None without entries to zero."""
    st.write(
        "The entries in the box become zero. If accuracy falls further than without as many entries elsewhere, the "
        "box carries part of the skill."
    )
    strip = data.matrix(chosen.adapter, chosen.matrix).pattern in brush.STRIPS
    brush.draw(chosen, key="edit-box", height=None if strip else 380)
    held = brush.show_held(chosen)
    if chosen.brush is None or held is None or not held.entries:
        return None
    names, suffix = custom.pick_scope(chosen, default=custom.ONE)
    edit = Edit("without_brushed", {"box": chosen.brush.text}, names)
    words = f"{chosen.brush.words[0].upper()}{chosen.brush.words[1:]} zeroed{suffix}"
    control = edit.control(1.0)
    assert control is not None  # a box has one
    custom.measure(chosen, [edit.to_json(), control.to_json()])
    if custom.show_outcome(chosen, edit, words):
        outcomes = wait_for(chosen, [control.to_json()])
        if outcomes:
            st.caption(beside_elsewhere(effect(outcomes[control.to_json()], outcomes[edit.to_json()])))
    return edit, words
