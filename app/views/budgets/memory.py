"""Memory and time before training: a step of every method, taken without numbers in a process of its own."""

from __future__ import annotations

import json

import pandas as pd
import streamlit as st

from analysis.common.jobs import Job
from analysis.figures.memory_terms import memory_terms
from analysis.models.architecture import Architecture
from analysis.planning.memory_steps import memory_steps
from analysis.planning.wording import HOW, duration
from app import figures
from app.data import base_models
from app.views import progress

_DTYPES = ("float32", "bfloat16", "float16")
_TERMS = r"""
A step of each method is taken without numbers: the model is built on PyTorch’s meta device, the method’s own layers
are put in, and forward, backward and AdamW run there. Nothing is computed, but every tensor comes by with its size,
and the moment of the peak is found. On the default model this is within 1% of what is measured with numbers.

- **weights**: parameters and buffers of the base, in the type chosen above.
- **U and V**: $(\text{out} + \text{in}) \cdot n$ numbers for each matrix that SVFT adapts, in the weights’ type.
- **adapter**: what the method adds, in float32: trained parameters, indices of Ω, frozen projections of VeRA, and a
  new head.
- **optimizer state**: AdamW’s two moments of each trained parameter.
- **gradients** and **activations**: what a step has allocated at its peak. Attention is taken where a CPU takes its
  fused kernel (none of length × length, unless the model has dropout there). No checkpointing, no autocast.
- **one SVD per matrix**: its time follows from the speed that was measured on this machine, $n^3$ and
  $\max(\text{out}, \text{in}) \cdot n^2$: processor time of one thread, the shortest of three runs, so that a busy
  machine gives the same estimate as one at rest. Several threads take less.

Blocks that repeat are run through four times; what the others add follows exactly.
"""


def show(architecture: Architecture, kinds: list[str], budget: int) -> None:
    """Draw the settings, the button, and what was found for these settings."""
    with st.container(key="race-section-memory"):
        st.header("Memory and time before training", anchor=False)
    with st.container(horizontal=True, vertical_alignment="bottom", key="budgets-memory-settings"):
        batch = st.number_input("Batch", 1, 4096, 16, key="budgets-batch", persist_state="session", width=120)
        length = st.number_input("Tokens", 1, 131072, 128, key="budgets-length", persist_state="session", width=120)
        dtype = st.selectbox("Weights in", _DTYPES, key="budgets-dtype", persist_state="session", width=150)
        settings = (
            architecture.name,
            json.dumps(dict(architecture.config)),
            tuple(kinds),
            budget,
            int(batch),
            int(length),
            dtype,
        )
        st.button("Count", icon=":material/memory:", key="budgets-count", on_click=_start, args=(settings,))
        with st.popover("How", type="tertiary", icon=":material/info:", key="budgets-how"):
            st.markdown(_TERMS)
    job = _job_of(settings)
    if job is None:
        st.caption("Counting takes a second or two per method, longer for a large model; it can be stopped.")
        return
    progress.repeat(lambda: _show_job(job, architecture, kinds, settings), lambda: job.running)


def _show_job(job: Job, architecture: Architecture, kinds: list[str], settings: tuple[str, ...]) -> None:
    rows = job.results
    if not job.complete:
        progress.show(job, "Memory of methods", key="budgets-memory", restart=lambda: _start(settings))
    table = pd.DataFrame(rows)
    if "peak" in table:
        counted = table[table["peak"].notna()]
        figure = memory_terms(counted, theme=figures.theme())
        figures.draw(figure, key="memory-terms")
        figures.explain(figure, counted, key="memory-terms", file_name="memory.csv")
    for note in dict.fromkeys(row["note"] for row in rows if row["note"]):
        st.caption(note)
    if job.complete:
        layers = [name for kind in kinds for name in architecture.kinds.get(kind, ())]
        seconds = base_models.decomposing_seconds([architecture.shapes[name] for name in layers])
        st.caption(
            f"For SVFT, {len(layers)} matrices are decomposed once: about {duration(seconds)} of one thread, {HOW}; "
            "afterwards they come from the cache."
        )


def _start(settings: tuple[str, ...]) -> None:
    """Begin to count, from a callback; what the session was counting before is stopped."""
    before = st.session_state.get("budgets-job")
    if before is not None and before[1].running:
        before[1].stop()
    st.session_state["budgets-job"] = (settings, Job(memory_steps, *settings))


def _job_of(settings: tuple[str, ...]) -> Job | None:
    kept = st.session_state.get("budgets-job")
    return kept[1] if kept is not None and kept[0] == settings else None
