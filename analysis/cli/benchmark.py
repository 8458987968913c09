"""Body of `svft benchmark`: measure, and print the tables."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import torch
from rich.console import Console

from analysis.adapters.opening import open_adapter
from analysis.adapters.shipped import shipped_adapters
from analysis.cli.tables import Column, show
from analysis.common.errors import UserError
from analysis.models.base_weights import locate_base
from analysis.models.packed.unpacking import takes_long
from analysis.planning import benchmark
from analysis.running.generation import load_writer, writing_speed
from analysis.training.language.evaluation import read_pairs_evaluation
from analysis.training.language.pairs import PIRATE, register_pairs
from analysis.training.session import TrainingSession
from analysis.training.specification import TrainingSpec

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


def benchmark_talk(output: Path | None, wide: bool = False) -> None:
    """Print how fast the language model reads, writes and learns here, and write it as JSON to `output` if given.

    Raises:
        UserError: If the model is not installed.
    """
    path = next(path for path in shipped_adapters().values() if path.name == "pirate-banded")
    adapter, measured = open_adapter(path), read_pairs_evaluation(path)
    assert adapter.base is not None  # both ship
    assert measured is not None
    rows: list[tuple[str, float, str]] = []

    def add(what: str, unit: str, value: float) -> None:
        rows.append((what, value, unit))

    console = Console()
    with console.status("unpacking"):
        began = time.perf_counter()
        packed = takes_long(adapter.base)
        locate_base(adapter.base)
        if packed:
            add("unpacking the model, once", "s", time.perf_counter() - began)
    with console.status("loading"):
        began = time.perf_counter()
        writer = load_writer(adapter)
        add("loading model and adapter", "s", time.perf_counter() - began)
    with console.status("writing"):
        for speed in writing_speed(writer, "What should I do on a rainy day?").itertuples():
            add(f"first token, {speed.what}", "s", speed.first_token)
            add(f"then, {speed.what}", "tokens/s", speed.tokens_per_second)
    with console.status("training"):
        pairs = register_pairs(PIRATE)
        session = TrainingSession(replace(TrainingSpec.from_dict(measured.spec), task=pairs.name))
        session.repeat_first_step()
        began = time.perf_counter()
        session.repeat_first_step()
        add(f"training step, {session.spec.batch_size} pairs", "s", time.perf_counter() - began)
    table = pd.DataFrame(rows, columns=["what", "value", "unit"])
    columns = {"what": Column("what"), "value": Column("measured", _short), "unit": Column("", text=True)}
    show(console, table, columns, title=f"The language model, {torch.get_num_threads()} threads", wide=wide)
    if output is not None:
        table.to_json(output, orient="records", indent=1)
