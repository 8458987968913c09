"""Tables of the command line fit 80 columns."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from analysis.adapters.shipped import DIRECTORY
from analysis.cli import app
from analysis.cli.tables import Column, shortened, show

LONG = "model.language_model.layers.17.block_sparse_moe.experts.gate_up_proj"
COLUMNS = {
    "name": Column("matrix"),
    "k": Column("k", "{:,}".format),
    "norm": Column("‖ΔW‖ / ‖W‖", "{:.1%}".format),
    "noise": Column("of pure noise", "{:.1%}".format, gives_way=1),
    "turned": Column("turned directions", "{:,}".format, gives_way=2),
    "absent": Column("absent"),
}
ROWS = [{"name": LONG, "k": 1234567, "norm": 0.123, "noise": float("nan"), "turned": 12}] * 2


def printed(width: int, rows=ROWS, columns=COLUMNS, **options) -> str:
    console = Console(file=io.StringIO(), width=width)
    show(console, rows, columns, **options)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_no_line_is_wider_than_the_console(width):
    lines = printed(width).splitlines()
    assert max(map(len, lines)) <= width
    assert sum("1,234,567" in line for line in lines) == 2  # no cell is broken


def test_names_are_shortened_before_columns_are_left_out():
    text = printed(90)
    assert LONG not in text
    assert "gate_up_proj" in text
    assert "turned directions" in text
    assert "Left out" not in text


def test_columns_are_left_out_in_their_order_and_named():
    text = printed(64)
    assert "Left out to fit 64 columns: of pure noise. --wide shows all." in text
    assert "turned directions" in text
    assert "Left out to fit 40 columns: of pure noise, turned directions." in " ".join(printed(40).split())


def test_wide_shows_all():
    text = printed(60, wide=True)
    assert LONG in text
    assert "Left out" not in text
    assert text.splitlines()[1].rstrip().endswith("turned directions")


def test_what_is_missing_is_a_dash_and_what_no_row_has_is_no_column():
    text = printed(200)
    assert "–" in text
    assert "absent" not in text


def test_a_shortened_name_keeps_both_ends():
    assert shortened(LONG, 20) == "model.l…gate_up_proj"
    assert shortened("query", 20) == "query"


def test_columns_that_stay_are_whole():
    names = [f"column number {number}" for number in range(7)]
    columns = {"name": Column("matrix")} | {name: Column(name, gives_way=i) for i, name in enumerate(names, start=1)}
    for width in range(60, 130, 7):
        text = printed(width, [{"name": "Layer 0 · attention out", **dict.fromkeys(names, 1)}], columns)
        assert "…" not in text.splitlines()[1]


PLAIN, FULL, LORA = (str(DIRECTORY / f"bbc_headlines-{name}") for name in ("plain", "full", "lora_r1"))
COMMANDS = {
    "inspect": ["inspect", PLAIN],
    "inspect another kind": ["inspect", FULL],
    "compare": ["compare", PLAIN, FULL],
    "convert": ["convert", PLAIN, "--to", "lora", "--rank", "4", "--output", "converted"],
    "convert to a pattern": ["convert", LORA, "--to", "svft", "--pattern", "banded", "--size", "2", "--output", "out"],
    "budget of experts": ["budget", "Qwen3-30B-A3B", "--rank", "8"],
    "budget with advice": ["budget", "config.json", "--rank", "8", "--memory-gb", "80"],
    "budget of the paper": ["budget", "--paper"],
    "results": ["results"],
}
# Of which a step of every method is soon taken; the wide numbers are those of the experts.
SMALL_MODEL = {
    "model_type": "llama", "hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 1,
    "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 128256, "architectures": ["LlamaForCausalLM"],
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_no_table_of_a_command_is_wider_than_80_columns(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("config.json").write_text(json.dumps(SMALL_MODEL))
    result = CliRunner().invoke(app, words, env={"COLUMNS": "80"})
    assert result.exit_code == 0, result.output
    tables = [line for line in result.stdout.splitlines() if not line.rstrip().endswith(".")]  # the others are prose
    assert len(tables) > 5
    assert max(map(len, tables)) <= 80, max(tables, key=len)
