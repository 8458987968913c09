"""Of an adapter whose pattern was chosen from data: where its budget went, and why."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from analysis.adapters.adapter import Adapter
from analysis.common.errors import UserError
from analysis.common.jobs import Job
from analysis.common.kept import kept
from analysis.common.settings import is_public
from analysis.common.wording import percent
from analysis.figures.entries_map import entries_map
from analysis.figures.score_size import score_size
from analysis.measures.coefficients import entries
from analysis.training.data.own_data import OwnData
from analysis.training.specification import TrainingSpec
from app import data, figures, trials, uploads
from app.selection import Opened
from app.views import progress
from app.views.section import section


def show(chosen: Opened) -> None:
    """Draw a title that opens; nothing for an adapter that was not chosen from data."""
    measured = data.evaluation(chosen.adapter)
    if measured is not None and measured.spec.get("method") == "chosen":
        section("Why these entries", "choice", lambda: _show(chosen, measured.spec))


def _show(chosen: Opened, spec: dict) -> None:
    """Measure the gradient again on the training examples, or say why that cannot be done."""
    try:
        if is_public() and uploads.owns(chosen.adapter.path):
            raise UserError("This server trains nothing that an upload names, so it does not measure its gradients.")
        asked = (TrainingSpec.from_dict(spec), trials.own_data(spec["task"]))
    except UserError as error:
        st.error(str(error), icon=":material/error:")
        return
    job = _job(*asked)
    if job.complete:
        _draw(chosen, *job.results[0])
    else:
        progress.wait(job, "Measuring gradients", key="choice", restart=lambda: _job.clear(*asked))


def _draw(chosen: Opened, matrices: pd.DataFrame, scores: pd.DataFrame, shares: dict[str, float]) -> None:
    trained = _trained(chosen.adapter)
    table = scores.merge(trained, on=["name", "i", "j"])
    st.caption(
        f"Before training these entries held {percent(shares['captured'])} of the squared gradient, as many random "
        f"ones hold {percent(shares['random'])} on average. Both are measured again on the training examples."
    )
    if len(table) < len(trained):
        st.warning(
            f"Measured here, the choice has {len(table):,} of the adapter’s {len(trained):,} entries: it was made "
            "with other data, another base or another version.",
            icon=":material/warning:",
        )
    left, right = st.columns(2, gap="medium")
    with left:
        st.subheader("Where the budget went", anchor=False)
        figure = figures.build(entries_map, matrices, theme=figures.theme())
        figures.draw(figure, key="choice-map")
        figures.explain(figure, matrices, key="choice-map", file_name="entries.csv")
    with right:
        st.subheader("Score and trained size", anchor=False)
        figure = score_size(table, name=chosen.matrix, theme=figures.theme())
        figures.draw(figure, key="choice-scores")
        figures.explain(figure, table, key="choice-scores", file_name="scores.csv")


def _trained(adapter: Adapter) -> pd.DataFrame:
    """Return the trained entries of all matrices: name, i, j, value."""
    return pd.concat(data.table(entries, adapter, name).assign(name=name) for name in adapter.names)[
        ["name", "i", "j", "value"]
    ]


@kept(16)
def _job(spec: TrainingSpec, own: OwnData | None) -> Job:
    from analysis.training.diagnosis import choice_steps  # torch: not before somebody asks

    return Job(choice_steps, spec, own)
