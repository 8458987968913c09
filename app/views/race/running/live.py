"""A study while it runs: how far each trial is, their curves together, and M as it grows."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock

import altair as alt
import pandas as pd
import streamlit as st

from analysis.figures.live import ZOOM
from analysis.figures.live_curves import Measure, live_curves
from analysis.figures.live_strip import live_strip
from analysis.figures.theme import THEMES
from analysis.trials.duration import count_turns, time_left
from analysis.trials.messages import LIVE_EXAMPLES
from analysis.trials.records import ENDED, StudyRecord, TrialRecord
from app import figures, trials
from app.compat import fragment
from app.views.race import matrix, results
from app.views.race.running import rows

_PERIOD = 2  # seconds; drawing in a browser beside the trials takes from the cores that train


def show(record: StudyRecord) -> None:
    """Draw the study, anew every other second."""
    with st.container(key="live"):
        fragment(_watch, run_every=_PERIOD)(record)


def _watch(record: StudyRecord) -> None:
    of, points = trials.store().trials(record.id), trials.store().points(record.id)
    _show_progress(record, of)
    aside, accuracy, loss = st.columns([5, 6, 6], gap="medium")
    with aside:
        rows.show(of, points)
        _show_stop_one(record, of)
    for column, measure in ((accuracy, "accuracy"), (loss, "loss")):
        with column:
            show_curves(record, of, points, measure)
    st.caption(
        f"On {_watched(record)} examples that no trial is trained on; at the end each is judged on the whole "
        f"{record.study.final_split} split. Scroll to "
        "zoom, double-click to reset."
    )
    _show_matrix(record, of)


def _watched(record: StudyRecord) -> int:
    """Return how many examples the curves are about."""
    return min(LIVE_EXAMPLES, len(results.of_study(record, ()).task.load().validation))


def _show_progress(record: StudyRecord, of: Sequence[TrialRecord]) -> None:
    every = record.study.evaluate_every
    left = [trial for trial in of if trial.state not in ENDED]
    done = sum(trial.turns for trial in of)
    total = done + sum(count_turns(trial.trial, every) - trial.turns for trial in left)
    if not left:
        text = "All trials have finished. Measuring what their steps cost: everything else waits."
    else:
        duration = time_left(record.study, of, _turns(record.study.task, record.study.base), trials.engine().workers)
        text = f"{done} of {total} evaluations" + (f", {duration.words} left" if duration else "")
    st.progress(done / total, text=text)


def _show_stop_one(record: StudyRecord, of: Sequence[TrialRecord]) -> None:
    running = {trial.number: trial for trial in of if trial.state not in ENDED}
    if trials.owns(record) and len(running) > 1:
        one_seed = len(record.study.seeds) == 1
        st.menu_button(
            "Stop one",
            list(running),
            format_func=lambda number: matrix.name(running[number], one_seed=one_seed) if number in running else "",
            key="stop-one",
            icon=":material/stop_circle:",
            type="tertiary",
            on_click=_stop_one,
            args=(record.id,),
        )


def _stop_one(id: str) -> None:
    trials.engine().stop(id, st.session_state["stop-one"])


def with_labels(points: pd.DataFrame, of: Sequence[TrialRecord]) -> pd.DataFrame:
    """Return the points of a study (`Store.points`) with ``label`` and ``seed`` of each one's trial."""
    by_number = {record.number: record.trial for record in of}
    trained = [by_number[number] for number in points["trial"]]
    return points.assign(label=[trial.label for trial in trained], seed=[trial.spec.seed for trial in trained])


def show_curves(record: StudyRecord, of: Sequence[TrialRecord], points: pd.DataFrame, measure: Measure) -> None:
    """Draw a measure of all trials over the steps, in a chart that stays when there is more to draw."""
    stamp = (len(points), points["at"].max())
    theme = figures.theme().name
    _draw(_curves(record.id, stamp, measure, theme, of, points), key=f"live-{measure}")


def _show_matrix(record: StudyRecord, of: Sequence[TrialRecord]) -> None:
    chosen = matrix.choose(record, of, title="M as it grows", key="live")
    if chosen is None:
        return
    trial, name = chosen
    if trial.turns:
        spec = _strip(
            record.id, trial.number, trial.turns, name, figures.theme().name, trial, record.study.evaluate_every
        )
        _draw(spec, key="live-strip")
        st.caption("One row per evaluation: look for entries that grow early, and for those that shrink again.")
    else:
        st.caption("M is zero: this trial has not begun.")


def _draw(spec: dict, *, key: str) -> None:
    """Draw a live chart, which keeps its zoom only if Streamlit is told of it (`analysis.figures.live`)."""
    st.vega_lite_chart(spec, theme=None, key=key, on_select="rerun", selection_mode=ZOOM)


@st.cache_data(ttl=5, show_spinner=False)
def _turns(task: str, base: str) -> pd.DataFrame:
    return trials.store().turns(task, base)


# Building a chart takes longer than sending it, and between two points it is the same for everyone who watches.
@st.cache_resource(max_entries=16, show_spinner=False)
def _curves(
    id: str,
    stamp: tuple[int, float],
    measure: Measure,
    theme: str,
    _of: Sequence[TrialRecord],
    _points: pd.DataFrame,
) -> dict:
    methods = {record.trial.label: record.trial.spec.method for record in _of}
    chart = live_curves(
        with_labels(_points, _of), methods, _of[0].trial.spec.steps, theme=THEMES[theme], measure=measure
    )
    return _spec(chart)


@st.cache_resource(max_entries=16, show_spinner=False)
def _strip(id: str, number: int, turns: int, name: str, theme: str, _trial: TrialRecord, every: int) -> dict:
    history = matrix.history(id, _trial, name)
    steps = _trial.trial.spec.steps
    planned = [*range(0, steps, every), steps]
    return _spec(live_strip(history.i, history.j, history.values, history.steps, planned, theme=THEMES[theme]))


_limit = Lock()


def _spec(chart: alt.Chart | alt.LayerChart) -> dict:
    # Altair has one limit for all threads: another one's return to the old limit must not fall into the middle.
    with _limit, alt.data_transformers.enable("default", max_rows=None):
        return chart.to_dict(validate=False)  # the same charts again and again: tests validate them
