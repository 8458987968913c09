"""What runs of a race say about SVFT and LoRA: one student's, and those of a class together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from analysis.lessons.answers import Answer
from analysis.trials.results import Answers, Difference, points
from analysis.trials.study import Study

ABOVE, BELOW, OPEN = "It is above", "It is below", "They cannot be told apart"
OUTCOMES = (ABOVE, BELOW, OPEN)


def outcome(difference: Difference) -> str:
    """Return which of `OUTCOMES` a difference is."""
    return OPEN if not difference.clear else ABOVE if difference.value > 0 else BELOW


def check_outcome(given: str, difference: Difference) -> Answer:
    """Return the reply to someone's reading of a difference."""
    right = outcome(difference)
    sentence = f"the difference is {points(difference.value)} points, {difference.words}"
    if given == right:
        why = "an interval that contains 0 decides nothing" if right == OPEN else "the interval lies on one side of 0"
        return Answer(True, f"Right: {sentence}; {why}.")
    if right == OPEN:
        return Answer(
            False, f"Look at the interval, not at the dot: {sentence}. It contains 0, so no difference is shown."
        )
    if given == OPEN:
        return Answer(False, f"They can: {sentence}. All of it lies on one side of 0.")
    return Answer(False, f"The other way round: {sentence}.")


def plan_key(study: Study) -> str:
    """Return what two studies share that differ by their seeds alone."""
    return replace(study, seeds=(0,)).to_link()


def pool(results: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the trials of several studies of one plan as those of one study: of two of one label and seed, the first.

    Args:
        results: `analysis.trials.store.Store.results` of each.
    """
    trials = pd.concat(list(results), ignore_index=True).drop_duplicates(["label", "seed"], ignore_index=True)
    return trials.assign(trial=np.arange(len(trials)))


def growth(trials: pd.DataFrame, truth: np.ndarray, label: str, reference: str) -> pd.DataFrame:
    """Return how the difference of two configurations settles as one run after another is pooled.

    Args:
        trials: See `analysis.trials.results`, with a seed for each run.
        truth: See there.
        label: The configuration.
        reference: The one that it is compared with.

    Columns:
        runs: How many runs are pooled, from 1.
        seed: Of the run that came last.
        difference, low, high: Of that run alone, in points, with the 95% interval of the test examples.
        pooled, pooled_low, pooled_high: Of all runs so far, with the 95% interval of seeds and test examples.
    """
    rows = []
    seeds = Answers(trials, truth).seeds(label, reference) if {label, reference} <= set(trials["label"]) else []
    for runs, seed in enumerate(seeds, start=1):
        alone = Answers(trials[trials["seed"] == seed], truth).difference(label, reference)
        so_far = Answers(trials[trials["seed"].isin(seeds[:runs])], truth).difference(label, reference)
        assert alone is not None  # both configurations have this seed
        assert so_far is not None
        rows.append((runs, seed, alone.value, alone.low, alone.high, so_far.value, so_far.low, so_far.high))
    columns = ["runs", "seed", "difference", "low", "high", "pooled", "pooled_low", "pooled_high"]
    return pd.DataFrame(rows, columns=columns)
