"""Body of `svft budget`: what each method would cost on a model, and what to take, as tables or as JSON."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import pandas as pd
import typer
from rich.console import Console
from rich.progress import Progress

from analysis.cli.tables import Column, show
from analysis.common.errors import SizeError
from analysis.common.wording import share_text
from analysis.models.architecture import Architecture, open_architecture
from analysis.planning.budgets import budget_table
from analysis.planning.paper import paper_table
from analysis.planning.recommend import Recommendation, considered, considered_tables, options_table, recommend
from analysis.planning.sizing import count_parameters
from analysis.planning.wording import HOW, duration, experts_sentences, gigabytes
from analysis.training.methods import METHODS

DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Step:
    """The training step whose memory is counted.

    Attributes:
        batch: Examples.
        length: Tokens per example.
        dtype: Of the base's weights, one of `DTYPES`.
    """

    batch: int
    length: int
    dtype: str


def _count(number: float) -> str:
    return f"{number:,.0f}"


_COUNTS = {
    "label": Column("method"),
    "count": Column("trainable", _count),
    "share": Column("of the model", share_text),
    "file_bytes": Column("file", gigabytes),
    "rank": Column("rank of ΔW", _count, gives_way=1),
}
_MEMORY = {
    "label": Column("method"),
    "peak": Column("memory", gigabytes),
    "weights": Column("weights", gigabytes, gives_way=3),
    "basis": Column("U and V", gigabytes),
    "adapter": Column("adapter", gigabytes, gives_way=1),
    "optimizer": Column("optimizer", gigabytes, gives_way=2),
    "gradients": Column("gradients", gigabytes, gives_way=4),
    "activations": Column("activations", gigabytes, gives_way=5),
}
_OPTIONS = {
    "label": Column("method"),
    "base": Column("base in"),
    "count": Column("trainable", _count, gives_way=1),
    "peak": Column("memory", gigabytes),
    "recovered": Column("recovered", "{:.0%}".format, gives_way=2),
    "verdict": Column("", text=True),
}
_PAPER = {
    "model": Column("model"),
    "label": Column("method", text=True),
    "matrices": Column("matrices", text=True),
    "published": Column("published"),
    "count": Column("count", _count),
    "verdict": Column("verdict", text=True),
}


def print_paper(as_json: bool, wide: bool = False) -> None:
    """Print the paper's counts beside those of the settings that it states."""
    table = paper_table()
    if as_json:
        typer.echo(table.to_json(orient="records", indent=1))
        return
    console = Console()
    show(console, table, _PAPER, wide=wide)
    for row in table.itertuples():
        console.print(f"{row.model}, {row.label}, {row.published}: {row.explanation}.", highlight=False)


def print_budget(
    model: str,
    kinds: list[str] | None,
    sized_by: dict[str, int | None],
    step: Step,
    *,
    memory_gb: float | None = None,
    as_json: bool = False,
    wide: bool = False,
) -> None:
    """Print each method at the size nearest to a budget, then the memory that training it takes, and what to take.

    Counts follow from shapes and come at once; only memory needs PEFT.

    Args:
        model: See `open_architecture`.
        kinds: Kinds of weights to adapt; None takes all linear layers inside the blocks.
        sized_by: "rank", "off-diag" and "parameters", of which at most one is not None.
        step: Whose memory is counted.
        memory_gb: Memory to recommend a method for.
        as_json: Whether to print JSON instead of tables.
        wide: Whether to print all columns.

    Raises:
        ArchitectureError, BaseModelError, SizeError: If that cannot be planned, in one sentence.
    """
    if sum(value is not None for value in sized_by.values()) > 1:
        raise SizeError("--rank, --off-diag and --parameters all size the adapter: give one of them.")
    if step.dtype not in DTYPES:
        raise SizeError(f"--dtype {step.dtype} must be float32, bfloat16 or float16.")
    if memory_gb is not None and step.dtype != "bfloat16":
        raise SizeError("--memory-gb compares bfloat16 and 4-bit weights: leave --dtype out.")
    console = Console(stderr=as_json)
    with console.status("building the model without weights"):
        architecture = open_architecture(model)
        shapes = [shape for group in architecture.of_kinds(kinds).values() for shape in group]
        budget = _budget(shapes, sized_by)
        table = budget_table(architecture, kinds, budget)
    if not as_json:
        _print_counts(console, architecture, kinds, table, budget, wide)
    memory, seconds = _measure(console, architecture, kinds, table, step)
    advice = None if memory_gb is None else _advise(console, architecture, kinds, budget, step, 1e9 * memory_gb)
    if as_json:
        typer.echo(
            json.dumps(_document(architecture, table, memory, advice, budget, len(shapes), step, seconds), indent=1)
        )
        return
    show(console, memory[memory["peak"].notna()], _MEMORY, wide=wide)
    for note in filter(None, memory["note"]):
        console.print(note, highlight=False)
    linear = sum(len(names) for kind, names in architecture.kinds.items() if kind in table)
    console.print(
        f"Memory: an AdamW step of {step.batch} examples of {step.length} tokens, the base in {step.dtype}. For SVFT, "
        f"{linear} matrices are decomposed once: about {duration(seconds)} of one thread, {HOW}.",
        highlight=False,
    )
    if advice is not None:
        assert memory_gb is not None  # what the advice is for
        _print_advice(console, advice, memory_gb, wide)


