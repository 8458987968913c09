"""A study that was planned in advance takes its rates from a sweep, and is judged once, with one correction."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.common.errors import UserError
from analysis.training.tasks import get_task
from analysis.trials.confirmation import LEVEL, agreement, capture_and_accuracy, comparisons, confirmation_study, holm
from analysis.trials.files import StudyFile
from analysis.trials.study import Study

SWEEP = Study(
    "digits",
    ("plain", "random"),
    budgets=(154,),
    seeds=(0, 1),
    learning_rates={"plain": (0.1, 0.3), "random": (0.1, 0.3)},
    head_learning_rates={"plain": (0.006, 0.03), "random": (0.006, 0.03)},
    final_split="validation",
    set_apart=True,
)


def swept(study, accuracies):
    """Return a sweep's file in which each trial has the accuracy of its method's place."""
    rows, places = [], {}
    for trial in study.plan()[0]:
        method = trial.spec.method
        place = places.setdefault(method, {}).setdefault(trial.label, len(places[method]))
        rows.append({"method": method, "label": trial.label, "accuracy": accuracies[method][place]})
    return StudyFile(study.resolved(), pd.DataFrame(rows), None, "")


def test_each_method_runs_at_its_best_pair_of_rates_on_what_was_set_apart():
    file = swept(SWEEP, {"plain": (0.5, 0.7, 0.6, 0.6), "random": (0.5, 0.6, 0.8, 0.8)})
    study = confirmation_study(file, range(10))
    assert study.methods == ("head_only", "plain", "random", "full")
    assert (study.final_split, study.set_apart, study.seeds) == ("confirmation", True, tuple(range(10)))
    tried = {trial.spec.method: trial.spec for trial in study.plan()[0]}
    assert (tried["plain"].learning_rate, tried["plain"].head_learning_rate) == (0.1, 0.03)
    assert (tried["random"].learning_rate, tried["random"].head_learning_rate) == (0.3, 0.006)  # the first of two
    assert all(spec.set_apart for spec in tried.values())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"final_split": "test"}, "validation split"),
        ({"set_apart": False}, "set apart"),
        ({"budgets": (154, 38)}, "one"),
    ],
)
def test_a_sweep_of_another_kind_is_refused(change, sentence):
    file = swept(SWEEP, {"plain": (0,) * 4, "random": (0,) * 4})
    with pytest.raises(UserError, match=sentence):
        confirmation_study(replace(file, study=replace(file.study, **change)), (0,))


def test_an_unfinished_sweep_is_refused():
    file = swept(SWEEP, {"plain": (0,) * 4, "random": (0,) * 4})
    with pytest.raises(UserError, match="not complete"):
        confirmation_study(replace(file, results=file.results[:-1]), (0,))


def test_a_study_on_the_confirmation_split_never_trains_on_it():
    with pytest.raises(UserError, match="set_apart"):
        Study("digits", ("plain",), final_split="confirmation")


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(0.001, 0.999))
def test_the_correction_rejects_what_the_procedure_rejects_step_by_step(p, level):
    left, rejected = sorted(range(len(p)), key=p.__getitem__), set()
    while left and p[left[0]] * len(left) <= level:
        rejected.add(left.pop(0))
    assert set(np.flatnonzero(holm(np.array(p)) <= level)) == rejected


def test_the_correction_on_an_example_by_hand():
    assert np.allclose(holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])


@pytest.mark.parametrize("gain", [0, 60])
def test_a_difference_is_clear_only_if_there_is_one(gain):
    truth = get_task("digits").load().confirmation.labels
    study = replace(SWEEP, final_split="confirmation", learning_rates={}, head_learning_rates={}).resolved()
    rows = []
    for seed in range(5):
        generator = np.random.default_rng(seed)
        for method in ("chosen", "random"):
            predicted = np.where(generator.random(len(truth)) < 0.3, truth, (truth + 1) % 10)
            if method == "chosen":
                predicted[:gain] = truth[:gain]
            rows.append({"task": "digits", "method": method, "label": method, "seed": seed, "predicted": predicted})
    table = comparisons([StudyFile(study, pd.DataFrame(rows), None, "")])
    assert table[["label", "reference", "seeds"]].to_numpy().tolist() == [["chosen", "random", 5]]
    assert (table["holm"].item() < LEVEL) == (gain > 0)
    assert table["low"].item() <= table["points"].item() <= table["high"].item()


# ---- does the gradient predict accuracy?


def accuracies(captured, measured):
    """Return the tables of capture and of measured accuracy of patterns at one budget."""
    patterns = ["plain", "banded", "random", "top_k", "block"][: len(captured)]
    capture = pd.DataFrame({"pattern": patterns, "budget": 100, "entries": 100, "captured": captured})
    summary = pd.DataFrame({"method": patterns, "budget": 100, "label": patterns, "accuracy": measured})
    return capture, summary.assign(low=0.0, high=1.0)


def test_patterns_meet_their_accuracy_at_the_same_budget():
    capture, summary = accuracies([0.1, 0.2, 0.3], [0.7, 0.8, 0.9])
    capture.loc[0, "budget"] = 98
    table = capture_and_accuracy(capture, summary)
    assert list(table["pattern"]) == ["banded", "random"]
    assert list(table["accuracy"]) == [0.8, 0.9]


@pytest.mark.parametrize(
    ("measured", "words"),
    [
        ([0.5, 0.6, 0.7, 0.8, 0.9], "1.00 over 5 patterns at 100 entries (p = 0.02)"),  # 2 of 120 orders
        ([0.9, 0.8, 0.7, 0.6, 0.5], "−1.00 over 5 patterns at 100 entries (p = 0.02)"),
        ([0.7, 0.5, 0.9, 0.6, 0.8], "0.30 over 5 patterns at 100 entries (p = 0.68)"),
    ],
)
def test_agreement_is_the_rank_correlation_with_its_exact_p(measured, words):
    assert words in agreement(capture_and_accuracy(*accuracies([0.01, 0.02, 0.03, 0.04, 0.05], measured)))


def test_three_patterns_say_nothing():
    table = capture_and_accuracy(*accuracies([0.1, 0.2, 0.3], [0.7, 0.8, 0.9]))
    assert agreement(table) == "No study has measured enough of these patterns."
