"""The tab Budgets: pick model, weights and size; see parameters, what to take, memory, and the paper's own numbers."""

from __future__ import annotations

import streamlit as st

from analysis.figures.size_curves import size_curves
from analysis.planning.budgets import budget_table
from analysis.planning.budgets import size_curves as curves_of
from app import figures
from app.views.budgets import advice, carry, memory, model, numbers, paper, size


def show() -> None:
    """Draw the tab."""
    with st.container(key="race-title-budgets"):
        st.title("What would it cost on your model?", anchor=False)
    aside, stage = st.columns([4, 9], gap="medium")
    with aside:
        architecture = model.pick()
        if architecture is None:
            return
        kinds = model.pick_kinds(architecture)
        budget = size.pick(architecture, kinds)
    if budget is None:
        return
    table = budget_table(architecture, kinds, budget)
    with aside:
        carry.show(architecture, kinds, table, budget)
    with stage:
        numbers.show(architecture, table)
        curves = curves_of(architecture, kinds)
        figure = size_curves(curves, budget=budget, theme=figures.theme())
        figures.draw(figure, key="size-curves")
        figures.explain(figure, curves, key="size-curves", file_name="parameters.csv")
    advice.show(architecture, kinds, budget)
    memory.show(architecture, kinds, budget)
    paper.show()
