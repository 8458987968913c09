"""Body of `svft results`: what the studies in files say, as tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console

from analysis.cli.tables import Column, show
from analysis.cli.trial import read_study_file
from analysis.training.forgetting import elsewhere
from analysis.training.tasks import get_task
from analysis.trials.confirmation import CLAIM, SECOND, budget_studies, comparisons
from analysis.trials.files import StudyFile, committed_studies
from analysis.trials.results import points, summarize
from analysis.trials.verdict import claim, claim_sentence, forgetting_sentence

SUMMARY_COLUMNS = ("method", "trained", "accuracy", "recovered performance", "rank of ΔW", "step time", "peak memory")
FORGETTING_COLUMNS = ("method", "drift elsewhere", "neighbours changed", "retrieval", "before")
CLAIM_COLUMNS = ("SVFT", "trained", "against", "trained ", "points above", "the claim")
_GIVES_WAY = {  # 1 first
    "peak memory": 1, "step time": 2, "rank of ΔW": 3, "recovered performance": 4, "trained ": 1, "trained": 5,
    "seeds": 1, "before": 1, "retrieval": 2, "neighbours changed": 3,
}  # fmt: skip


def print_results(paths: Sequence[Path], markdown: bool, wide: bool = False) -> None:
    """Print accuracy, recovered performance and cost, where the paper's central claim holds, and what was forgotten.

    Args:
        paths: Files of studies; none stands for those that come with this project.
        markdown: Whether to print Markdown tables, as in the README.
        wide: Whether to print all columns, however wide.

    Raises:
        UserError: If a file holds no study, or one on data that are not here.
    """
    for study in [read_study_file(path) for path in paths] or committed_studies().values():
        title = get_task(study.study.task).title
        sentence = claim_sentence(_claim(study))
        summary, there = summarize(study.results, _truth(study)), elsewhere(study.study.task)
        rows, forgotten = forgetting_rows(summary), forgetting_sentence(summary, there.words if there else "")
        if markdown:
            table = _markdown(SUMMARY_COLUMNS, summary_rows(study))
            print(f"### {title}\n\n`{study.command}`\n\n{table}\n\n{sentence}\n")
            if rows:
                print(f"{_markdown(FORGETTING_COLUMNS, rows)}\n\n{forgotten}\n")
            continue
        console = Console()
        console.print(f"\n{title}: {study.command}")
        _show(console, SUMMARY_COLUMNS, summary_rows(study), wide)
        _show(console, CLAIM_COLUMNS, claim_rows(study), wide)
        console.print(sentence)
        if rows:
            _show(console, FORGETTING_COLUMNS, rows, wide)
        console.print(forgotten)
    if not paths:
        _print_small_budgets(markdown, wide)


def _show(
    console: Console, columns: Sequence[str], rows: Sequence[Sequence[str]], wide: bool, title: str = ""
) -> None:
    named = {name: Column(name, text=True, gives_way=_GIVES_WAY.get(name, 0)) for name in columns}
    show(console, [dict(zip(columns, row)) for row in rows], named, title=title, wide=wide)


def _print_small_budgets(markdown: bool, wide: bool) -> None:
    """Print what the study of small budgets found, which was planned in advance."""
    files = budget_studies()
    for title, pairs in (("Is the chosen pattern better?", CLAIM), ("Do patterns differ from random?", SECOND)):
        rows = [_small_cells(row) for row in comparisons(files, pairs).itertuples()]
        if markdown:
            print(f"### Small budgets: {title}\n\n{_markdown(_SMALL_COLUMNS, rows)}\n")
            continue
        _show(Console(), _SMALL_COLUMNS, rows, wide, title=f"\nSmall budgets: {title}")


_SMALL_COLUMNS = ("pattern", "against", "task", "points above", "seeds", "p, corrected")


def _small_cells(row: Any) -> tuple[str, ...]:  # of `comparisons`
    return (
        row.label,
        row.reference,
        row.task,
        f"{points(row.points)} ({points(row.low)} to {points(row.high)})",
        str(row.seeds),
        "< 0.001" if row.holm < 1e-3 else f"{row.holm:.3f}",
    )


def summary_rows(file: StudyFile) -> list[tuple[str, ...]]:
    """Return the cells of `SUMMARY_COLUMNS`, one row per configuration, by ascending number of parameters."""
    cost = pd.DataFrame(columns=["label", "time_ratio", "memory_ratio"]) if file.cost is None else file.cost
    ratios = cost.set_index("label")[["time_ratio", "memory_ratio"]].to_dict("index")
    rows = []
    for row in summarize(file.results, _truth(file)).itertuples():
        has_recovered = row.method not in ("head_only", "full") and not np.isnan(row.recovered)  # theirs are 0 and 1
        recovered = _interval(row.recovered, row.recovered_low, row.recovered_high) if has_recovered else ""
        price = ratios.get(row.label)
        rows.append(
            (
                row.label,
                f"{row.parameters:,}",
                f"{row.accuracy:.1%} ({row.low:.1%} to {row.high:.1%})",
                recovered,
                f"{row.rank:.0f}",
                *(("", "") if price is None else (f"{ratio:.2f}" for ratio in price.values())),
            )
        )
    return rows


def claim_rows(file: StudyFile) -> list[tuple[str, ...]]:
    """Return the cells of `CLAIM_COLUMNS`, one row per comparison (`analysis.trials.verdict.claim`)."""
    return [
        (
            row.label,
            f"{row.parameters:,}",
            row.reference,
            f"{row.reference_parameters:,}",
            f"{points(row.difference)} ({points(row.low)} to {points(row.high)})",
            row.outcome + (", also corrected" if row.corrected else ""),
        )
        for row in _claim(file).itertuples()
    ]


def forgetting_rows(summary: pd.DataFrame) -> list[tuple[str, ...]]:
    """Return the cells of `FORGETTING_COLUMNS`, one row per configuration; none if nothing of it was measured.

    Args:
        summary: Of `analysis.trials.results.summarize`.
    """
    if summary["drift"].isna().all():
        return []
    return [
        (row.label, *["not measured"] * 4)
        if np.isnan(row.drift)
        else (
            row.label,
            _drift(row),
            f"{row.neighbours_changed:.0%}",
            f"{row.retrieval:.1%}",
            f"{row.retrieval_before:.1%}",
        )
        for row in summary.itertuples()
    ]


def _drift(row: Any) -> str:  # of `summarize`
    spread = "" if np.isnan(row.drift_low) else f" ({row.drift_low:.3g} to {row.drift_high:.3g})"
    return f"{row.drift:.3g}{spread}".replace("-", "−")


def _claim(file: StudyFile) -> pd.DataFrame:
    return claim(file.results, _truth(file))


def _truth(file: StudyFile) -> np.ndarray:
    return getattr(get_task(file.study.task).load(), file.study.final_split).labels


def _interval(value: float, low: float, high: float) -> str:
    return f"{value:.0%} ({low:.0%} to {high:.0%})".replace("-", "−")


def _markdown(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
