"""The price: step time and peak memory of each configuration."""

from __future__ import annotations

import streamlit as st

from analysis.figures.cost_bars import cost_bars
from analysis.trials.records import StudyRecord
from app import figures
from app.views.race.results import Results

_MEASURED = """
All configurations train one step each in turn, in one process that has the machine to itself, after the race. The time
is the median of a step, and what counts are the ratios: a busy machine slows all of them alike.

Memory is counted, not sampled: **peak memory** is what lives between two steps (parameters, U and V, buffers, AdamW's
two moments of each trained parameter) plus the highest sum of what PyTorch allocates during one step (activations and
gradients). Python, the tokenizer and the data are not in it.
"""


def show(record: StudyRecord, results: Results) -> None:
    """Draw time and memory beside the reference's."""
    if record.cost is None:
        st.caption(
            "The cost of a training step was not measured: that happens once all trials have finished undisturbed."
        )
        return
    trained = results.summary[["label", "method", "parameters"]]
    cost = trained.merge(record.cost, on="label")
    reference = cost.loc[cost["time_ratio"] == 1, "label"].iloc[0]
    figure = cost_bars(cost, reference=reference, theme=figures.theme())
    figures.draw(figure, key="cost")
    figures.explain(figure, cost, key="cost", file_name="cost.csv")
    with st.popover("How it was measured", type="tertiary", icon=":material/info:", key="cost-measured"):
        st.markdown(_MEASURED)
