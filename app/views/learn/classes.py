"""A class on the teacher's screen: the runs of all students in one plot that grows."""

from __future__ import annotations

from collections import Counter

import pandas as pd
import streamlit as st

from analysis.figures.class_growth import class_growth
from analysis.lessons import claims
from analysis.training.tasks import get_task
from analysis.trials.records import StudyRecord
from analysis.trials.results import summarize
from analysis.trials.verdict import verdict
from app import figures, trials
from app.compat import fragment
from app.views.learn import racing


def show_all() -> None:
    """Draw what has come in so far, and again whenever more has."""
    code = trials.class_code()
    seen = _state(code)  # before anything is read: what changes meanwhile is then drawn by the next look
    records = _of_one_plan(trials.store().class_studies(code))
    results = [trials.store().results(record.id) for record in records]
    fragment(_watch, run_every=2)(code, seen)
    with st.container(horizontal=True, key="class-facts"):
        st.metric("Students in the class", trials.store().class_size(code))
        st.metric("Runs started", len(records))
        st.metric("Runs finished", sum(record.state == "done" for record in records))
    pooled = claims.pool(results) if results else pd.DataFrame()
    if pooled.empty:
        st.info(
            f"No run of the class {code} has finished yet. Students open this app with `?class={code}`, and race from "
            "chapter 4.",
            icon=":material/hourglass_top:",
        )
        return
    study = records[0].study
    truth = getattr(get_task(study.task).load(), study.final_split).labels
    conclusion = verdict(summarize(pooled, truth), pooled, truth)
    st.markdown(f"**{conclusion.headline}**")
    if conclusion.pair:
        label, reference = conclusion.pair
        method = pooled.set_index("label")["method"][label]
        table = claims.growth(pooled, truth, label, reference)
        figure = class_growth(
            table,
            label=label,
            reference=reference,
            method=method if isinstance(method, str) else method.iloc[0],
            theme=figures.theme(),
        )
        figures.draw(figure, key="class-growth")
        figures.explain(figure, table, key="class-growth", file_name=f"class-{code}.csv")


def _of_one_plan(records: list[StudyRecord]) -> list[StudyRecord]:
    """Return the runs of the plan that most students share, the lesson's own before others: others do not compare."""
    keys = [claims.plan_key(record.study) for record in records]
    if not keys:
        return []
    prepared = claims.plan_key(racing.PREPARED.resolved())
    most = max(Counter(keys).items(), key=lambda item: (item[1], item[0] == prepared))[0]
    return [record for record, key in zip(records, keys) if key == most]


def _state(code: str) -> tuple:
    """Return what a change of means that there is more to see."""
    studies = trials.store().class_studies(code)
    done = [sum(trial.state == "done" for trial in trials.store().trials(record.id)) for record in studies]
    return trials.store().class_size(code), tuple(record.state for record in studies), tuple(done)


def _watch(code: str, seen: tuple) -> None:
    if _state(code) != seen:
        st.rerun()
