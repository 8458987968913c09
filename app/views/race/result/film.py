"""The training of a study as a film: curves and M of one matrix, up to the chosen step."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from analysis.figures.theme import THEMES
from analysis.figures.training_film import training_film
from analysis.trials.records import StudyRecord, TrialRecord
from app import figures, trials
from app.compat import fragment
from app.views.race import matrix
from app.views.race.running import live

TITLE = "The training as a film"


@fragment
def show(record: StudyRecord, of: Sequence[TrialRecord], first: int | None = None) -> None:
    """Draw the film with the choice of a trial and a matrix; without an M, the curves alone.

    Args:
        record: The study.
        of: Its trials.
        first: Number of the trial whose M is shown at first.
    """
    begun = [trial for trial in of if trial.turns]
    if not begun:
        return
    chosen = matrix.choose(record, begun, title="", key="film", first=first)
    if chosen is None:
        live.show_curves(record, of, trials.store().points(record.id), "accuracy")
        return
    trial, name = chosen
    figure, table = _film(
        record.id, sum(other.turns for other in of), trial.number, name, figures.theme().name, trial, of
    )
    figures.draw(figure, key=f"film-{trial.number}-{name}")
    figures.explain(figure, table, key="film", file_name="coefficients.csv")


@st.cache_resource(max_entries=8, show_spinner="Reading M at each evaluation …")
def _film(
    id: str, turns: int, number: int, name: str, theme: str, _one: TrialRecord, _of: Sequence[TrialRecord]
) -> tuple[go.Figure, pd.DataFrame]:
    history = matrix.history(id, _one, name)
    points = live.with_labels(trials.store().points(id), _of)
    methods = {record.trial.label: record.trial.spec.method for record in _of}
    table = pd.DataFrame(history.values.T, columns=[f"step {step}" for step in history.steps])
    table = pd.concat([pd.DataFrame({"i": history.i, "j": history.j}), table], axis=1)
    return training_film(points, methods, *history[:4], n=history.n, theme=THEMES[theme]), table
