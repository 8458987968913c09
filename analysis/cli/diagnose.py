"""Body of `svft diagnose`: what each pattern can follow of the gradient, beside chance."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from analysis.cli.tables import Column, show
from analysis.common.wording import percent
from analysis.training.diagnosis import diagnose
from analysis.training.specification import TrainingSpec
from analysis.trials.confirmation import agreement, budget_summary, capture_and_accuracy

_COLUMNS = {
    "pattern": Column("pattern"),
    "budget": Column("budget", "{:,}".format),
    "entries": Column("entries", "{:,}".format),
    "captured": Column("of the squared gradient", percent),
    "chance": Column("by chance", percent),
}


def print_diagnosis(spec: TrainingSpec, budgets: Sequence[int], wide: bool = False) -> None:
    """Print the table of patterns and budgets, and whether it agrees with what studies measured.

    Args:
        spec: Its task, base, seed and examples are used.
        budgets: Entries of M in the whole model.
        wide: Whether to print all columns, however wide.
    """
    console = Console()
    capture, matrices = diagnose(spec, budgets)
    show(console, capture.to_dict("records"), _COLUMNS, wide=wide)
    once = matrices[matrices["budget"] == matrices["budget"].iloc[0]]
    inside = float((once["inside"] * once["share"]).sum())
    console.print(
        f"{inside:.0%} of the squared gradient lies between the thin singular vectors, where M can follow it.",
        highlight=False,
    )
    measured = budget_summary(spec.task) if spec.base is None else None
    if measured is not None:
        console.print(agreement(capture_and_accuracy(capture, measured)), highlight=False)
