"""Body of `svft benchmark`: measure, and print the tables."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import torch
from rich.console import Console

from analysis.cli.tables import Column, show
from analysis.common.errors import UserError
from analysis.planning import benchmark

_COLUMNS = {
    "method": Column("method"),
    "what": Column("what"),
    "trainable": Column("trainable", "{:,}".format, gives_way=1),
    "seconds": Column("seconds", "{:.3f}".format),
    "time_ratio": Column("time / LoRA r=8", "{:.2f}".format),
    "peak_bytes": Column("peak MB", lambda size: f"{size / 1e6:,.0f}", gives_way=2),
    "memory_ratio": Column("memory / LoRA r=8", "{:.2f}".format),
    "largest_difference": Column("largest difference / σ₁", "{:.1e}".format),
}


def run_benchmark(rounds: int, output: Path | None, wide: bool = False) -> None:
    """Print every table of `analysis.planning.benchmark`, and write them as JSON to `output` if it is given."""
    console = Console()
    console.print(
        f"{torch.get_num_threads()} threads, torch {torch.__version__}; medians of {rounds} interleaved rounds"
    )
    tables = []

    def add(name: str, title: str, table: pd.DataFrame) -> None:
        show(console, table, _COLUMNS, title=title, wide=wide)
        tables.append(table.assign(table=name))

    with console.status("starting") as status:
        add("decomposition", "Decomposition of the default base", benchmark.decomposition_times())
        for table in benchmark.training_steps(rounds, status.update):
            rows, tokens, precision = table.loc[0, ["rows", "tokens", "precision"]]
            add("training_steps", f"Training step, {rows}×{tokens} tokens, {precision}", table)
        status.update("singular values of the update of one 2048×16384 matrix")
        title = "Singular values of ΔW, 2048×16384, banded d=16"
        add("singular_values", title, benchmark.singular_values_of_update())
        title = "One layer of 2048×16384, 512 tokens, forward and backward"
        add("large_layer", title, benchmark.large_layer(rounds, status.update))
    if output is not None:
        pd.concat(tables, ignore_index=True).to_json(output, orient="records", indent=1)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def benchmark_app(clients: int, seconds: int, output: Path | None, wide: bool = False) -> None:
    """Print what a server of the app needs and how long visitors wait, and write it as JSON to `output` if given.

    The app measures itself, in a process of its own: nothing here knows Streamlit.

    Raises:
        UserError: If there is no Streamlit, or the measurement failed.
    """
    if find_spec("streamlit") is None:
        raise UserError("The app needs Streamlit, which is not installed: pip install -r requirements.txt")
    command = [sys.executable, "-m", "app.load", "--clients", str(clients), "--seconds", str(seconds)]
    root = Path(__file__).parents[2]
    measured = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, text=True)
    if measured.returncode:
        raise UserError("The app could not be measured: what is wrong stands above.")
    lines = [json.loads(line) for line in measured.stdout.splitlines()]
    columns = {"what": Column("what"), "value": Column("measured", _short), "unit": Column("", text=True)}
    show(Console(), lines, columns, title="The app, on a fresh server of its own", wide=wide)
    if output is not None:
        output.write_text(json.dumps(lines, indent=1, ensure_ascii=False), encoding="utf-8")
