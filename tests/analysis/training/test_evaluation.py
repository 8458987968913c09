import math

import numpy as np
import pandas as pd
import pytest

from analysis.training.cards import model_card
from analysis.training.evaluation import Evaluation, read_evaluation, recovered_performance, wilson_interval

# ---- accuracy


# Newcombe 1998 ("Two-sided confidence intervals for the single proportion"), table I, method 3.
@pytest.mark.parametrize(
    ("correct", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_the_interval_of_an_accuracy_is_wilsons(correct, n, low, high):
    assert wilson_interval(correct, n) == pytest.approx((low, high), abs=5e-5)


# ---- recovered performance


def answers(accuracies, n=800, seed=0):
    """Return right or wrong for one row of examples per accuracy, paired: harder examples are harder for all."""
    difficulty = np.random.default_rng(seed).random(n)
    noise = np.random.default_rng(seed + 1).normal(0, 0.05, (len(accuracies), n))
    return difficulty + noise < np.array(accuracies)[:, None]


HEAD_ONLY, FULL = answers([0.5, 0.52, 0.48]), answers([0.8, 0.82, 0.81], seed=0)


def test_head_only_recovers_nothing_and_full_everything():
    none = recovered_performance(HEAD_ONLY, HEAD_ONLY, FULL)
    everything = recovered_performance(FULL, HEAD_ONLY, FULL)
    assert (none.value, none.low, none.high) == (0, 0, 0)
    assert (everything.value, everything.low, everything.high) == pytest.approx((1, 1, 1))


def test_the_value_is_the_ratio_of_gains_in_mean_accuracy_inside_its_interval():
    method = answers([0.7, 0.74, 0.71])
    recovered = recovered_performance(method, HEAD_ONLY, FULL)
    expected = (method.mean() - HEAD_ONLY.mean()) / (FULL.mean() - HEAD_ONLY.mean())
    assert recovered.value == pytest.approx(expected)
    assert recovered.low < recovered.value < recovered.high
    assert recovered.high - recovered.low < 0.4


def test_a_method_above_full_fine_tuning_recovers_more_than_all():
    assert recovered_performance(answers([0.9, 0.9, 0.9]), HEAD_ONLY, FULL).value > 1


def test_it_is_not_defined_where_full_is_not_clearly_above_head_only():
    level = HEAD_ONLY[[1, 2, 0]]  # another order of seeds: on average the same
    recovered = recovered_performance(FULL, HEAD_ONLY, level)
    assert (recovered.value, recovered.low, recovered.high) == (None, None, None)


def test_one_bad_seed_of_full_fine_tuning_widens_the_interval():
    uneven = answers([0.8, 0.82, 0.6])
    method = answers([0.7, 0.72, 0.71])
    steady = recovered_performance(method, HEAD_ONLY, FULL)
    shaken = recovered_performance(method, HEAD_ONLY, uneven)
    assert shaken.high - shaken.low > steady.high - steady.low


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    # 0.5 -> 0.7 of 0.5 -> 0.9: half is recovered. Few examples and repetitions: a rough count is enough.
    covered = 0
    for repetition in range(50):
        generator = np.random.default_rng(repetition)
        head_only, method, full = (generator.random((3, 200)) < accuracy for accuracy in (0.5, 0.7, 0.9))
        recovered = recovered_performance(method, head_only, full)
        covered += recovered.low <= 0.5 <= recovered.high
    assert covered >= 44


def test_equal_data_gives_an_equal_interval():
    method = answers([0.7, 0.7, 0.7])
    assert recovered_performance(method, HEAD_ONLY, FULL) == recovered_performance(method, HEAD_ONLY, FULL)


def test_unlike_shapes_are_refused_with_a_sentence():
    with pytest.raises(ValueError, match="same seeds and test examples"):
        recovered_performance(HEAD_ONLY[:2], HEAD_ONLY, FULL)


# ---- the file


@pytest.fixture
def evaluation() -> Evaluation:
    spec = {
        "task": "bbc_headlines", "method": "plain", "size": None, "base": "someone/base", "steps": 100, "seed": 0,
        "batch_size": 16, "examples": 160, "schedule": "linear", "learning_rate": 0.05, "head_learning_rate": 0.006,
    }  # fmt: skip
    return Evaluation(
        spec=spec,
        command="svft train --task bbc_headlines",
        task_title="Topic of a BBC headline",
        labels=["business", "tech"],
        budget=13824,
        steps=100,
        n_test=800,
        accuracy=0.82,
        low=0.79,
        high=0.845,
        dial=pd.DataFrame({"alpha": [0.0, 1.0], "accuracy": [0.69, 0.82], "low": [0.66, 0.79], "high": [0.72, 0.84]}),
        seeds=[0, 1],
        accuracies={"head_only": [0.5, 0.52], "full": [0.83, 0.84], "plain": [0.82, 0.83]},
        recovered=0.97,
        recovered_low=0.9,
        recovered_high=1.04,
    )


def test_an_evaluation_survives_its_file(evaluation, tmp_path):
    evaluation.write(tmp_path)
    read = read_evaluation(tmp_path)
    pd.testing.assert_frame_equal(read.dial, evaluation.dial)
    assert read.accuracies == evaluation.accuracies
    assert (read.accuracy, read.recovered, read.spec) == (0.82, 0.97, evaluation.spec)
    assert math.isclose(read.mean_accuracy("full"), 0.835)
    assert read.mean_accuracy("lora") is None


def test_the_file_says_that_alpha_0_is_not_head_only(evaluation, tmp_path):
    evaluation.write(tmp_path)
    assert "same head with M off, not the head-only baseline" in (tmp_path / "evaluation.json").read_text()


@pytest.mark.parametrize("content", [None, "{", "[]", '{"colour": "red"}'])
def test_a_missing_or_broken_file_is_no_evaluation(content, tmp_path):
    if content is not None:
        (tmp_path / "evaluation.json").write_text(content)
    assert read_evaluation(tmp_path) is None


# ---- the card


def test_the_card_states_base_command_seed_accuracy_and_recovered_performance(evaluation):
    card = model_card(evaluation)
    assert "base_model: someone/base" in card
    assert "Command: `svft train --task bbc_headlines`" in card
    assert "Seed: 0" in card
    assert "82.0% (95% interval 79.0% to 84.5%, Wilson)" in card
    assert "| full fine-tuning | 83.5% | 83.0%, 84.0% |" in card
    assert "Recovered performance: 97% (95% interval 90% to 104%" in card
    assert "(α = 0) the same head reaches 69.0%" in card


def test_the_card_says_where_recovered_performance_is_not_defined(evaluation):
    from dataclasses import replace

    card = model_card(replace(evaluation, recovered=None, recovered_low=None, recovered_high=None))
    assert "not defined, because full fine-tuning is not clearly above head only" in card
