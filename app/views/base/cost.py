"""What decomposing a base model takes: once for its singular values, and for U and V if SVFT trains on it."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from analysis.measures.weights import basis_memory, decomposing_memory
from analysis.planning.wording import HOW, duration, gigabytes
from app.data import base_models
from app.views.section import section

Shapes = Sequence[tuple[int, int]]


def offer(shapes: Shapes) -> None:
    """Draw the estimate once it is asked for: it measures this machine."""
    section("What does decomposing cost?", "base-cost", lambda: show(shapes))


def show(shapes: Shapes) -> None:
    """Write the estimate of time and memory."""
    seconds = base_models.decomposing_seconds(shapes)
    st.markdown(
        f"Decomposing all {len(shapes)} weights takes one thread about **{duration(seconds)}**, {HOW}; the singular "
        f"values alone take less. The largest weight needs **{gigabytes(decomposing_memory(shapes))}** meanwhile. To "
        f"train with SVFT, U and V stay in memory: **{gigabytes(basis_memory(shapes))}** in float32. Both are "
        "computed once, then read from the disk."
    )
