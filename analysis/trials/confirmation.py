"""Studies of small budgets that were planned in advance: rates from a sweep, judged once on the confirmation split.

A plan has two files: a sweep, judged on the validation split, and the study that runs at the best rates of each
method. The rule, the comparisons and their level stand here, so that they can be committed before the study runs; the
plan in words is in docs/budget-study.md. Light: no torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pandas as pd

from analysis.common.errors import UserError
from analysis.training.tasks import get_task
from analysis.trials.files import DIRECTORY, StudyFile, read_study
from analysis.trials.results import Answers, points, summarize
from analysis.trials.study import Study

BOUNDS = ("head_only", "full")
PAPER_PATTERNS = ("plain", "banded", "random", "top_k")
LEVEL = 0.01
_FEWEST_PATTERNS = 4  # with fewer, no order of them would be unlikely by chance
# Each against the other at the same budget: the claim, then whether patterns differ from chance at all.
CLAIM = tuple(("chosen", pattern) for pattern in PAPER_PATTERNS)
SECOND = tuple((pattern, "random") for pattern in ("plain", "banded", "top_k", "block"))


def confirmation_study(sweep: StudyFile, seeds: Sequence[int]) -> Study:
    """Return the study that runs each method of a sweep at its best rates, beside head only and full fine-tuning.

    The best rates have the highest accuracy on the validation split, mean over the sweep's seeds; the first that were
    tried if several do. They are written for the method's smallest size, as a study takes them.

    Args:
        sweep: Judged on the validation split, at one budget, with the confirmation split set apart.
        seeds: Of the study.

    Raises:
        UserError: If it is not such a sweep, or is not complete.
    """
    study = sweep.study
    if study.final_split != "validation" or not study.set_apart or len(study.budgets) != 1:
        raise UserError(
            "Rates are taken from a sweep at one budget, judged on the validation split with the confirmation split "
            "set apart: svft sweep --budgets K --set-apart --output FILE."
        )
    if len(sweep.results) != len(study.plan()[0]):
        raise UserError("This sweep is not complete: let it run to its end before rates are taken from it.")
    rates: dict[str, tuple[float, ...]] = {}
    head_rates: dict[str, tuple[float, ...]] = {}
    methods = list(dict.fromkeys(sweep.results["method"]))  # without those that have no such size
    for method in methods:
        rate, head_rate = _best_rates(sweep, method)
        rates[method] = (rate,)
        if head_rate is not None:
            head_rates[method] = (head_rate,)
    return replace(
        study,
        methods=(BOUNDS[0], *methods, BOUNDS[1]),
        seeds=tuple(seeds),
        learning_rates=rates,
        head_learning_rates=head_rates,
        final_split="confirmation",
    )


def _best_rates(sweep: StudyFile, method: str) -> tuple[float, float | None]:
    """Return the rate and the head's rate, None if the sweep tried no others than the method's own."""
    study = sweep.study
    accuracy = sweep.results[sweep.results["method"] == method].groupby("label", sort=False)["accuracy"].mean()
    of_method = [trial for trial in replace(study, seeds=study.seeds[:1]).plan()[0] if trial.spec.method == method]
    tried = list(study.rates(method))  # in the plan's order: one size, all rates
    best = int(np.argmax([accuracy[trial.label] for trial in of_method]))
    return tried[best]


def comparisons(files: Iterable[StudyFile], pairs: Sequence[tuple[str, str]] = CLAIM) -> pd.DataFrame:
    """Return each pair of methods in each study, paired by seed and example, with one correction over all of them.

    Args:
        files: Studies of one budget each.
        pairs: (method, against) of each comparison.

    Returns:
        Rows ``task``, ``budget``, ``label``, ``reference``, ``seeds``, ``points`` (how much more accurate), ``low``,
        ``high`` (95% interval over seeds and examples), ``p`` (two-sided, normal) and ``holm`` (Holm 1979, over all
        rows): the difference is clear if ``holm`` is below `LEVEL`.
    """
    columns = ["task", "budget", "label", "reference", "seeds", "points", "low", "high", "p"]
    rows = []
    for file in files:
        study, results = file.study, file.results
        answers = Answers(results, getattr(get_task(study.task).load(), study.final_split).labels)
        labels = results.drop_duplicates("method").set_index("method")["label"]
        for method, other in pairs:
            if method in labels and other in labels and (gap := answers.difference(labels[method], labels[other])):
                p = 2 * NormalDist().cdf(-abs(gap.value) / gap.error) if gap.error else float(gap.value == 0)
                interval = (gap.value, gap.low, gap.high)
                rows.append((study.task, study.budgets[0], labels[method], labels[other], gap.seeds, *interval, p))
    table = pd.DataFrame(rows, columns=columns)
    return table.assign(holm=holm(table["p"].to_numpy(float)))


def claim_sentences(table: pd.DataFrame) -> list[str]:
    """Return a sentence for each task and budget in the table of `comparisons`."""
    sentences = []
    for (_, budget), rows in table.groupby(["task", "budget"], sort=False):
        lines = [
            f"{points(abs(row.points))} points {'above' if row.points > 0 else 'below'} {short(row.reference)} "
            f"({points(row.low)} to {points(row.high)}{'; clear' if row.holm < LEVEL else ''})"
            for row in rows.itertuples()
        ]
        sentences.append(f"At about {budget:,} entries {short(rows['label'].iloc[0])} is {', '.join(lines)}.")
    return sentences


def short(label: str) -> str:
    """Return the pattern in a label of an SVFT configuration."""
    return label.removeprefix("SVFT ").partition(",")[0]


def holm(p: np.ndarray) -> np.ndarray:
    """Return p values adjusted for their number (Holm 1979, "A simple sequentially rejective multiple test").

    Args:
        p: (n,).

    Returns:
        (n,), at most 1: the i-th smallest times n − i + 1, made monotone.
    """
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return adjusted


def capture_and_accuracy(capture: pd.DataFrame, summary: pd.DataFrame) -> pd.DataFrame:
    """Return what patterns capture of the gradient beside the accuracy that they had.

    Args:
        capture: Rows of `analysis.training.diagnosis` of a task.
        summary: The table of `budget_summary`.

    Columns:
        pattern, budget, captured: As in `capture`.
        label, accuracy, low, high: As in `summary`; what is not in both is left out.
    """
    measured = summary.rename(columns={"method": "pattern"})[["pattern", "budget", "label", "accuracy", "low", "high"]]
    return capture[["pattern", "budget", "captured"]].merge(measured, on=["pattern", "budget"])


def agreement(table: pd.DataFrame) -> str:
    """Return whether patterns that capture more of the gradient were more accurate, as Spearman's ρ at each budget.

    Args:
        table: Of `capture_and_accuracy`.
    """
    from scipy.stats import permutation_test, spearmanr  # half a second: not before a page needs it

    words = []
    for budget, rows in table.groupby("budget"):
        if len(rows) < _FEWEST_PATTERNS:
            continue
        accuracy = rows["accuracy"]
        result = permutation_test(
            (rows["captured"],),
            lambda x, y=accuracy: spearmanr(x, y).statistic,  # type: ignore[misc]  # no annotation of a default
            permutation_type="pairings",
        )
        statistic = f"{result.statistic:.2f}".replace("-", "−")
        words.append(f"{statistic} over {len(rows)} patterns at {budget:,} entries (p = {result.pvalue:.2f})")
    if not words:
        return "No study has measured enough of these patterns."
    return f"The rank correlation of captured share and accuracy is {', '.join(words)}."


def budget_summary(task: str) -> pd.DataFrame | None:
    """Return each method of a task at each small budget, None if there is no such study.

    Columns:
        budget: That was asked for.
        method, label, parameters, …: Of `analysis.trials.results.summarize`; each label once.
    """
    files = [file for file in budget_studies() if file.study.task == task]
    if not files:
        return None
    splits = get_task(task).load()
    tables = [
        summarize(file.results, getattr(splits, file.study.final_split).labels).assign(budget=file.study.budgets[0])
        for file in files
    ]
    return pd.concat(tables).drop_duplicates("label").reset_index(drop=True)


def budget_studies() -> list[StudyFile]:
    """Return the studies of small budgets that come with this project, by task and ascending budget."""
    paths = (DIRECTORY / "budgets").glob("*.json")
    files = [read_study(path.read_bytes()) for path in paths if not path.name.startswith("sweep-")]
    return sorted(files, key=lambda file: (file.study.task, file.study.budgets))
