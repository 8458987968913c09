"""Body of `svft budget`: what each method would cost on a model, as tables or as JSON."""

from __future__ import annotations

import json

import pandas as pd
import torch
import typer
from rich.console import Console
from rich.table import Table

from analysis.common.errors import SizeError
from analysis.models.architecture import Architecture, open_architecture
from analysis.planning.budgets import budget_table
from analysis.planning.memory import MEMORY_TERMS, memory_rows
from analysis.planning.paper import paper_table
from analysis.planning.sizing import count_parameters
from analysis.planning.svd_speed import measure_svd_speed, svd_seconds
from analysis.training.methods import METHODS


def print_paper(as_json: bool) -> None:
    """Print the paper's counts beside those of the settings that it states."""
    table = paper_table()
    if as_json:
        typer.echo(table.to_json(orient="records", indent=1))
        return
    shown = Table("model", "method", "matrices", "published", "count", "what it is")
    for row in table.itertuples():
        shown.add_row(row.model, row.label, row.matrices, row.published, f"{row.count:,}", row.explanation)
    Console().print(shown)


def print_budget(
    model: str,
    kinds: list[str] | None,
    rank: int | None,
    off_diag: int | None,
    budget: int | None,
    batch: int,
    length: int,
    dtype: str,
    as_json: bool,
) -> None:
    """Print each method at the size nearest to a budget, and the memory that training it takes.

    Raises:
        ArchitectureError, BaseModelError, SizeError: If that cannot be planned, in one sentence.
    """
    given = {"rank": rank, "off_diag": off_diag, "budget": budget}
    if sum(value is not None for value in given.values()) > 1:
        raise SizeError("--rank, --off-diag and --budget all size the adapter: give one of them.")
    if dtype not in ("float32", "bfloat16", "float16"):
        raise SizeError(f"--dtype {dtype} must be float32, bfloat16 or float16.")
    architecture = open_architecture(model)
    shapes = [shape for group in architecture.of_kinds(kinds).values() for shape in group]
    if budget is None:
        budget = (
            count_parameters("lora", shapes, rank or METHODS["lora"].size)
            if off_diag is None
            else count_parameters("banded", shapes, off_diag)
        )
    table = budget_table(architecture, kinds, budget)
    rows, console = [], Console(stderr=as_json)
    with console.status("taking a step of each method without numbers") as status:
        for row in memory_rows(architecture, kinds, table, batch, length, getattr(torch, dtype)):
            rows.append(row)
            status.update(f"memory: {row['label']} done")
        status.update("measuring how fast this machine decomposes")
        seconds = svd_seconds(shapes, measure_svd_speed())
    memory = pd.DataFrame(rows).reindex(columns=["method", "label", *MEMORY_TERMS, "peak", "note"])
    if as_json:
        result = {
            "model": architecture.name,
            "parameters": architecture.parameters,
            "matrices": len(shapes),
            "budget": budget,
            "batch": batch,
            "length": length,
            "dtype": dtype,
            "svd_seconds": seconds,
            "methods": json.loads(table.to_json(orient="records")),
            "memory": json.loads(memory.to_json(orient="records")),
        }
        typer.echo(json.dumps(result, indent=1))
        return
    _print(architecture, table, memory, budget, len(shapes), console)
    console.print(
        f"Memory: an AdamW step of {batch} examples of {length} tokens, the base in {dtype}. For SVFT, "
        f"{len(shapes)} matrices are decomposed once: about {seconds:,.0f} s on this machine."
    )


def _print(
    architecture: Architecture, table: pd.DataFrame, memory: pd.DataFrame, budget: int, matrices: int, console: Console
) -> None:
    peaks = dict(zip(memory["method"], memory["peak"], strict=True))
    shown = _table("method", "trainable", "of the model", "file", "rank of ΔW", "memory")
    shown.title = (
        f"{architecture.name}: {architecture.parameters:,} parameters, {matrices} adapted matrices, about {budget:,} "
        "trainable parameters"
    )
    sized = [row for row in table.to_dict("records") if not row["note"]]
    for row in sized:
        shown.add_row(
            row["label"],
            f"{row['count']:,.0f}",
            f"{row['share']:.3%}",
            f"{row['file_bytes'] / 1e6:,.2f} MB",
            f"{row['rank']:,.0f}",
            _gigabytes(peaks[row["method"]]),
        )
    shown.add_row(METHODS["full"].title, f"{architecture.parameters:,}", "100%", "", "", _gigabytes(peaks["full"]))
    console.print(shown)
    by_kind = _table("trainable", *(row["method"] for row in sized))
    for kind in architecture.kinds:
        if kind in table:
            by_kind.add_row(kind, *(_short(row[kind]) for row in sized))
    console.print(by_kind)
    for note in [*table["note"], *memory["note"]]:
        if note:
            console.print(note)


def _table(first: str, *others: str) -> Table:
    table = Table(title_justify="left")
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right")
    return table


def _short(number: float) -> str:
    """Return 1234567 as "1.23M"."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{letter}"
    return f"{number:.0f}"


def _gigabytes(size: float) -> str:
    return "" if pd.isna(size) else f"{size / 1e9:,.2f} GB"
