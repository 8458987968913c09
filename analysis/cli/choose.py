"""Bodies of `svft choose` and `svft diagnose`: where a budget would go, and what patterns follow of the gradient."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

import svft
from analysis.cli.tables import Column, show
from analysis.common.wording import percent
from analysis.training.choosing import choose_for
from analysis.training.diagnosis import diagnose
from analysis.training.specification import TrainingSpec
from analysis.trials.confirmation import agreement, budget_summary, capture_and_accuracy

_PERCENT = "{:.1%}".format
_COLUMNS = {
    "name": Column("matrix"),
    "entries": Column("entries", "{:,}".format),
    "captured": Column("of its gradient", _PERCENT),
    "chance": Column("by chance", _PERCENT, gives_way=1),
    "inside": Column("inside the basis", _PERCENT, gives_way=2),
}


_CAPTURE = {
    "pattern": Column("pattern"),
    "budget": Column("budget", "{:,}".format),
    "entries": Column("entries", "{:,}".format),
    "captured": Column("of the squared gradient", percent),
    "chance": Column("by chance", percent),
}


def choose_to(spec: TrainingSpec, output: Path | None, wide: bool = False) -> None:
    """Print the entries that each matrix gets, and write them to a JSON file if one is asked for.

    Args:
        spec: Of the method chosen.
        output: For module name -> [[i, j], …], the `custom_indices` of `SvftConfig`.
        wide: Whether to print all columns, however wide.
    """
    console, began = Console(), time.monotonic()
    pattern = choose_for(spec)
    show(console, rows(pattern), _COLUMNS, wide=wide)
    used = sum(matrix.k > 0 for matrix in pattern.matrices)
    energy = sum(matrix.energy for matrix in pattern.matrices)
    captured = sum(matrix.captured for matrix in pattern.matrices) / energy
    console.print(
        f"{pattern.budget:,} entries in {used} of {len(pattern.matrices)} matrices hold {captured:.1%} of the mean "
        f"gradient by M, squared; chosen in {time.monotonic() - began:.0f} s.",
        highlight=False,
    )
    if output is not None:
        output.write_text(json.dumps(pattern.custom_indices) + "\n", encoding="utf-8")
        console.print(f"written to {output}", highlight=False)


def rows(pattern: svft.ChosenPattern) -> list[dict[str, object]]:
    """Return a row for each matrix: its entries, and their share of the squared mean gradient by M beside chance."""
    return [
        {
            "name": matrix.name,
            "entries": matrix.k,
            "captured": matrix.captured / matrix.energy if matrix.energy else 0.0,
            "chance": matrix.k / matrix.n**2,
            "inside": matrix.inside,
        }
        for matrix in pattern.matrices
    ]


def print_diagnosis(spec: TrainingSpec, budgets: Sequence[int], wide: bool = False) -> None:
    """Print the table of patterns and budgets, and whether it agrees with what studies measured.

    Args:
        spec: Its task, base, seed and examples are used.
        budgets: Entries of M in the whole model.
        wide: Whether to print all columns, however wide.
    """
    console = Console()
    capture, matrices = diagnose(spec, budgets)
    show(console, capture.to_dict("records"), _CAPTURE, wide=wide)
    once = matrices[matrices["budget"] == matrices["budget"].iloc[0]]
    inside = float((once["inside"] * once["share"]).sum())
    console.print(
        f"{inside:.0%} of the squared gradient lies between the thin singular vectors, where M can follow it.",
        highlight=False,
    )
    measured = budget_summary(spec.task) if spec.base is None else None
    if measured is not None:
        console.print(agreement(capture_and_accuracy(capture, measured)), highlight=False)
