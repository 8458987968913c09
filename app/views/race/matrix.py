"""Which trial and which of its matrices M is shown of, and M's values at each evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import streamlit as st

from analysis.models.naming import places
from analysis.models.shapes import block_shapes
from analysis.training.methods import svft_patterns
from analysis.trials.messages import Layout
from analysis.trials.records import StudyRecord, TrialRecord
from app import trials


class History(NamedTuple):
    """M of one matrix while it is trained.

    Attributes:
        i: Rows of the trained entries, (k,).
        j: Their columns, (k,).
        values: M at each evaluation, (evaluations, k).
        steps: Of the evaluations.
        n: Number of singular directions.
    """

    i: np.ndarray
    j: np.ndarray
    values: np.ndarray
    steps: list[int]
    n: int


def choose(
    record: StudyRecord, of: Sequence[TrialRecord], *, title: str, key: str, first: int | None = None
) -> tuple[TrialRecord, str] | None:
    """Draw a heading with the choice of a trial that has an M and of a matrix; return both.

    Args:
        record: The study.
        of: The trials to choose from; if none has an M nothing is drawn, and None returned.
        title: The heading, "" for none.
        key: Of the widgets.
        first: Number of the trial that is chosen at first.
    """
    with_matrix = {trial.number: trial for trial in of if trial.trial.spec.method in svft_patterns()}
    if not with_matrix:
        return None
    shapes = block_shapes(record.study.base, record.study.target_modules)
    labels = {place.name: place.label for place in places(list(shapes))}
    one_seed = len(record.study.seeds) == 1
    with st.container(horizontal=True, vertical_alignment="center", key=f"race-section-{key}"):
        if title:
            st.header(title, anchor=False, width="stretch")
        number = st.selectbox(
            "Trial",
            list(with_matrix),
            index=list(with_matrix).index(first) if first in with_matrix else 0,
            format_func=lambda number: name(with_matrix[number], one_seed=one_seed),
            key=f"{key}-trial",
            label_visibility="collapsed",
            width=320,
        )
        matrix = st.selectbox(
            "Matrix",
            list(labels),
            format_func=labels.get,
            key=f"{key}-matrix",
            label_visibility="collapsed",
            width=220,
        )
    return with_matrix[number], matrix


def name(trial: TrialRecord, *, one_seed: bool) -> str:
    """Return a trial's name for people: its label, with its seed if others have another one."""
    return trial.trial.label if one_seed else f"{trial.trial.label} · seed {trial.trial.spec.seed}"


def history(id: str, trial: TrialRecord, matrix: str) -> History | None:
    """Return the values of M so far, None before the first evaluation."""
    coefficients = _coefficients(id, trial.number, trial.turns)
    if coefficients is None:
        return None
    layout, values = coefficients
    i, j, place = layout.entries(matrix)
    of_matrix = np.stack([entries[place] for entries in values])
    return History(i, j, of_matrix, values.index.tolist(), layout.n[layout.names.index(matrix)])


@st.cache_resource(max_entries=8, show_spinner=False)
def _coefficients(id: str, number: int, turns: int) -> tuple[Layout, pd.Series] | None:
    return trials.store().coefficients(id, number)
