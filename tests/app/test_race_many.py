"""A race of all methods at one budget: the plan, the trials while they run, the result and its tables."""

import pytest
import streamlit as st

from analysis.figures.theme import LORA_MARKERS
from analysis.planning.budgets import planned_methods
from analysis.trials.study import Study
from app import trials
from app.views.race import results
from app.views.race.plan import form
from tests.app.race_page import captions, lanes, methods
from tests.app.studies import add_study

ME = "0" * 32
BUDGET = 41_472  # LoRA's smallest size
ALL = ("head_only", *planned_methods(), "full")
STUDY = Study("bbc_headlines", ALL, budgets=(BUDGET,), steps=20, examples=16, evaluate_every=10)
SECTIONS = ("words", "differences", "price", "ranks", "forgetting", "film", "agreement", "table", "adapters")


@pytest.fixture(autouse=True)
def me(monkeypatch, no_workers):
    monkeypatch.setattr(type(st.context), "cookies", {"svft-visitor": ME})
    results._committed.clear()


def labels():
    return [trial.label for trial in STUDY.resolved().plan()[0]]


def test_fourteen_methods_or_more_have_a_size_at_one_budget():
    assert len(labels()) >= 14
    assert len(set(labels())) == len(labels())


def test_the_plan_has_a_lane_for_each_and_says_why_one_has_no_size(race):
    test = race()
    for method in form.more():
        if method != "custom":
            test.checkbox(key=f"plan-use-{method}").check()
    test.multiselect(key="plan-more-budgets").set_value([])
    test.select_slider(key="plan-budget").set_value(BUDGET).run()
    assert not test.exception
    assert set(methods(test)) == set(ALL)
    assert "TinyLoRA&#x27;s largest size has 18,432 (u = 512) parameters" in lanes(test)
    assert f"{len(labels())} trials" in captions(test)
    assert not test.button(key="start").disabled


def test_while_they_run_each_has_a_row_with_a_mark(race):
    test = race(study=add_study(trials.store(), STUDY, owner=ME, turns=2))
    assert not test.exception
    table = test.dataframe[0].value
    assert table["label"].tolist() == labels()
    relatives = [trial.spec.method for trial in STUDY.resolved().plan()[0]]
    marks = dict(zip(relatives, table["marker"], strict=True))
    grey = [marks[method] for method in relatives if method in LORA_MARKERS]
    assert len(set(grey)) == len(grey)


def test_the_result_with_every_section_open_names_them_all(race):
    id = add_study(trials.store(), STUDY, owner=ME)
    test = race(study=id, opened=SECTIONS)
    assert not test.exception
    assert not test.error
    tables = [element.value for element in test.dataframe if "label" in element.value]
    assert any(set(labels()) <= set(table["label"]) for table in tables)
    alts = [chart.proto.alt for chart in test.get("plotly_chart")]
    (accuracy,) = [alt for alt in alts if alt.startswith("Test accuracy against trained parameters")]
    assert all(label in accuracy for label in labels() if label not in ("head only", "full fine-tuning"))
