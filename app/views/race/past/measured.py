"""The study that comes with this project on the chosen task."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from analysis.figures.budget_curves import budget_curves
from analysis.measures.overview import base_parameters
from analysis.training.tasks import get_task
from analysis.trials.confirmation import budget_studies, claim_sentences, comparisons
from analysis.trials.files import StudyFile
from analysis.trials.results import summarize
from analysis.trials.study import Study
from app import figures, trials
from app.views.race.past.studies import best

PAPER_SHARE = 6e-5  # of the model: the smallest budget in the paper


def show(study: Study) -> None:
    """Draw a button that opens it, with what it says in a few words; nothing on a task without one."""
    file = trials.committed().get(study.task)
    if file is None:
        return
    with st.container(key="measured"):
        st.button(
            "Measured before",
            icon=":material/monitoring:",
            type="tertiary",
            key="measured-study",
            on_click=trials.open_committed,
            args=(study.task,),
        )
        said = [f"{len(file.results)} trials", f"{file.results['seed'].nunique()} seeds", *best(file.results)]
        st.caption(" · ".join(said))
    small = _small(study.task)
    if small:
        with st.expander("Small budgets", key="small-budgets"):
            _small_budgets(small)


@st.cache_resource(show_spinner=False)
def _small(task: str) -> list[StudyFile]:
    return [file for file in budget_studies() if file.study.task == task]


def _small_budgets(files: list[StudyFile]) -> None:
    """Draw accuracy over budget, and say what the study that was planned in advance found."""
    base = files[0].study.base
    assert base is not None  # a committed study names it
    whole = base_parameters(base)
    figure = figures.build(
        budget_curves, _summary(files[0].study.task), theme=figures.theme(), marked=whole and PAPER_SHARE * whole
    )
    figures.draw(figure, key="small-budgets-figure")
    st.caption(figure.layout.meta["caption"])
    for sentence in claim_sentences(_comparisons(files[0].study.task)):
        st.caption(sentence)


@st.cache_data(show_spinner=False)
def _comparisons(task: str) -> pd.DataFrame:
    """Return the rows of one task; the correction is over all of the study."""
    table = comparisons(budget_studies())
    return table[table["task"] == task]


@st.cache_resource(show_spinner=False)
def _summary(task: str) -> pd.DataFrame:
    """Return each method at each small budget."""
    splits = get_task(task).load()
    tables = [summarize(file.results, getattr(splits, file.study.final_split).labels) for file in _small(task)]
    return pd.concat(tables).drop_duplicates("label")
