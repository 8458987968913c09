"""What the study of small budgets found on the chosen task."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from analysis.figures.budget_curves import budget_curves
from analysis.measures.overview import base_parameters
from analysis.training.tasks import get_task
from analysis.trials.confirmation import budget_studies, budget_summary, claim_sentences, comparisons
from analysis.trials.files import StudyFile
from analysis.trials.study import Study
from app import figures
from app.views.section import section

PAPER_SHARE = 6e-5  # of the model: the smallest budget in the paper


def show(study: Study) -> None:
    """Draw a title that opens; nothing on a task without such a study."""
    if any(file.study.task == study.task for file in _files()):
        section("Small budgets", "small-budgets", lambda: _show_curves(study.task))


def _show_curves(task: str) -> None:
    """Draw accuracy over budget, and say how the chosen pattern compares."""
    whole = base_parameters(get_task(task).base)
    figure = figures.build(budget_curves, summary(task), theme=figures.theme(), marked=whole and PAPER_SHARE * whole)
    figures.draw(figure, key="small-budgets")
    st.caption(figures.words(figure)["caption"])
    table = _comparisons()
    for sentence in claim_sentences(table[table["task"] == task]):
        st.caption(sentence)


@st.cache_resource(show_spinner=False)
def _files() -> list[StudyFile]:
    return budget_studies()


@st.cache_resource(show_spinner="Comparing the trials …")
def _comparisons() -> pd.DataFrame:
    """Return all tasks together: the correction is over all of them."""
    return comparisons(_files())


@st.cache_resource(show_spinner=False)
def summary(task: str) -> pd.DataFrame | None:
    """Return the table of `analysis.trials.confirmation.budget_summary`."""
    return budget_summary(task)
