"""The verdict in words: which comparison it takes, and what it says of it."""

import numpy as np
import pytest

from analysis.trials.results import summarize
from analysis.trials.verdict import claim, claim_sentence, forgetting_sentence, verdict
from tests.analysis.trials.outcomes import study, trials_from

PLAIN, BANDED, LORA = "SVFT plain", "SVFT banded d=1", "LoRA r=1"
HEAD_ONLY, FULL = "head only", "full fine-tuning"


def shares(n=800, seeds=3, **accuracies):
    """Return trials and truth: of each configuration the first share of the examples is right, with every seed."""
    names = {"plain": PLAIN, "banded": BANDED, "lora": LORA, "head_only": HEAD_ONLY, "full": FULL}
    truth = np.arange(n) % 4
    right = {names[key]: np.tile(np.arange(n) < round(a * n), (seeds, 1)) for key, a in accuracies.items()}
    return trials_from(right, truth), truth


def judge(trials, truth):
    return verdict(summarize(trials, truth), trials, truth)


# ---- the headline


def test_clearly_above_is_said_with_the_interval():
    judged = judge(*shares(banded=0.84, lora=0.8))
    assert judged.headline.startswith("SVFT banded d=1 is above LoRA r=1 by 2.")
    assert judged.headline.endswith(" points.")
    assert judged.more_seeds is None


def test_clearly_below_is_said_as_plainly():
    assert "SVFT banded d=1 is below LoRA r=1 by 2." in judge(*shares(banded=0.8, lora=0.84)).headline


def test_what_cannot_be_told_apart_comes_with_the_number_of_seeds_that_would():
    generator = np.random.default_rng(3)
    truth = np.arange(300) % 4
    right = {BANDED: generator.random((2, 300)) < 0.82, LORA: generator.random((2, 300)) < 0.79}
    judged = judge(trials_from(right, truth), truth)
    assert "cannot be told apart: the difference is between −" in judged.headline
    assert judged.more_seeds > 0
    assert f"about {judged.more_seeds} more seed" in judged.headline


def test_where_no_number_of_seeds_would_help_it_says_so():
    judged = judge(*shares(banded=0.8, lora=0.8))
    assert judged.headline.endswith("50 more seeds would not change that.")
    assert judged.more_seeds is None


def test_one_seed_is_never_the_last_word():
    judged = judge(*shares(banded=0.84, lora=0.8, seeds=1))
    assert "on these test examples, with one seed" in judged.headline
    assert judged.more_seeds >= 1
    assert f"about {judged.more_seeds} more seed" in judged.headline


def test_the_headline_s_pair_is_nearest_in_parameters_whatever_the_results():
    for plain in (0.5, 0.95):
        assert judge(*shares(plain=plain, banded=0.8, lora=0.7)).pair == (BANDED, LORA)


def test_patterns_of_equal_budget_stand_in_for_each_other_in_a_fixed_order():
    trials, truth = study(seeds=2, n=200)
    for rows in (trials, trials.iloc[::-1]):  # random and top_k meet LoRA's budget exactly, banded within 10%
        assert judge(rows, truth).headline.startswith(BANDED)


def test_without_lora_the_most_accurate_one_is_named():
    judged = judge(*shares(plain=0.8, head_only=0.6, full=0.7))
    assert judged.headline == "SVFT plain has the highest accuracy, 80.0%."
    assert "needs an SVFT pattern and LoRA" in judged.details[0]
    assert judged.pair is None


def test_nothing_finished_is_said():
    trials, truth = shares(plain=0.8)
    assert "No trial has finished" in verdict(summarize(trials, truth).iloc[:0], trials.iloc[:0], truth).headline


# ---- the details


def test_the_best_pattern_is_compared_too_and_called_chosen_by_the_result():
    details = " ".join(judge(*shares(plain=0.9, banded=0.8, lora=0.78)).details)
    assert "SVFT plain is above LoRA r=1 by" in details
    assert "the best of 2 SVFT configurations, chosen by the result; it stays clear" in details


def test_recovered_performance_is_told_with_its_interval():
    details = judge(*shares(banded=0.8, lora=0.78, head_only=0.6, full=0.8)).details
    assert "SVFT banded d=1 recovers 100% of what full fine-tuning gains" in details[-1]
    assert any("cannot be told apart" in sentence and "of its parameters" in sentence for sentence in details)


