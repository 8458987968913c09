"""What finished trials say, in words. Light: no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.training.methods import svft_patterns
from analysis.trials.results import MORE_SEEDS, Answers, Difference, points, seeds_needed

LORA_FAMILY = ("lora", "dora")

HOLDS, DOES_NOT_HOLD, OPEN = "holds", "does not hold", "not distinguishable"


@dataclass(frozen=True)
class Verdict:
    """What a study says.

    Attributes:
        headline: The comparison that the budgets alone choose, before any result: the SVFT configuration and the LoRA
            one that are nearest in parameters.
        details: Further sentences.
        more_seeds: About how many more seeds the headline's comparison needs; None if it is clear with
            two seeds or more, and if 50 would not do.
        pair: The SVFT configuration and the LoRA one of the headline; None if one is missing.
    """

    headline: str
    details: list[str]
    more_seeds: int | None = None
    pair: tuple[str, str] | None = None


def verdict(summary: pd.DataFrame, trials: pd.DataFrame, truth: np.ndarray) -> Verdict:
    """Return the verdict on a study.

    Args:
        summary: Of `analysis.trials.results.summarize`.
        trials: See `analysis.trials.results`.
        truth: See there.
    """
    if summary.empty:
        return Verdict("No trial has finished yet.", [])
    answers, table = Answers(trials, truth), summary.set_index("label")
    pair = _declared_pair(table, answers)
    if pair is None:
        best = table["accuracy"].idxmax()
        return Verdict(
            f"{best} has the highest accuracy, {table.at[best, 'accuracy']:.1%}.",
            ["A verdict on SVFT needs an SVFT pattern and LoRA with the same seed.", *_on_full(table, answers)],
        )
    label, reference = pair
    difference = answers.difference(label, reference)
    assert difference is not None  # a declared pair shares a seed
    more = seeds_needed(trials, truth, label, reference) or None
    declared = (
        f"They train {table.at[label, 'parameters']:,} and {table.at[reference, 'parameters']:,} parameters: of all "
        "SVFT and LoRA configurations the nearest, chosen by their budgets and not by their results."
    )
    details = [declared, *_on_best(table, answers, label), *_on_full(table, answers)]
    return Verdict(_headline(label, reference, difference, more), details, more, pair)


def claim(trials: pd.DataFrame, truth: np.ndarray) -> pd.DataFrame:
    """Return where the paper's central claim holds: at equal or smaller budget, SVFT recovers more than LoRA or DoRA.

    Recovered performance rises with accuracy, between the same head only and full fine-tuning: so one row compares the
    accuracies of an SVFT configuration and of one of LoRA or DoRA with at least as many parameters.

    Columns:
        label, parameters: The SVFT configuration.
        reference, reference_parameters: The one of LoRA or DoRA.
        difference, low, high: Accuracy of the former minus that of the latter, in points, with the 95% interval.
        seeds: That both have.
        outcome: "holds" if the interval lies above 0, "does not hold" if it lies below, else "not
            distinguishable".
        corrected: Whether it still excludes 0 at the level 1 − 0.05/rows (Bonferroni).
    """
    answers = Answers(trials, truth)
    configurations = trials.drop_duplicates("label").sort_values("parameters", kind="stable")
    patterns = configurations[configurations["method"].isin(svft_patterns())]
    family = configurations[configurations["method"].isin(LORA_FAMILY)]
    comparisons = [
        (label, parameters, reference, most, difference)
        for label, parameters in zip(patterns["label"], patterns["parameters"])
        for reference, most in zip(family["label"], family["parameters"])
        if most >= parameters and (difference := answers.difference(label, reference)) is not None
    ]
    rows = [
        (*pair, d.value, d.low, d.high, d.seeds, _outcome(d), d.clear_among(len(comparisons)))
        for *pair, d in comparisons
    ]
    columns = ["label", "parameters", "reference", "reference_parameters"]
    return pd.DataFrame(rows, columns=[*columns, "difference", "low", "high", "seeds", "outcome", "corrected"])


def claim_sentence(table: pd.DataFrame) -> str:
    """Return the table of `claim` in words, with how many comparisons were made."""
    if table.empty:
        return "No SVFT pattern finished alongside a LoRA or DoRA of equal or larger budget with the same seed."
    made, counts = len(table), table["outcome"].value_counts().reindex([HOLDS, DOES_NOT_HOLD, OPEN], fill_value=0)
    kept = int(((table["outcome"] == HOLDS) & table["corrected"]).sum())
    corrected = f"; corrected for their number, {kept} of the {counts[HOLDS]} stay above" if counts[HOLDS] else ""
    alone = " Some have one seed: their intervals cover the test examples alone." if table["seeds"].min() == 1 else ""
    return (
        f"At equal or smaller budget SVFT is above LoRA or DoRA in {counts[HOLDS]} of {made} comparisons, below in "
        f"{counts[DOES_NOT_HOLD]}, and cannot be told apart in {counts[OPEN]}. Among {made}, chance alone would make "
        f"about {0.05 * made:.1f} look clear{corrected}.{alone}"
    )


def forgetting_sentence(summary: pd.DataFrame, words: str) -> str:
    """Return what was forgotten elsewhere, in words.

    Args:
        summary: Of `analysis.trials.results.summarize`.
        words: `analysis.training.forgetting.Elsewhere.words`.
    """
    table = summary.dropna(subset=["drift"])
    table = table[table["method"] != "head_only"].sort_values("drift", kind="stable")  # a head moves no hidden state
    if table.empty:
        return "What was forgotten elsewhere was not measured."
    least, most = table.iloc[0], table.iloc[-1]
    where = f"On {words}, on which nothing was trained, {least['label']} moved the embeddings"
    changed = "of their nearest neighbours changed."
    if len(table) == 1:
        distance = f"by a mean cosine distance of {least['drift']:.2g}"
        return f"{where} {distance}; {least['neighbours_changed']:.0%} {changed}"
    apart = least["drift_high"] < most["drift_low"]
    doubt = "" if apart else ", which these seeds do not tell apart"
    return (
        f"{where} least (mean cosine distance {least['drift']:.2g}) and {most['label']} most ({most['drift']:.2g})"
        f"{doubt}; {least['neighbours_changed']:.0%} and {most['neighbours_changed']:.0%} {changed}"
    )


def _outcome(difference: Difference) -> str:
    return OPEN if not difference.clear else HOLDS if difference.value > 0 else DOES_NOT_HOLD


def _declared_pair(table: pd.DataFrame, answers: Answers) -> tuple[str, str] | None:
    """Return the SVFT configuration and the LoRA one nearest in parameters, by nothing that was measured.

    DoRA stands in if there is no LoRA. Of pairs within 10%, the one of fewest parameters is taken, and of those
    the first pattern in the order of `svft_patterns`.
    """

    def distance(of: Any, to: Any) -> float:  # rows of the table
        return max(abs(math.log(of.parameters / to.parameters)), math.log(1.1))

    for method in LORA_FAMILY:
        pairs = [
            (
                distance(of, to),
                to.parameters,
                svft_patterns().index(of.method),
                of.Index,
                to.Index,
            )
            for of in table[table["method"].isin(svft_patterns())].itertuples()
            for to in table[table["method"] == method].itertuples()
            if answers.seeds(of.Index, to.Index)
        ]
        if pairs:
            return min(pairs)[-2:]
    return None


def _headline(label: str, reference: str, difference: Difference, more: int | None) -> str:
    sentence = _compare(label, reference, difference)
    seeds = f"about {more} more {'seed' if more == 1 else 'seeds'}"
    if difference.seeds == 1:
        sentence += " on these test examples, with one seed"
    if difference.clear:
        ending = f"; {seeds} would show whether it holds for others." if difference.seeds == 1 else "."
        return sentence + ending
    if not more:
        return f"{sentence}; if it stays as it is, {MORE_SEEDS} more seeds would not change that."
    return f"{sentence}; if it stays as it is, {seeds} would tell them apart with a chance of about one in two."


def _compare(label: str, reference: str, difference: Difference) -> str:
    """Return how two configurations compare, without a full stop."""
    if not difference.clear:
        between = f"the difference is between {points(difference.low)} and {points(difference.high)} points"
        return f"{label} and {reference} cannot be told apart: {between}"
    low, high = sorted((abs(difference.low), abs(difference.high)))
    side = "above" if difference.value > 0 else "below"
    return f"{label} is {side} {reference} by {points(low)} to {points(high)} points"


def _on_best(table: pd.DataFrame, answers: Answers, declared: str) -> list[str]:
    """Return the sentence on the best SVFT configuration against the LoRA nearest to it, if it is another one."""
    patterns = table[table["method"].isin(svft_patterns())]
    best = patterns["accuracy"].idxmax()
    nearest = _declared_pair(pd.concat([table.loc[[best]], table[table["method"].isin(LORA_FAMILY)]]), answers)
    if best == declared or nearest is None:
        return []
    difference = answers.difference(*nearest)
    assert difference is not None  # a declared pair shares a seed
    still = "stays clear" if difference.clear_among(len(patterns)) else "is no longer clear"
    ending = f"; it {still} when corrected for that" if difference.clear else ""
    chosen = f"It is the best of {len(patterns)} SVFT configurations, chosen by the result{ending}."
    return [f"{_compare(*nearest, difference)}. {chosen}"]


def _on_full(table: pd.DataFrame, answers: Answers) -> list[str]:
    """Return the sentences on the best SVFT configuration against full fine-tuning, and what it recovers of it."""
    patterns, full = table[table["method"].isin(svft_patterns())], table.index[table["method"] == "full"]
    if patterns.empty:
        return []
    best = patterns["accuracy"].idxmax()
    row = table.loc[best]
    sentences = []
    if len(full) and (difference := answers.difference(best, full[0])) is not None:
        share = row["parameters"] / table.at[full[0], "parameters"]
        sentences.append(f"{_compare(best, full[0], difference)}; it trains {share:.2%} of its parameters.")
    if not math.isnan(row["recovered"]):
        recovered = (f"{row[name]:.0%}".replace("-", "−") for name in ("recovered", "recovered_low", "recovered_high"))
        value, low, high = recovered
        sentences.append(
            f"{best} recovers {value} of what full fine-tuning gains over head only (95% interval {low} to {high})."
        )
    elif len(full) and (table["method"] == "head_only").any():
        sentences.append("Recovered performance is not defined: full fine-tuning is not clearly above head only.")
    else:
        sentences.append("Recovered performance needs head only and full fine-tuning in the study.")
    return sentences
