"""A study is plain data, and says what it will train before it trains it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.common.errors import UserError
from analysis.training.methods import METHODS
from analysis.trials.study import Study, Trial

DEFAULT = Study("bbc_headlines", ("head_only", "plain", "banded", "random", "lora", "full"), budgets=(41_472,))


def test_a_plan_has_each_method_at_the_size_nearest_to_the_budget():
    trials, left_out = DEFAULT.plan()
    assert [(trial.label, trial.parameters) for trial in trials] == [
        ("head only", 0),
        ("SVFT plain", 13_824),
        ("SVFT banded d=1", 41_400),
        ("SVFT random, 41,472 entries", 41_472),
        ("LoRA r=1", 41_472),
        ("full fine-tuning", 22_713_216),
    ]
    assert left_out == []


def test_a_method_that_cannot_come_within_a_tenth_is_left_out_with_the_reason():
    trials, left_out = replace(DEFAULT, methods=("plain", "random", "dora"), budgets=(41_472, 62_208)).plan()
    assert [trial.label for trial in trials] == [
        "SVFT plain",
        "SVFT random, 41,472 entries",
        "SVFT random, 62,208 entries",
        "DoRA r=1",
    ]
    (excluded,) = left_out
    assert (excluded.method, excluded.budget) == ("dora", 41_472)
    assert "62,208 (r = 1)" in excluded.reason


def test_named_sizes_stand_in_for_the_budgets():
    trials, _ = Study("bbc_headlines", ("lora", "banded"), budgets=(41_472,), sizes={"lora": (1, 8)}).plan()
    assert [trial.label for trial in trials] == ["LoRA r=1", "LoRA r=8", "SVFT banded d=1"]


def test_seeds_repeat_everything_and_more_seeds_only_add_to_the_end():
    two, _ = replace(DEFAULT, seeds=(0, 1)).plan()
    three, _ = replace(DEFAULT, seeds=(0, 1, 2)).plan()
    assert three[: len(two)] == two
    assert [trial.spec.seed for trial in three[len(two) :]] == [2] * 6
    assert [trial.label for trial in three[:6]] == [trial.label for trial in three[6:12]]


def test_rates_are_tried_side_by_side_and_head_only_varies_the_heads():
    study = Study("bbc_headlines", ("plain", "head_only"), learning_rates={"plain": (1e-2, 5e-2), "head_only": (0.1,)})
    trials, _ = study.plan()
    assert [(trial.label, trial.spec.learning_rate) for trial in trials] == [
        ("SVFT plain, rate 0.01", 1e-2),
        ("SVFT plain, rate 0.05", 5e-2),
        ("head only", None),
    ]
    assert trials[2].spec.head_learning_rate == 0.1


def test_a_resolved_study_plans_the_same_though_the_defaults_may_change(monkeypatch):
    resolved = DEFAULT.resolved()
    trials, _ = DEFAULT.plan()
    monkeypatch.setitem(METHODS, "plain", replace(METHODS["plain"], learning_rate=1.0))
    assert resolved.plan()[0] == trials
    assert DEFAULT.plan()[0] != trials


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"methods": ("magic",)}, "no method 'magic'.*plain"),
        ({"methods": ()}, "at least one method"),
        ({"seeds": ()}, "one seed"),
        ({"budgets": (0,)}, "greater than 0"),
        ({"evaluate_every": 0}, "greater than 0"),
        ({"budgets": ()}, "SVFT banded.*name a budget"),
        ({"steps": "many"}, "'many' is not a whole number"),
        ({"budgets": (41_472.5,)}, "41472.5 is not a whole number"),
        ({"learning_rates": {"lora": ("fast",)}}, "'fast' is not a number"),
        ({"base": ["a"]}, "is not a name"),
        ({"custom_indices": ((0, 0), (3, -1))}, "entry \\(3, -1\\).*counted from 0"),
        ({"final_split": "train"}, "final_split='train' must be one of test, validation"),
    ],
)
def test_an_impossible_study_is_refused(change, message):
    with pytest.raises(UserError, match=message):
        replace(DEFAULT, **change)


def test_a_study_without_any_trial_is_refused():
    with pytest.raises(UserError, match="No method comes near the budget"):
        Study("bbc_headlines", ("lora",), budgets=(100,)).plan()


def test_a_study_from_a_link_cannot_be_endless():
    with pytest.raises(UserError, match="up to 1,000 trials, not 6,000"):
        replace(DEFAULT, seeds=tuple(range(1000))).plan()


studies = st.builds(
    Study,
    task=st.sampled_from(["bbc_headlines", "airline_tweets"]),
    methods=st.lists(st.sampled_from(list(METHODS)), min_size=1, max_size=5).map(tuple),
    budgets=st.lists(st.integers(1, 10**7), min_size=1, max_size=3).map(tuple),
    sizes=st.dictionaries(st.just("lora"), st.lists(st.integers(1, 64), min_size=1, max_size=2)),
    seeds=st.lists(st.integers(0, 99), min_size=1, max_size=5).map(tuple),
    learning_rates=st.dictionaries(st.just("plain"), st.lists(st.floats(1e-5, 1), min_size=1, max_size=3)),
    steps=st.integers(1, 500),
    custom_indices=st.none() | st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1).map(tuple),
)


@given(studies)
def test_a_study_comes_back_from_its_json_and_from_its_link(study):
    assert Study.from_dict(json.loads(json.dumps(study.to_dict()))) == study
    assert Study.from_link(study.to_link()) == study


def test_a_trial_comes_back_from_its_json():
    for trial in DEFAULT.plan()[0]:
        assert Trial.from_dict(json.loads(json.dumps(trial.to_dict()))) == trial


def test_the_link_of_a_usual_study_is_short():
    assert len(DEFAULT.to_link()) < 250


@pytest.mark.parametrize(
    "damage", [lambda link: link[:-6], lambda link: "x" + link, lambda link: "ä", lambda link: ""]
)
def test_a_damaged_link_is_refused_with_a_sentence(damage):
    with pytest.raises(UserError, match="link"):
        Study.from_link(damage(DEFAULT.to_link()))


@pytest.mark.parametrize(
    "values", [[], {"task": "bbc_headlines"}, {"task": "x", "methods": 3}, {"task": "x", "methods": ["plain"], "a": 1}]
)
def test_what_is_no_study_is_refused_with_a_sentence(values):
    with pytest.raises(UserError):
        Study.from_dict(values)
