"""What was forgotten: accuracy on the task against what happened to examples that are not of it."""

from __future__ import annotations

import streamlit as st

from analysis.figures.accuracy_forgetting import accuracy_forgetting
from analysis.training.forgetting import MEASURES, elsewhere
from analysis.trials.verdict import forgetting_sentence
from app import figures
from app.views.race.results import Results

_MEASURED = """
An example’s embedding is the mean of the encoder’s last hidden states over its tokens, without the head. Each trained
model embeds the same {words} as the base model did before. The task’s training saw none of them.

- **Drift**: mean cosine distance between an example’s embeddings before and after.
- **Neighbours changed**: for how many examples the nearest other one, by cosine, is another one than before.
- **Retrieval**: for how many the nearest other one has their label, before and after.

Intervals of the drift are over seeds; the examples are the same for all.
"""


def show(results: Results) -> None:
    """Draw accuracy over drift, and say what it says."""
    there = elsewhere(results.task.name)
    if there is None or results.summary["drift"].isna().all():
        st.caption(
            "Not measured: this project has no images that are not of this task."
            if there is None
            else f"Not measured: an earlier version recorded this study, or the package with the {there.words} was "
            "missing. Race again to see it."
        )
        return
    st.markdown(forgetting_sentence(results.summary, there.words))
    figure = accuracy_forgetting(results.summary, words=there.words, theme=figures.theme())
    figures.draw(figure, key="forgetting")
    shown = ["label", "method", "parameters", "seeds", "accuracy", "low", "high", *MEASURES, "drift_low", "drift_high"]
    figures.explain(figure, results.summary[shown], key="forgetting", file_name="forgetting.csv")
    with st.popover("How it was measured", type="tertiary", icon=":material/info:", key="forgetting-measured"):
        st.markdown(_MEASURED.format(words=there.words))
