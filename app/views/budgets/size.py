"""Which budget: as a rank of LoRA, a width of SVFT's band, or a number of parameters."""

from __future__ import annotations

import streamlit as st

from analysis.common.errors import SizeError
from analysis.models.architecture import Architecture
from analysis.planning.sizing import budget_range, choose_size, count_parameters, size_label
from analysis.training.methods import METHODS

_WAYS = ("LoRA rank r", "SVFT off_diag d", "Parameters")


def pick(architecture: Architecture, kinds: list[str]) -> int | None:
    """Draw the choice of a budget and return its trainable parameters."""
    shapes = [shape for group in architecture.of_kinds(kinds).values() for shape in group]
    n = min(map(min, shapes))
    way = st.segmented_control(
        "Budget of a …", _WAYS, default=_WAYS[0], key="budgets-way", persist_state="session", required=True, wrap=True
    )
    if way == _WAYS[0]:
        r = st.number_input("r", 1, n, min(METHODS["lora"].size, n), key=f"budgets-r-{n}", persist_state="session")
        budget = count_parameters("lora", shapes, r)
        st.caption(f"LoRA r={r} trains {budget:,} parameters; {_nearest('banded', budget, shapes)}.")
    elif way == _WAYS[1]:
        d = st.number_input("d", 0, max(0, n - 1), min(2, n - 1), key=f"budgets-d-{n}", persist_state="session")
        budget = count_parameters("banded", shapes, d)
        st.caption(f"SVFT banded d={d} trains {budget:,} parameters; {_nearest('lora', budget, shapes)}.")
    else:
        low, high = budget_range(["lora", "random"], shapes)
        budget = st.number_input(
            "Trainable parameters",
            low,
            high,
            count_parameters("lora", shapes, 1),
            key=f"budgets-parameters-{low}-{high}",
            persist_state="session",
        )
        st.caption(f"{_nearest('banded', budget, shapes)}; {_nearest('lora', budget, shapes)}.")
    return budget


def _nearest(method: str, budget: int, shapes: list[tuple[int, int]]) -> str:
    try:
        size = choose_size(method, budget, shapes, tolerance=0.5)
    except SizeError as error:
        return str(error).removesuffix(".")
    return f"nearest to it is {size_label(method, size.size, size.budget)}, {size.count:,} parameters"