def test_recovered_performance_that_is_not_defined_is_not_told():
    details = judge(*shares(banded=0.8, lora=0.78, head_only=0.8, full=0.8)).details
    assert "not defined: full fine-tuning is not clearly above head only" in details[-1]


def test_missing_baselines_are_named():
    assert "needs head only and full" in judge(*shares(banded=0.8, lora=0.78)).details[-1]


# ---- the paper's central claim


def test_the_claim_compares_each_pattern_with_each_of_lora_and_dora_that_has_no_fewer_parameters():
    trials, truth = study(seeds=2, n=200)
    table = claim(trials, truth)
    assert (table["parameters"] <= table["reference_parameters"]).all()
    parameters = trials.drop_duplicates("label").set_index("label")["parameters"]
    of = trials.drop_duplicates("label").set_index("label")["method"]
    patterns, family = of.index[of.isin(["plain", "banded", "random", "top_k"])], of.index[of.isin(["lora", "dora"])]
    expected = {(a, b) for a in patterns for b in family if parameters[a] <= parameters[b]}
    assert set(zip(table["label"], table["reference"])) == expected


@pytest.mark.parametrize(
    ("banded", "outcome"), [(0.84, "holds"), (0.76, "does not hold"), (0.801, "not distinguishable")]
)
def test_the_claim_holds_only_where_the_interval_lies_above_zero(banded, outcome):
    assert claim(*shares(banded=banded, lora=0.8))["outcome"].tolist() == [outcome]


def test_the_number_of_comparisons_is_said_with_what_chance_would_do():
    table = claim(*study(seeds=2, n=200))
    sentence = claim_sentence(table)
    assert f"of {len(table)} comparisons" in sentence
    assert f"about {0.05 * len(table):.1f} look clear" in sentence
    assert (table["corrected"] & (table["outcome"] == "not distinguishable")).sum() == 0


def test_one_seed_is_named_in_the_claim():
    assert "one seed" in claim_sentence(claim(*shares(banded=0.84, lora=0.8, seeds=1)))
    assert "one seed" not in claim_sentence(claim(*shares(banded=0.84, lora=0.8)))


def test_a_claim_without_a_comparison_is_said():
    assert "No SVFT pattern finished alongside" in claim_sentence(claim(*shares(banded=0.8, head_only=0.6)))


# ---- what was forgotten


def forgot(**drifts):
    """Return a summary with (drift, low, high) of each label."""
    trials, truth = study(seeds=2, n=50, labels=["head only", "SVFT plain", "LoRA r=1", "full fine-tuning"])
    table = summarize(trials, truth).set_index("label")
    for label, values in drifts.items():
        table.loc[label.replace("_", " "), ["drift", "drift_low", "drift_high"]] = values
    return table.assign(neighbours_changed=table["drift"] * 2, retrieval=0.5, retrieval_before=0.6).reset_index()


def test_the_methods_that_moved_embeddings_least_and_most_are_named_head_only_is_not():
    drifts = {"head_only": (0, 0, 0), "SVFT_plain": (0.05, 0.04, 0.06), "full_fine-tuning": (0.3, 0.2, 0.4)}
    assert forgetting_sentence(forgot(**drifts), "200 tweets") == (
        "On 200 tweets, on which nothing was trained, SVFT plain moved the embeddings least (mean cosine distance "
        "0.05) and full fine-tuning most (0.3); 10% and 60% of their nearest neighbours changed."
    )


@pytest.mark.parametrize("low", [0.055, np.nan])  # overlapping; one seed
def test_drifts_that_seeds_do_not_tell_apart_are_said_to_be(low):
    drifts = {"SVFT_plain": (0.05, 0.04, 0.06), "full_fine-tuning": (0.3, low, 0.4)}
    assert "which these seeds do not tell apart" in forgetting_sentence(forgot(**drifts), "200 tweets")


def test_one_method_is_compared_with_none_and_a_head_alone_with_nothing():
    sentence = forgetting_sentence(forgot(SVFT_plain=(0.05, 0.04, 0.06)), "200 tweets")
    assert "SVFT plain moved the embeddings by a mean cosine distance of 0.05" in sentence
    assert "least" not in sentence
    assert forgetting_sentence(forgot(), "200 tweets") == "What was forgotten elsewhere was not measured."
