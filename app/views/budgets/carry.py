"""From a budget to a race: the same numbers of parameters on the default model, or the same sizes."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import streamlit as st

from analysis.common.errors import UserError
from analysis.models.architecture import Architecture
from analysis.models.shapes import block_shapes
from analysis.training.methods import METHODS
from analysis.training.tasks import TASKS
from app import selection
from app.views.race.plan import form


def show(architecture: Architecture, kinds: list[str], table: pd.DataFrame, budget: int) -> None:
    """Draw the button."""
    same = _is_base(architecture)
    st.button(
        "Race at this budget" if same else "Race these sizes on a small model",
        icon=":material/flag:",
        key="budgets-race",
        on_click=_carry,
        args=(architecture, kinds, table, budget),
        help="Fills in a study that you can start right away."
        if same
        else f"{architecture.name} is not trained here: the same d and r race on the task’s small model.",
    )


def _carry(architecture: Architecture, kinds: list[str], table: pd.DataFrame, budget: int) -> None:
    try:
        form.begin()
        study = st.session_state["plan"]
        if _is_base(architecture):
            chosen = [name for kind in kinds for name in architecture.kinds[kind]]
            targets = None if len(chosen) == len(architecture.shapes) else tuple(chosen)
            study = replace(study, budgets=(budget,), sizes={}, target_modules=targets)
        else:
            named = table[table["method"].isin(study.methods) & table["size"].notna()]
            sizes = {row["method"]: (int(row["size"]),) for row in named.to_dict("records")}
            band = next((size for method, size in sizes.items() if METHODS[method].size_name == "off_diag"), None)
            if band is not None:  # patterns that meet any budget have the band's size there
                exact = [m for m in study.methods if METHODS[m].exact]
                sizes |= dict.fromkeys(exact, band)
            study = replace(study, sizes=sizes)
        form.fill(study)
    except UserError as error:
        form.complain(error)
    selection.change(tab=selection.RACE_TABS[0])


def _is_base(architecture: Architecture) -> bool:
    """Whether the model's matrices are those of the base that the plan is about."""
    plan = st.session_state.get("plan")
    base = plan.base if plan is not None else form.default_study(next(iter(TASKS))).base
    return block_shapes(base) == architecture.shapes