def _budget(shapes: Sequence[tuple[int, int]], sized_by: dict[str, int | None]) -> int:
    if sized_by["parameters"] is not None:
        return sized_by["parameters"]
    if sized_by["off-diag"] is not None:
        return count_parameters("banded", shapes, sized_by["off-diag"])
    return count_parameters("lora", shapes, sized_by["rank"] or METHODS["lora"].size)


def _measure(
    console: Console, architecture: Architecture, kinds: list[str] | None, table: pd.DataFrame, step: Step
) -> tuple[pd.DataFrame, float]:
    """Return the memory of each method, and the seconds of all decompositions, with progress."""
    import torch

    from analysis.planning.memory import MEMORY_TERMS, memory_rows

    linear = [
        shape for kind, group in architecture.of_kinds(kinds).items() for shape in group if kind in architecture.kinds
    ]
    # A thread that draws the bar would be there when the processes are forked.
    with _side_by_side() as each, Progress(console=console, transient=True, auto_refresh=False) as progress:
        line = progress.add_task("memory of a step", total=int(table["count"].notna().sum()) + 1)
        seconds = each(_svd_seconds, [linear])  # runs beside the rows
        rows = []
        dtype = getattr(torch, step.dtype)
        for row in memory_rows(architecture, kinds, table, step.batch, step.length, dtype, each=each):
            rows.append(row)
            progress.update(line, advance=1, description=f"memory of {row['label']}", refresh=True)
    return pd.DataFrame(rows).reindex(columns=["method", "label", *MEMORY_TERMS, "peak", "note"]), next(seconds)


def _svd_seconds(shapes: list[tuple[int, int]]) -> float:
    from analysis.planning.svd_speed import measure_svd_speed, svd_seconds

    return svd_seconds(shapes, measure_svd_speed())


@contextmanager
def _side_by_side() -> Iterator[Callable[..., Iterator[Any]]]:
    """Give a `map` over processes that share what is imported here; the ordinary one if this system has no fork."""
    if sys.platform != "linux":
        yield map
        return
    with ProcessPoolExecutor(min(4, os.cpu_count() or 1), mp_context=get_context("fork")) as pool:
        yield pool.map


def _advise(
    console: Console, architecture: Architecture, kinds: list[str] | None, budget: int, step: Step, available: float
) -> Recommendation:
    from analysis.trials.files import recovery_near

    shapes = [shape for group in architecture.of_kinds(kinds).values() for shape in group]
    tables = considered_tables(architecture, kinds, budget)
    with _side_by_side() as each:
        rows = list(considered(architecture, tables, step.batch, step.length, each))
    with console.status("weighing the methods"):
        recovery = recovery_near(budget / count_parameters("lora", shapes, 1))
        return recommend(options_table(architecture, rows, recovery, available), available)


def _print_counts(
    console: Console, architecture: Architecture, kinds: list[str] | None, table: pd.DataFrame, budget: int, wide: bool
) -> None:
    of_kinds = architecture.of_kinds(kinds)
    active = "" if architecture.active in (None, architecture.parameters) else f" ({architecture.active:,} active)"
    console.print(
        f"{architecture.name}: {architecture.parameters:,} parameters{active}, "
        f"{sum(map(len, of_kinds.values()))} adapted matrices, about {budget:,} trainable parameters",
        highlight=False,
    )
    sized = table[table["note"] == ""]
    full = {"label": METHODS["full"].title, "count": architecture.parameters, "share": 1.0}
    show(console, [*sized.to_dict("records"), full], _COUNTS, wide=wide)
    by_kind = [{"kind": kind, **dict(zip(sized["method"], sized[kind]))} for kind in of_kinds]
    columns = {"kind": Column("trainable")} | {
        method: Column(method, _short, gives_way=number)
        for number, method in enumerate(reversed(list(sized["method"])), start=1)
    }
    show(console, by_kind, columns, wide=wide)
    for sentence in [*filter(None, table["note"]), *experts_sentences(architecture, table)]:
        console.print(sentence, highlight=False)


def _print_advice(console: Console, advice: Recommendation, memory_gb: float, wide: bool) -> None:
    best = advice.best
    head = f"With {memory_gb:g} GB: " + (
        "nothing fits" if best is None else f"{best['label']}, base in {best['base']}"
    )
    console.print(head, style="bold", highlight=False)
    for reason in advice.reasons:
        console.print(f"- {reason}", highlight=False)
    show(console, advice.options, _OPTIONS, wide=wide)


def _document(
    architecture: Architecture,
    table: pd.DataFrame,
    memory: pd.DataFrame,
    advice: Recommendation | None,
    budget: int,
    matrices: int,
    step: Step,
    seconds: float,
) -> dict:
    document = {
        "model": architecture.name,
        "parameters": architecture.parameters,
        "active": architecture.active,
        "matrices": matrices,
        "budget": budget,
        "batch": step.batch,
        "length": step.length,
        "dtype": step.dtype,
        "svd_seconds": seconds,
        "methods": json.loads(table.to_json(orient="records")),
        "memory": json.loads(memory.to_json(orient="records")),
    }
    if advice is not None:
        options = json.loads(advice.options.to_json(orient="records"))
        document["recommendation"] = {"best": advice.best, "reasons": advice.reasons, "options": options}
    return document


def _short(number: float) -> str:
    """Return 1234567 as "1.23M"."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{letter}"
    return f"{number:.0f}"
