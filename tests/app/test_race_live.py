"""A study while it runs: what the page shows of it, and that its charts stay in place."""

import json
import re

import numpy as np
import pytest
import streamlit as st

from analysis.figures.theme import LORA_MARKERS, REFERENCE_DASHES
from analysis.models.shapes import block_shapes
from analysis.trials.engine import Engine
from analysis.trials.messages import Report
from analysis.trials.study import Study
from app import trials
from app.views.race.running.rows import _glyph
from tests.app.studies import add_study

ME = "0" * 32
METHODS = ("head_only", "plain", "banded", "random", "lora", "full")
ONE_SEED = Study("bbc_headlines", METHODS, budgets=(41_472,), steps=20, examples=16, evaluate_every=5)
MANY = Study(
    "bbc_headlines", (*METHODS, "top_k"), budgets=(41_472, 124_416), seeds=range(5), steps=20, evaluate_every=5
)


@pytest.fixture(autouse=True)
def me(monkeypatch, no_workers):
    monkeypatch.setattr(type(st.context), "cookies", {"svft-visitor": ME})
    st.cache_data.clear()


def add(study=ONE_SEED, turns=2, **options):
    return add_study(trials.store(), study, owner=ME, turns=turns, **options)


def rows(test):
    """Return the table of the trials."""
    return test.dataframe[0].value


def charts(test):
    """Return the specifications of the charts, without the names of their data, which are hashes of it."""
    specs = [json.loads(chart.proto.spec) for chart in test.get("vega_lite_chart")]
    for spec in specs:
        spec.pop("data")
    return specs


def captions(test):
    return " ".join(caption.value for caption in test.caption)


def progress(test):
    (bar,) = test.get("progress")
    return bar.proto.value, bar.proto.text


# ---- what is shown


def test_each_trial_has_a_row_with_its_accuracy_so_far(race):
    id = add()
    test = race(study=id)
    assert not test.exception
    table = rows(test)
    assert len(table) == 6
    last = trials.store().points(id).drop_duplicates("trial", keep="last").set_index("trial")["accuracy"]
    assert table.loc[1].tolist() == ["●", "SVFT plain", f"{last[1]:.1%}", 0.25, "running"]


def test_seeds_of_one_configuration_share_a_row(race):
    id = add(MANY)
    table = rows(race(study=id))
    assert len(trials.store().trials(id)) > 50
    assert len(table) == 11
    assert set(table["states"]) == {"5 running"}


def test_a_trial_that_failed_says_why_and_the_others_go_on(race):
    id = add(unfinished={2: ("failed", "It ran out of memory: take a smaller batch, or a smaller base model.")})
    test = race(study=id)
    assert rows(test)["states"].tolist().count("failed") == 1
    label = rows(test)["label"][2]
    assert f"{label}: It ran out of memory: take a smaller batch, or a smaller base model." in captions(test)


def test_the_progress_is_in_evaluations_with_the_time_left(race):
    share, text = progress(race(study=add()))
    assert share == 40  # percent
    assert re.fullmatch(r"12 of 30 evaluations, about \d+ s left", text)


def test_before_the_first_point_all_is_there_but_empty(race):
    test = race(study=add(turns=0))
    assert not test.exception
    assert not test.error
    assert progress(test) == (0, "0 of 30 evaluations")
    assert "has not begun" in captions(test)


def test_the_end_of_a_study_is_the_measurement_of_its_cost(race):
    id = add(turns=5)
    assert {trial.state for trial in trials.store().trials(id)} == {"done"}
    assert "Measuring what their steps cost: everything else waits." in progress(race(study=id))[1]


def test_accuracy_and_loss_of_all_trials_are_drawn_together(race):
    accuracy, loss, _ = charts(race(study=add()))
    assert [chart["layer"][0]["encoding"]["y"]["title"] for chart in (accuracy, loss)] == ["accuracy", "loss"]


def test_the_specification_of_a_chart_stays_when_points_arrive(race):
    id = add()
    before = charts(race(study=id))
    for trial in trials.store().trials(id):
        coefficients = trials.store().coefficients(id, trial.number)
        grown = None if coefficients is None else coefficients[1].iloc[-1] * np.float16(2)
        trials.store().add_report(id, trial.number, Report(10, [0.5], 0.5, 0.9, 0.9, 1.0, coefficients=grown))
    assert charts(race(study=id)) == before


@pytest.mark.parametrize(("method", "axis"), [("SVFT plain", "row i of M"), ("SVFT banded d=1", "offset")])
def test_the_strip_shows_the_chosen_trial_and_matrix(race, method, axis):
    id = add()
    test = race(study=id)
    chosen = test.selectbox(key="live-trial")
    assert chosen.options == ["SVFT plain", "SVFT banded d=1", "SVFT random, 41,472 entries"]
    number = next(trial.number for trial in trials.store().trials(id) if trial.trial.label == method)
    chosen.set_value(number)
    matrix = test.selectbox(key="live-matrix")
    assert "Layer 2 · value" in matrix.options
    matrix.set_value(
        next(name for name in block_shapes(ONE_SEED.resolved().base) if name.endswith("2.attention.self.value"))
    )
    test.run()
    assert not test.exception
    assert axis in charts(test)[2]["encoding"]["x"]["title"]


def test_another_matrix_is_another_strip(race):
    test = race(study=add())
    strips = [test.get("vega_lite_chart")[2].proto.datasets[0].data.data]
    for name in list(block_shapes(ONE_SEED.resolved().base))[1:3]:
        test.selectbox(key="live-matrix").set_value(name).run()
        strips.append(test.get("vega_lite_chart")[2].proto.datasets[0].data.data)
    assert len(set(strips)) == 3


def test_without_an_svft_pattern_there_is_no_strip(race):
    test = race(study=add(Study("bbc_headlines", ("head_only", "lora"), sizes={"lora": (1,)}, steps=20)))
    assert not test.exception
    assert len(charts(test)) == 2


# ---- what can be done


def test_one_trial_can_be_stopped(race, monkeypatch):
    stopped = []
    monkeypatch.setattr(Engine, "stop", lambda engine, id, number=None: stopped.append((id, number)))
    id = add()
    test = race(study=id)
    test.menu_button(key="stop-one").click(3).run()
    assert not test.exception
    assert stopped == [(id, 3)]


def test_only_what_still_runs_can_be_stopped(race):
    id = add(unfinished={2: ("failed", "It broke.")})
    options = race(study=id).menu_button(key="stop-one").options
    assert "SVFT banded d=1" not in options
    assert len(options) == 5


def test_another_visitor_watches_but_stops_nothing(race):
    id = add_study(trials.store(), ONE_SEED, owner="someone else", turns=2)
    test = race(study=id)
    assert len(rows(test)) == 6
    assert not test.menu_button


def test_every_method_has_a_glyph():
    glyphs = [_glyph(method) for method in (*LORA_MARKERS, *REFERENCE_DASHES)]
    assert len(set(glyphs)) == len(glyphs)
