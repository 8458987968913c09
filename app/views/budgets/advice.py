"""What to take: one method for a memory and a number of parameters, with its reasons and its alternatives."""

from __future__ import annotations

import json

import streamlit as st

from analysis.common.jobs import Job
from analysis.common.wording import share_text
from analysis.models.architecture import Architecture
from analysis.planning.memory_steps import considered_steps
from analysis.planning.recommend import Recommendation, four_bit_sentence, options_table, recommend
from analysis.planning.sizing import count_parameters
from analysis.planning.wording import gigabytes
from analysis.trials.files import recovery_near
from app.views import progress

_COLUMNS = {
    "label": st.column_config.TextColumn("Method", pinned=True, width="medium"),
    "base": "Base in",
    "count": st.column_config.NumberColumn("Trainable", format="localized"),
    "memory": "Memory",
    "recovered": st.column_config.TextColumn(
        "Recovered", help="Of full fine-tuning’s gain, at about this budget in the studies that come with this project"
    ),
    "verdict": st.column_config.TextColumn("Why, or why not", width="large"),
}


def show(architecture: Architecture, kinds: list[str], budget: int) -> None:
    """Draw the question, the answer, and what else was considered."""
    with st.container(key="race-section-advice"):
        st.header("What should I take?", anchor=False)
    with st.container(horizontal=True, vertical_alignment="bottom", key="budgets-advice-settings"):
        available = st.number_input(
            "Memory in GB", 1.0, 10000.0, 24.0, step=8.0, key="budgets-memory-gb", persist_state="session", width=140
        )
        batch = st.number_input("Examples per step", 1, 4096, 1, key="budgets-advice-batch", width=140)
        length = st.number_input("Tokens each", 1, 131072, 128, key="budgets-advice-length", width=140)
        config = json.dumps(dict(architecture.config))
        settings = (architecture.name, config, tuple(kinds), budget, int(batch), int(length))
        st.button("Recommend", icon=":material/recommend:", key="budgets-advise", on_click=_start, args=(settings,))
    kept = st.session_state.get("budgets-advice")
    if kept is None or kept[0] != settings:
        st.caption(f"For about {budget:,} parameters, with the base in bfloat16 and in 4-bit.")
        return
    job = kept[1]
    progress.repeat(lambda: _show_job(job, architecture, kinds, settings, 1e9 * available), lambda: job.running)


def _show_job(job: Job, architecture: Architecture, kinds: list[str], settings: tuple, available: float) -> None:
    if not job.complete:
        progress.show(job, "Memory of methods", key="budgets-advice-progress", restart=lambda: _start(settings))
        return
    shapes = [shape for group in architecture.of_kinds(kinds).values() for shape in group]
    recovery = recovery_near(settings[3] / count_parameters("lora", shapes, 1))
    asked = f"{available / 1e9:g} GB, about {settings[3]:,} parameters, {architecture.name}"
    _show(asked, recommend(options_table(architecture, list(job.results), recovery, available), available))
    if sentence := four_bit_sentence(architecture):
        st.caption(sentence)


def _show(asked: str, advice: Recommendation) -> None:
    best = advice.best
    if best is None:
        st.warning(f"{asked}: {advice.reasons[0]}", icon=":material/warning:")
    else:
        reasons = "\n".join(f"- {reason}" for reason in advice.reasons)
        st.success(f"{asked} → **{best['label']}**, with the base in {best['base']}\n\n{reasons}")
    if advice.options.empty:
        return
    st.caption(
        "The rule: of what fits, the least memory that no other is clearly better than; bfloat16 before 4-bit, all "
        "kinds of weights before a few, studied before not studied."
    )
    shown = advice.options.assign(
        memory=advice.options["peak"].map(gigabytes),
        recovered=advice.options["recovered"].map(share_text, na_action="ignore").fillna("–"),
    )
    st.dataframe(
        shown[list(_COLUMNS)], hide_index=True, width="stretch", column_config=_COLUMNS, key="budgets-options"
    )


def _start(settings: tuple) -> None:
    before = st.session_state.get("budgets-advice")
    if before is not None and before[1].running:
        before[1].stop()
    st.session_state["budgets-advice"] = (settings, Job(considered_steps, *settings))
