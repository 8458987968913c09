"""The statistics of finished trials. Light: tables in, tables out, no torch.

`trials` has one row per finished trial of one task: ``trial``, ``task``, ``method``, ``label``, ``seed``,
``parameters`` (trainable, excluding the head), ``accuracy``, ``macro_f1``, ``loss``, ``rank``, ``stable_rank``,
``effective_rank``, ``file_bytes`` and ``predicted``, the predicted label of each test example, (n,) int; if
measured, also what was forgotten elsewhere (`analysis.training.forgetting.Forgetting`). `truth` has the true labels,
(n,) int. Trials of one label have one method and one size: a *configuration*, whose replicates are the
seeds.

All comparisons are paired by seed and by test example, over the seeds that both sides have, with the intervals of
`common.bootstrap`. Differences are in points: hundredths of accuracy. With a single seed an interval covers the
test examples alone and says nothing about another seed; `seeds` tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from analysis.common.bootstrap import interval, resampled_means
from analysis.common.errors import UserError
from analysis.training.evaluation import RecoveredPerformance, recovered_performance, wilson_interval
from analysis.training.forgetting import MEASURES

MORE_SEEDS = 50  # the most that are advised

_RARE = 10  # examples that speak for a side, up to which a bootstrap of them is too narrow
_Z95 = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True)
class Difference:
    """Accuracy of one configuration minus that of another, in points.

    Attributes:
        value: Over the seeds that both have.
        low: Lower end of the 95% interval.
        high: Upper end.
        error: Standard deviation of the bootstrap.
        seeds: That both have; if it is 1, the interval covers the test examples alone.
    """

    value: float
    low: float
    high: float
    error: float
    seeds: int

    @property
    def clear(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low > 0 or self.high < 0

    @property
    def words(self) -> str:
        """The interval in words: "95% interval −0.4 to 3.2", and what it leaves out."""
        alone = ", of the test examples alone: there is one seed" if self.seeds == 1 else ""
        return f"95% interval {points(self.low)} to {points(self.high)}{alone}"

    def clear_among(self, comparisons: int) -> bool:
        """Whether the interval still excludes 0 at the level 1 − 0.05/comparisons (Bonferroni; a normal interval)."""
        return abs(self.value) > NormalDist().inv_cdf(1 - 0.025 / comparisons) * self.error


def points(value: float) -> str:
    """Return a number of points for a sentence, with a true minus sign."""
    return f"{value:.1f}".replace("-0.0", "0.0").replace("-", "−")


class Answers:
    """Which configuration answered which test example right with which seed."""

    def __init__(self, trials: pd.DataFrame, truth: np.ndarray) -> None:
        """Read the predictions.

        Raises:
            UserError: On trials of several tasks, on two of one label and seed, and if the number of predictions
                is not that of `truth`.
        """
        if trials["task"].nunique() > 1:
            raise UserError(f"Trials of one task are compared at a time, not of {', '.join(trials['task'].unique())}.")
        repeated = trials[trials.duplicated(["label", "seed"])]
        if len(repeated):
            first = repeated.iloc[0]
            raise UserError(f"There are two trials of {first['label']} with seed {first['seed']}: keep one of them.")
        self._right: dict[str, dict[int, np.ndarray]] = {}
        for label, seed, predicted in zip(trials["label"], trials["seed"], trials["predicted"]):
            if len(predicted) != len(truth):
                raise UserError(
                    f"{label} with seed {seed} has {len(predicted)} predictions for {len(truth)} test examples."
                )
            self._right.setdefault(label, {})[int(seed)] = predicted == truth

    def seeds(self, *labels: str) -> list[int]:
        """Return the seeds that all of `labels` have, ascending."""
        return sorted(set.intersection(*(set(self._right[label]) for label in labels)))

    def right(self, *labels: str) -> np.ndarray:
        """Return right or wrong, (labels, shared seeds, n) int8, paired by seed and example."""
        seeds = self.seeds(*labels)
        return np.array([[self._right[label][seed] for seed in seeds] for label in labels], dtype=np.int8)

    def difference(self, label: str, reference: str) -> Difference | None:
        """Return the accuracy of `label` minus that of `reference`, None if they share no seed."""
        if not (seeds := self.seeds(label, reference)):
            return None
        gain = np.subtract(*self.right(label, reference))
        draws = 100 * resampled_means(gain)
        low, high = interval(draws)
        rare_low, rare_high, rare_error = _rare_differences(gain)
        return Difference(
            100 * float(gain.mean()),
            min(low, rare_low),
            max(high, rare_high),
            max(float(draws.std()), rare_error),
            len(seeds),
        )

    def recovered(self, label: str, head_only: str | None, full: str | None) -> RecoveredPerformance:
        """Return the recovered performance of `label`; not defined if a baseline or a shared seed is missing."""
        if head_only is None or full is None or not self.seeds(label, head_only, full):
            return RecoveredPerformance(None, None, None)
        return recovered_performance(*self.right(label, head_only, full))


def _rare_differences(gain: np.ndarray) -> tuple[float, float, float]:
    """Return low, high and standard error of a mean difference, in points, that also hold if differences are rare.

    A bootstrap never draws what the sample lacks: without an example on which the two differ, its interval would be 0
    points wide, as if no other example could tell them apart. The adjusted interval of Bonett & Price (2012,
    "Adjusted Wald confidence interval for a difference of binomial proportions based on paired data") adds one example
    to either side. Examples count once, however many seeds answered them.

    Args:
        gain: Right or wrong of one minus that of the other, (seeds, n), of −1, 0 and 1.
    """
    n = gain.shape[1] + 2
    better, worse = (((gain == sign).mean(axis=0).sum() + 1) / n for sign in (1, -1))
    middle, error = better - worse, np.sqrt((better + worse - (better - worse) ** 2) / n)
    if min(better, worse) * n > _RARE:  # the bootstrap has seen enough of both
        return np.inf, -np.inf, 0.0
    return 100 * (middle - _Z95 * error), 100 * (middle + _Z95 * error), 100 * error


def summarize(trials: pd.DataFrame, truth: np.ndarray) -> pd.DataFrame:
    """Return one row per configuration, by ascending number of parameters.

    Columns:
        label, method, parameters: The configuration.
        seeds: Number of finished trials.
        accuracy, low, high: Mean over the seeds with its 95% interval (Wilson's with one seed).
        macro_f1, loss, rank, stable_rank, effective_rank, file_bytes: Means over the seeds.
        recovered, recovered_low, recovered_high: Recovered performance over the seeds that the configuration, head
            only and full fine-tuning share; NaN if it is not defined.
        drift, neighbours_changed, retrieval, retrieval_before: Means over the seeds; NaN if they were not measured.
        drift_low, drift_high: Its 95% interval over the seeds (Student's t); NaN with one seed.
    """
    answers = Answers(trials, truth)
    trials = trials.assign(**{name: np.nan for name in MEASURES if name not in trials})
    means = ["macro_f1", "loss", "rank", "stable_rank", "effective_rank", "file_bytes"]
    groups = trials.groupby("label", sort=False)
    table = groups[["method", "parameters"]].first().assign(seeds=groups.size())
    head_only, full = (next(iter(table.index[table["method"] == method]), None) for method in ("head_only", "full"))
    rows = {}
    for label in table.index:
        right = answers.right(label)[0]
        low, high = (
            wilson_interval(int(right.sum()), right.size) if len(right) == 1 else interval(resampled_means(right))
        )
        recovered = answers.recovered(label, head_only, full)
        rows[label] = (right.mean(), low, high, recovered.value, recovered.low, recovered.high)
    names = ["accuracy", "low", "high", "recovered", "recovered_low", "recovered_high"]
    measured = pd.DataFrame.from_dict(rows, orient="index", columns=names, dtype=float)
    table = table.join(measured[names[:3]]).join(groups[means].mean()).join(measured[names[3:]])
    table = table.join(groups[list(MEASURES)].mean())
    table[["drift_low", "drift_high"]] = [_over_seeds(groups["drift"].get_group(label)) for label in table.index]
    return table.sort_values("parameters", kind="stable").rename_axis("label").reset_index()


def _over_seeds(values: pd.Series) -> tuple[float, float]:
    """Return the 95% interval of a mean over seeds (Student's t), NaN for less than two."""
    values = values.dropna()
    if len(values) < 2:
        return np.nan, np.nan
    half = stdtrit(len(values) - 1, 0.975) * values.std() / np.sqrt(len(values))
    return values.mean() - half, values.mean() + half


def paired_differences(trials: pd.DataFrame, truth: np.ndarray, reference: str) -> pd.DataFrame:
    """Return one row per configuration other than `reference` that shares a seed with it, the best one first.

    Columns:
        label, method, parameters: The configuration.
        difference, low, high: Its accuracy minus the reference's in points, with the 95% interval.
        seeds: That both have.
        examples_only: True with one seed: the interval covers the test examples alone.
        clear: Whether the interval excludes 0. Of many rows, about one in twenty does so by chance.
    """
    answers = Answers(trials, truth)
    rows = []
    for label, method, parameters in trials.drop_duplicates("label")[["label", "method", "parameters"]].to_numpy():
        if label != reference and (difference := answers.difference(label, reference)) is not None:
            d = difference
            rows.append((label, method, parameters, d.value, d.low, d.high, d.seeds, d.seeds == 1, d.clear))
    columns = ["label", "method", "parameters", "difference", "low", "high", "seeds", "examples_only", "clear"]
    table = pd.DataFrame(rows, columns=columns).astype({"clear": bool, "examples_only": bool})
    return table.sort_values("difference", ascending=False, ignore_index=True)


def front(trials: pd.DataFrame, truth: np.ndarray) -> list[str]:
    """Return the labels on the front of accuracy against parameters, by ascending number of parameters.

    Going up in parameters (the more accurate one first if they are equal), a configuration joins only if it is
    above the last one that joined by a paired difference whose interval excludes 0. So head only, which trains nothing
    else, begins the front if it is among the trials, and more parameters count only if they clearly help.
    """
    answers = Answers(trials, truth)
    groups = trials.groupby("label", sort=False).agg(parameters=("parameters", "first"), accuracy=("accuracy", "mean"))
    ordered = groups.sort_values(["parameters", "accuracy"], ascending=[True, False], kind="stable").index
    joined: list[str] = []
    for label in ordered:
        step = answers.difference(label, joined[-1]) if joined else None
        if not joined or (step is not None and step.low > 0):
            joined.append(label)
    return joined


def seeds_needed(trials: pd.DataFrame, truth: np.ndarray, label: str, reference: str) -> int | None:
    """Return about how many more seeds would make the interval of a difference exclude 0, if it stays as it is now.

    The model: the differences of right and wrong of S seeds on n examples are μ + seed + example + rest, three
    independent random parts with variances estimated by two-way analysis of variance. The expected variance of the
    bootstrap is then (Owen 2007, to 1/n)

        seed·(1 − 1/S)/S + example/n + rest·(3 − 2/S)/(S·n),

    and the interval excludes 0 if |μ| exceeds 1.96 times its root. The middle term does not shrink with more seeds.
    With one seed the parts cannot be told apart: all is taken to be rest, and seeds to scatter as much as the sampling
    of examples lets an accuracy scatter. With the number returned, the chances to exclude 0 are about even.

    Returns:
        0 if the interval of two seeds or more excludes 0 already; None if more than `MORE_SEEDS` would be
        needed, if no number would do, and if the two share no seed.
    """
    answers = Answers(trials, truth)
    difference = answers.difference(label, reference)
    if difference is None:
        return None
    if difference.clear and difference.seeds > 1:
        return 0
    pair = answers.right(label, reference)
    gain = (pair[0] - pair[1]).astype(float)
    by_seed, by_example, rest = _variance_parts(gain)
    n = gain.shape[1]
    for more in range(1, MORE_SEEDS + 1):
        seeds = difference.seeds + more
        variance = by_seed * (1 - 1 / seeds) / seeds + by_example / n + rest * (3 - 2 / seeds) / (seeds * n)
        if abs(gain.mean()) > _Z95 * np.sqrt(variance):
            return more
    return None


def _variance_parts(gain: np.ndarray) -> tuple[float, float, float]:
    """Return the variances between seeds, between examples, and of the rest, of `gain` (seeds, n)."""
    seeds, n = gain.shape
    if seeds == 1:
        rest = float(gain.var(ddof=1))
        return rest / n, 0.0, rest
    of_seed, of_example = gain.mean(axis=1, keepdims=True), gain.mean(axis=0, keepdims=True)
    rest = float(((gain - of_seed - of_example + gain.mean()) ** 2).sum() / ((seeds - 1) * (n - 1)))
    by_seed = float(of_seed.var(ddof=1)) - rest / n
    by_example = float(of_example.var(ddof=1)) - rest / seeds
    return max(by_seed, 0.0), max(by_example, 0.0), rest


def disagreements(trials: pd.DataFrame, truth: np.ndarray, a: str, b: str, inputs: Sequence[Any]) -> pd.DataFrame:
    """Return the test examples to which two configurations trained with the same seed give different labels.

    Columns:
        seed: Of both trials.
        example: Its place in the test split.
        input: Text or image.
        truth: True label, an index into the task's labels.
        predicted_a, predicted_b: Predicted labels.
    """
    both = trials.set_index(["label", "seed"])["predicted"]
    rows = [
        (seed, place, inputs[place], truth[place], both[a, seed][place], both[b, seed][place])
        for seed in Answers(trials, truth).seeds(a, b)
        for place in np.flatnonzero(both[a, seed] != both[b, seed]).tolist()
    ]
    return pd.DataFrame(rows, columns=["seed", "example", "input", "truth", "predicted_a", "predicted_b"])


def confusion(trials: pd.DataFrame, truth: np.ndarray, label: str) -> pd.DataFrame:
    """Return how many test examples of each true label (rows) get each predicted one (columns), mean over seeds."""
    size = int(max(truth.max(), *(predicted.max() for predicted in trials["predicted"]))) + 1
    runs = trials.loc[trials["label"] == label, "predicted"]
    counts = np.mean([np.bincount(truth * size + predicted, minlength=size**2) for predicted in runs], axis=0)
    return pd.DataFrame(counts.reshape(size, size)).rename_axis(index="truth", columns="predicted")
