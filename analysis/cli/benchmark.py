"""Body of `svft benchmark`: measure, and print the tables."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import torch
from rich.console import Console
from rich.table import Table

from analysis.planning import benchmark

# column -> (heading, format)
_COLUMNS = {
    "method": ("method", str),
    "what": ("what", str),
    "trainable": ("trainable", "{:,}".format),
    "seconds": ("seconds", "{:.3f}".format),
    "time_ratio": ("time / LoRA r=8", "{:.2f}".format),
    "peak_bytes": ("peak MB", lambda size: f"{size / 1e6:,.0f}"),
    "memory_ratio": ("memory / LoRA r=8", "{:.2f}".format),
    "largest_difference": ("largest difference / σ₁", "{:.1e}".format),
}


def run_benchmark(rounds: int, output: Path | None) -> None:
    """Print every table of `analysis.planning.benchmark`, and write them as JSON to `output` if it is given."""
    console = Console()
    console.print(
        f"{torch.get_num_threads()} threads, torch {torch.__version__}; medians of {rounds} interleaved rounds"
    )
    tables = []

    def show(name: str, title: str, table: pd.DataFrame) -> None:
        _print(console, title, table)
        tables.append(table.assign(table=name))

    with console.status("starting") as status:
        show("decomposition", "Decomposition of the default base", benchmark.decomposition_times())
        for table in benchmark.training_steps(rounds, status.update):
            rows, tokens, precision = table.loc[0, ["rows", "tokens", "precision"]]
            show("training_steps", f"Training step, {rows}×{tokens} tokens, {precision}", table)
        status.update("singular values of the update of one 2048×16384 matrix")
        title = "Singular values of ΔW, 2048×16384, banded d=16"
        show("singular_values", title, benchmark.singular_values_of_update())
        title = "One layer of 2048×16384, 512 tokens, forward and backward"
        show("large_layer", title, benchmark.large_layer(rounds, status.update))
    if output is not None:
        pd.concat(tables, ignore_index=True).to_json(output, orient="records", indent=1)


def _print(console: Console, title: str, table: pd.DataFrame) -> None:
    shown = Table(title=title, title_justify="left")
    columns = [column for column in _COLUMNS if column in table]
    for column in columns:
        text = column in ("method", "what")
        shown.add_column(_COLUMNS[column][0], justify="left" if text else "right")
    for row in table.to_dict("records"):
        shown.add_row(*(_COLUMNS[column][1](row[column]) for column in columns))
    console.print(shown)
