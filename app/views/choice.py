"""Of an adapter whose pattern was chosen from data: where its budget went, and why."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from analysis.adapters.adapter import Adapter
from analysis.common.jobs import Job
from analysis.common.wording import percent
from analysis.figures.entries_map import entries_map
from analysis.figures.score_size import score_size
from analysis.measures.coefficients import entries
from analysis.training.own_data import OwnData
from analysis.training.specification import TrainingSpec
from app import data, figures, trials
from app.selection import Opened
from app.views import progress
from app.views.section import section


def show(chosen: Opened) -> None:
    """Draw a title that opens; nothing for an adapter that was not chosen from data."""
    measured = data.evaluation(chosen.adapter)
    if measured is not None and measured.spec.get("method") == "chosen":
        spec = TrainingSpec.from_dict(measured.spec)
        section("Why these entries", "choice", lambda: _show(chosen, spec))


def _show(chosen: Opened, spec: TrainingSpec) -> None:
    """Measure the gradient again on the training examples, and draw what the choice was made of."""
    asked = (spec, trials.own_data(spec.task))
    job = _job(*asked)
    if not job.complete:
        progress.wait(job, "Measuring gradients", key="choice", restart=lambda: _job.clear(*asked))
        return
    matrices, scores, shares = job.results[0]
    st.caption(
        f"Before training these entries held {percent(shares['captured'])} of the squared gradient, as many random "
        f"ones hold {percent(shares['random'])} on average. Both are measured again on the training examples."
    )
    left, right = st.columns(2, gap="medium")
    with left:
        st.subheader("Where the budget went", anchor=False)
        figure = figures.build(entries_map, matrices, theme=figures.theme())
        figures.draw(figure, key="choice-map")
        figures.explain(figure, matrices, key="choice-map", file_name="entries.csv")
    with right:
        st.subheader("Score and trained size", anchor=False)
        table = scores.merge(_trained(chosen.adapter), on=["name", "i", "j"])
        figure = figures.build(score_size, table, name=chosen.matrix, theme=figures.theme())
        figures.draw(figure, key="choice-scores")
        figures.explain(figure, table, key="choice-scores", file_name="scores.csv")


def _trained(adapter: Adapter) -> pd.DataFrame:
    """Return the trained entries of all matrices: name, i, j, value."""
    return pd.concat(data.table(entries, adapter, name).assign(name=name) for name in adapter.names)[
        ["name", "i", "j", "value"]
    ]


@st.cache_resource(max_entries=16, show_spinner=False, hash_funcs={TrainingSpec: repr, OwnData: lambda own: own.name})
def _job(spec: TrainingSpec, own: OwnData | None) -> Job:
    from analysis.training.diagnosis import choice_steps  # torch: not before somebody asks

    return Job(choice_steps, spec, own)
