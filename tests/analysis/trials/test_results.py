"""Statistics of finished trials: against brute force and known truths, and what they do not say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_1samp

from analysis.common.errors import UserError
from analysis.training.evaluation import recovered_performance, wilson_interval
from analysis.trials.results import (
    Answers,
    confusion,
    disagreements,
    front,
    paired_differences,
    seeds_needed,
    summarize,
)
from tests.analysis.trials.outcomes import study, trials_from

TRIALS, TRUTH = study(seeds=3, n=300)


def answers_of(trials, label):
    """Return right or wrong, (seeds, n), read off the table."""
    return np.array([predicted == TRUTH for predicted in trials.loc[trials["label"] == label, "predicted"]])


def rows_of(*accuracies, n=400, seeds=1):
    """Return answers, (seeds, n), of which the first share is right: nested, so that differences are exact."""
    return [np.tile(np.arange(n) < round(accuracy * n), (seeds, 1)) for accuracy in accuracies]


def two(first, second, names=("SVFT plain", "LoRA r=1")):
    """Return trials of two configurations from their answers, (seeds, n)."""
    truth = np.arange(first.shape[1]) % 3
    return trials_from(dict(zip(names, (first, second))), truth), truth


# ---- what was forgotten


def forgotten(*drifts):
    """Return the trials of one configuration with these drifts, one a seed."""
    answers = np.ones((len(drifts), 40), bool)
    truth = np.zeros(40, int)
    return trials_from({"SVFT plain": answers}, truth).assign(
        drift=drifts, neighbours_changed=0.25, retrieval=0.5, retrieval_before=0.75
    ), truth


def test_the_interval_of_a_drift_is_student_s_over_the_seeds():
    row = summarize(*forgotten(0.1, 0.2, 0.3)).loc[0]
    low, high = ttest_1samp([0.1, 0.2, 0.3], 0).confidence_interval(0.95)
    assert (row["drift"], row["drift_low"], row["drift_high"]) == pytest.approx((0.2, low, high))
    assert row[["neighbours_changed", "retrieval", "retrieval_before"]].tolist() == [0.25, 0.5, 0.75]


def test_a_seed_without_a_drift_does_not_count_and_one_alone_has_no_interval():
    assert summarize(*forgotten(0.1, np.nan, 0.3)).loc[0, "drift"] == pytest.approx(0.2)
    for drifts, expected in (((0.1, np.nan), 0.1), ((np.nan, np.nan), np.nan)):
        row = summarize(*forgotten(*drifts)).loc[0]
        assert row["drift"] == pytest.approx(expected, nan_ok=True)
        assert np.isnan([row["drift_low"], row["drift_high"]]).all()


def test_trials_of_before_it_was_measured_have_none():
    assert summarize(TRIALS, TRUTH)[["drift", "drift_low", "retrieval"]].isna().all(axis=None)


# ---- one row per configuration


def test_a_configuration_is_the_mean_of_its_seeds_and_rows_ascend_in_parameters():
    table = summarize(TRIALS, TRUTH)
    assert table["parameters"].is_monotonic_increasing
    assert set(table["label"]) == set(TRIALS["label"])
    assert (table["seeds"] == 3).all()
    for row in table.itertuples():
        of_label = TRIALS[TRIALS["label"] == row.label]
        assert row.accuracy == pytest.approx(of_label["accuracy"].mean())
        assert row.effective_rank == pytest.approx(of_label["effective_rank"].mean())
        assert row.low < row.accuracy < row.high


def test_recovered_performance_is_that_of_evaluation():
    row = summarize(TRIALS, TRUTH).set_index("label").loc["SVFT plain"]
    expected = recovered_performance(
        *(answers_of(TRIALS, label) for label in ("SVFT plain", "head only", "full fine-tuning"))
    )
    assert tuple(row[["recovered", "recovered_low", "recovered_high"]]) == (
        expected.value,
        expected.low,
        expected.high,
    )


def test_recovered_performance_is_nan_without_a_baseline():
    for missing in ("head_only", "full"):
        table = summarize(TRIALS[TRIALS["method"] != missing], TRUTH)
        assert table[["recovered", "recovered_low", "recovered_high"]].isna().all(axis=None)


def test_one_seed_has_wilsons_interval():
    trials, truth = study(seeds=1, n=200, labels=["SVFT plain"])
    row = summarize(trials, truth).iloc[0]
    assert (row["low"], row["high"]) == pytest.approx(wilson_interval(round(row["accuracy"] * 200), 200))


# ---- paired differences


def test_differences_are_in_points_best_first_and_without_the_reference():
    table = paired_differences(TRIALS, TRUTH, "LoRA r=1")
    assert "LoRA r=1" not in set(table["label"])
    assert table["difference"].is_monotonic_decreasing
    for row in table.itertuples():
        expected = answers_of(TRIALS, row.label).mean() - answers_of(TRIALS, "LoRA r=1").mean()
        assert row.difference == pytest.approx(100 * expected)
        assert row.low <= row.difference <= row.high
        assert row.clear == (row.low > 0 or row.high < 0)


def test_a_difference_turns_its_sign_with_its_sides():
    answers = Answers(TRIALS, TRUTH)
    there, back = (answers.difference(*pair) for pair in (("SVFT plain", "LoRA r=1"), ("LoRA r=1", "SVFT plain")))
    assert (there.value, there.low, there.high) == pytest.approx((-back.value, -back.high, -back.low))


def test_with_one_seed_the_interval_is_that_of_paired_examples_and_is_flagged():
    generator = np.random.default_rng(0)
    first, second = (generator.random((1, 2000)) < p for p in (0.8, 0.7))
    row = paired_differences(*two(first, second), "LoRA r=1").iloc[0]
    gain = 100 * (first.astype(float) - second)
    error = gain.std() / np.sqrt(2000)
    assert row["examples_only"]
    assert (row["low"], row["high"]) == pytest.approx(
        (gain.mean() - 1.96 * error, gain.mean() + 1.96 * error), abs=0.1 * error
    )


def test_what_all_examples_share_cancels_in_a_pair():
    # One is right wherever the other is and on 10 points more: the accuracies' intervals overlap, that of the pair is
    # narrow.
    trials, truth = two(*rows_of(0.6, 0.5, n=100))
    row = paired_differences(trials, truth, "LoRA r=1").iloc[0]
    table = summarize(trials, truth).set_index("label")
    assert table.at["SVFT plain", "low"] < table.at["LoRA r=1", "high"]
    assert row["low"] > 0


def test_only_seeds_that_both_have_are_compared():
    half = TRIALS[(TRIALS["label"] != "LoRA r=1") | (TRIALS["seed"] == 2)]
    row = paired_differences(half, TRUTH, "LoRA r=1").set_index("label").loc["SVFT plain"]
    expected = answers_of(TRIALS, "SVFT plain")[2].mean() - answers_of(TRIALS, "LoRA r=1")[2].mean()
    assert (row["seeds"], row["examples_only"]) == (1, True)
    assert row["difference"] == pytest.approx(100 * expected)


def test_configurations_without_a_shared_seed_are_not_compared():
    apart = TRIALS[(TRIALS["label"] == "LoRA r=1") == (TRIALS["seed"] == 0)]
    table = paired_differences(apart, TRUTH, "LoRA r=1")
    assert table.empty
    assert table["clear"].dtype == bool  # else a figure that filters by it would lose its columns
    assert Answers(apart, TRUTH).difference("SVFT plain", "LoRA r=1") is None


@given(st.permutations(range(39)))
@settings(max_examples=10)
def test_the_order_of_rows_does_not_matter(order):
    shuffled = TRIALS.iloc[list(order)]
    columns = ["label", "difference", "low", "high"]
    expected = paired_differences(TRIALS, TRUTH, "LoRA r=1")[columns].sort_values("label", ignore_index=True)
    actual = paired_differences(shuffled, TRUTH, "LoRA r=1")[columns].sort_values("label", ignore_index=True)
    assert actual.equals(expected)


def test_a_correction_for_more_comparisons_is_stricter():
    difference = Answers(*two(*rows_of(0.56, 0.54))).difference("SVFT plain", "LoRA r=1")
    assert difference.clear
    assert difference.clear_among(1)
    assert not difference.clear_among(1000)


# ---- the front


def test_the_front_takes_in_only_what_is_clearly_above_its_last_member():
    head, plain, lora, banded, full = rows_of(0.5, 0.7, 0.702, 0.72, 0.9)
    names = ("head only", "SVFT plain", "LoRA r=1", "SVFT banded d=4", "full fine-tuning")
    truth = np.arange(400) % 3
    trials = trials_from(dict(zip(names, (head, plain, lora, banded, full))), truth)
    # 0.702 is one example above 0.7: not clear. 0.72 is 8 examples above, and none below.
    assert front(trials, truth) == ["head only", "SVFT plain", "SVFT banded d=4", "full fine-tuning"]


def test_more_parameters_that_make_it_worse_do_not_join():
    trials, truth = two(*rows_of(0.8, 0.6))
    assert front(trials, truth) == ["SVFT plain"]


@pytest.mark.parametrize("seeds", [1, 3])
def test_an_interval_without_an_example_that_differs_is_not_0_points_wide(seeds):
    trials, truth = two(*rows_of(0.8, 0.8, n=200, seeds=seeds))
    actual = Answers(trials, truth).difference("SVFT plain", "LoRA r=1")
    assert actual.value == 0
    # Of 200 examples none differed: with a rate of 3 in 200, that would still happen in one case of twenty.
    assert -1.5 < actual.low < -0.8
    assert 0.8 < actual.high < 1.5
    assert actual.error > 0


@given(st.integers(0, 6), st.integers(0, 6), st.integers(0, 2**31))
@settings(max_examples=30)
def test_few_differing_examples_leave_a_wide_interval_and_many_leave_the_bootstrap_alone(better, worse, seed):
    n = 400
    first, second = np.zeros((1, n), bool), np.zeros((1, n), bool)
    first[0, :better], second[0, better : better + worse] = True, True
    actual = Answers(*two(first, second)).difference("SVFT plain", "LoRA r=1")
    assert actual.low <= actual.value <= actual.high
    assert actual.high - actual.low > 1.3  # 2·1.96·√2/402, in points
    if abs(better - worse) < 3:
        assert not actual.clear


def test_an_interval_of_rare_differences_holds_the_truth_in_95_of_100_cases():
    generator, held = np.random.default_rng(5), 0
    for _ in range(300):
        differs, sides = generator.random((1, 200)) < 0.02, generator.random((1, 200)) < 0.75
        actual = Answers(*two(differs & sides, differs & ~sides)).difference("SVFT plain", "LoRA r=1")
        held += actual.low <= 100 * 0.02 * 0.5 <= actual.high
    assert held / 300 > 0.92


# ---- how many more seeds


def test_what_is_clear_needs_no_more_seeds_but_one_seed_never_settles_it():
    assert seeds_needed(*two(*rows_of(0.8, 0.6, seeds=2)), "SVFT plain", "LoRA r=1") == 0
    assert seeds_needed(*two(*rows_of(0.8, 0.6, seeds=1)), "SVFT plain", "LoRA r=1") == 1


def test_no_number_of_seeds_finds_a_difference_that_is_not_there():
    same = np.random.default_rng(0).random((3, 400)) < 0.7
    assert seeds_needed(*two(same, same), "SVFT plain", "LoRA r=1") is None


def test_more_seeds_do_not_help_where_the_examples_decide():
    # Each seed says the same: 12 examples for one, 8 for the other. Only other examples could tell.
    first, second = rows_of(0.5, 0.5, seeds=4)
    second[:, :12] = False
    second[:, -8:] = True
    assert seeds_needed(*two(first, second), "SVFT plain", "LoRA r=1") is None


def test_the_number_of_seeds_advised_makes_the_interval_exclude_zero_about_as_often_as_not():
    # What one seed answers on one example is chance alone here; 4 points apart, 150 examples.
    def draw(generator, seeds):
        return [generator.random((seeds, 150)) < accuracy for accuracy in (0.82, 0.78)]

    advice = []
    for repetition in range(60):
        trials, truth = two(*draw(np.random.default_rng(repetition), 2))
        advice.append(seeds_needed(trials, truth, "SVFT plain", "LoRA r=1"))
    typical = 2 + int(np.median([51 if more is None else more for more in advice]))
    clear = 0
    for repetition in range(60):
        trials, truth = two(*draw(np.random.default_rng(1000 + repetition), typical))
        clear += Answers(trials, truth).difference("SVFT plain", "LoRA r=1").clear
    assert 0.15 < clear / 60 < 0.9


# ---- where they disagree


def test_disagreements_are_the_examples_of_one_seed_with_unlike_predictions():
    texts = [f"text {place}" for place in range(len(TRUTH))]
    table = disagreements(TRIALS, TRUTH, "SVFT plain", "LoRA r=1", texts)
    both = TRIALS.set_index(["label", "seed"])["predicted"]
    expected = sum((both["SVFT plain", seed] != both["LoRA r=1", seed]).sum() for seed in range(3))
    assert len(table) == expected > 0
    for row in table.itertuples():
        assert row.input == texts[row.example]
        assert row.truth == TRUTH[row.example]
        assert row.predicted_a == both["SVFT plain", row.seed][row.example] != row.predicted_b


def test_confusion_counts_each_true_label_once_a_seed():
    table = confusion(TRIALS, TRUTH, "LoRA r=1")
    np.testing.assert_allclose(table.sum(axis=1), np.bincount(TRUTH))
    accuracy = np.trace(table) / len(TRUTH)
    assert accuracy == pytest.approx(TRIALS.loc[TRIALS["label"] == "LoRA r=1", "accuracy"].mean())


# ---- what is refused


def test_trials_of_two_tasks_are_refused():
    mixed = TRIALS.assign(task=np.where(TRIALS["seed"] == 0, "bbc_headlines", "airline_tweets"))
    with pytest.raises(UserError, match="one task"):
        summarize(mixed, TRUTH)


def test_two_trials_of_one_configuration_and_seed_are_refused():
    with pytest.raises(UserError, match="two trials of LoRA r=1 with seed 0"):
        summarize(TRIALS[TRIALS["label"] == "LoRA r=1"].assign(seed=0), TRUTH)


def test_predictions_of_another_test_split_are_refused():
    with pytest.raises(UserError, match="300 predictions for 299"):
        summarize(TRIALS, TRUTH[1:])
