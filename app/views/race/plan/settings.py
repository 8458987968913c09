"""Settings of a plan that most people leave as they are."""

from __future__ import annotations

import streamlit as st

from analysis.training.methods import METHODS
from analysis.trials.study import Study
from app.views.race.plan import form


def show(study: Study) -> None:
    """Draw the settings behind one click."""
    with st.expander("Settings", key="settings"):
        st.slider(
            "Seeds",
            1,
            max(5, st.session_state["plan-seeds"]),
            key="plan-seeds",
            persist_state="session",
            help=(
                "Each seed draws different training examples and batches and starts from a different head. With "
                "several seeds, intervals say what another seed would give."
            ),
        )
        st.multiselect(
            "More budgets",
            form.budget_stops(study),
            format_func="{:,}".format,
            key="plan-more-budgets",
            persist_state="session",
            placeholder="One budget",
        )
        columns = st.columns(3)
        for column, (label, key) in zip(
            columns, {"Steps": "plan-steps", "Batch size": "plan-batch", "Training examples": "plan-examples"}.items()
        ):
            column.number_input(label, min_value=1, key=key, persist_state="session")
        st.multiselect("Adapted weights", list(form.kinds(study.base)), key="plan-kinds", persist_state="session")
        st.multiselect(
            "Sweep the learning rate of",
            [*study.methods, *(m for m in st.session_state["plan-sweeps"] if m not in study.methods)],
            format_func=lambda method: METHODS[method].title,
            key="plan-sweeps",
            persist_state="session",
            placeholder="None: each method has its own rate",
            help=(
                "Tries 0.3, 1 and 3 times a method’s own rate, which was found by a sweep too. The result is then "
                "judged on the validation examples, because it is used to choose the best rate."
            ),
        )
