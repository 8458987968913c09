"""Runs of a race, one and many, and the reading of an adapter."""

import numpy as np
import pandas as pd
import pytest

from analysis.adapters.opening import open_adapter
from analysis.adapters.shipped import DIRECTORY
from analysis.lessons import claims, reading
from analysis.measures.coefficients import energy_shares, entries_for_energy
from analysis.measures.noise import Level
from analysis.training.evaluation import read_evaluation
from analysis.trials.results import Answers, Difference
from analysis.trials.study import Study


def run(seed: int, accuracies: dict[str, float], n: int = 400) -> pd.DataFrame:
    """Return the results of one run with the answers of each configuration right in that part."""
    generator = np.random.default_rng(seed)
    rows = [
        {
            "trial": trial,
            "task": "bbc_headlines",
            "method": "lora" if label.startswith("LoRA") else "banded",
            "label": label,
            "seed": seed,
            "parameters": 41_472,
            "accuracy": accuracy,
            "predicted": (generator.random(n) > accuracy).astype(np.int16),
        }
        for trial, (label, accuracy) in enumerate(accuracies.items())
    ]
    return pd.DataFrame(rows)


TRUTH = np.zeros(400, dtype=int)
PAIR = ("SVFT banded d=1", "LoRA r=1")
RUNS = [run(seed, dict(zip(PAIR, (0.85, 0.7)))) for seed in range(4)]


def test_pooled_runs_are_one_study():
    pooled = claims.pool([*RUNS, RUNS[0]])
    assert len(pooled) == 8
    assert pooled["trial"].is_unique
    assert Answers(pooled, TRUTH).seeds(*PAIR) == [0, 1, 2, 3]


def test_the_growing_interval_ends_at_the_difference_of_the_whole_class():
    table = claims.growth(claims.pool(RUNS), TRUTH, *PAIR)
    whole = Answers(claims.pool(RUNS), TRUTH).difference(*PAIR)
    assert table["runs"].tolist() == [1, 2, 3, 4]
    assert table.iloc[-1][["pooled", "pooled_low", "pooled_high"]].tolist() == [whole.value, whole.low, whole.high]
    assert table["pooled"].iloc[-1] == pytest.approx(table["difference"].mean())
    assert table.iloc[0]["difference"] == table.iloc[0]["pooled"]
    alone = Answers(RUNS[2], TRUTH).difference(*PAIR)
    assert table.iloc[2][["difference", "low", "high"]].tolist() == [alone.value, alone.low, alone.high]


def test_nothing_grows_without_both_sides():
    assert claims.growth(claims.pool(RUNS), TRUTH, PAIR[0], "DoRA r=1").empty


def test_plans_that_differ_by_seeds_alone_are_one_plan():
    study = Study("bbc_headlines", ("plain", "lora"), budgets=(41_472,), seeds=(3,))
    other = Study("bbc_headlines", ("plain", "lora"), budgets=(41_472,), seeds=(5, 6))
    longer = Study("bbc_headlines", ("plain", "lora"), budgets=(41_472,), seeds=(3,), steps=200)
    assert claims.plan_key(study) == claims.plan_key(other) != claims.plan_key(longer)


@pytest.mark.parametrize(
    ("low", "high", "right"), [(1, 5, claims.ABOVE), (-5, -1, claims.BELOW), (-1, 5, claims.OPEN)]
)
def test_the_reading_of_an_interval_is_checked(low, high, right):
    actual = Difference((low + high) / 2, low, high, 1.0, 3)
    for given in claims.OUTCOMES:
        reply = claims.check_outcome(given, actual)
        assert reply.right == (given == right)
        assert "points" in reply.sentence


def test_concentration_is_checked_against_noise():
    noise = Level(0.45, 0.4, 0.5)
    replies = {given: reading.check_concentration(given, 0.3, noise).right for given in reading.OUTCOMES}
    assert replies == {reading.FEWER: True, reading.AS_NOISE: False, reading.MORE: False}
    assert reading.concentration_outcome(0.45, noise) == reading.AS_NOISE
    assert reading.concentration_outcome(0.6, noise) == reading.MORE


def test_sentences_about_a_shipped_adapter_have_its_numbers():
    adapter = open_adapter(DIRECTORY / "bbc_headlines-banded")
    matrix = adapter.matrix(adapter.names[0])
    share = matrix.values[matrix.rows == matrix.cols] @ matrix.values[matrix.rows == matrix.cols]
    share /= matrix.values @ matrix.values
    assert f"{share:.1%} of the energy" in reading.on_the_diagonal(energy_shares(matrix))
    plain = open_adapter(DIRECTORY / "bbc_headlines-plain")
    assert "All of the energy" in reading.on_the_diagonal(energy_shares(plain.matrix(plain.names[0])))
    assert 0 < entries_for_energy(matrix)["fraction"] < 1
    measured = read_evaluation(adapter.path)
    alone = reading.against_full(measured, None)
    assert f"{measured.mean_accuracy('full'):.0%}" in alone
    assert "not in this installation" in alone
    summary = pd.DataFrame(
        {
            "label": ["SVFT plain", "full fine-tuning"],
            "method": ["plain", "full"],
            "parameters": [13_824, 22_000_000],
            "rank": [383.0, 384.0],
            "effective_rank": [300.0, 90.0],
        }
    )
    assert "effective rank of 90; that of SVFT plain rank 383 and effective rank 300." in reading.against_full(
        measured, summary
    )
