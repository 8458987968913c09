"""Body of `svft convert`: convert with a progress bar, and report what each matrix lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.progress import Progress

from analysis.cli.tables import Column, show
from analysis.conversion import collect
from analysis.conversion.targets import conversion_steps

_NUMBER, _PERCENT = "{:.4f}".format, "{:.2%}".format
# A conversion has some of them.
_COLUMNS = {
    "label": Column("matrix"),
    "basis": Column("basis", gives_way=5),
    "kept": Column("directions", "{:,}".format, gives_way=4),
    "k": Column("k", "{:,}".format),
    "rank": Column("rank", "{:,}".format),
    "duplicates": Column("duplicates", "{:,}".format, gives_way=2),
    "update_norm": Column("‖ΔW‖", _NUMBER),
    "error": Column("error", _NUMBER, gives_way=6),
    "relative_error": Column("error / ‖ΔW‖", _PERCENT),
    "lost_share": Column("lost energy", _PERCENT),
    "chance_share": Column("kept by chance", _PERCENT, gives_way=3),
    "relative_norm": Column("‖ΔW‖ / ‖W‖", _PERCENT, gives_way=1),
    "base_error": Column("error of the base", "{:.1e}".format, gives_way=7),
}


def convert(path: Path, to: str, output: Path, *, as_json: bool, wide: bool = False, **options: Any) -> None:
    """Convert `path`, and print one row per matrix.

    Args:
        path: What to convert.
        to: One of `analysis.conversion.targets.TARGETS`.
        output: Directory to write to.
        as_json: Whether to print JSON instead of a table.
        wide: Whether to print all columns, however wide.
        options: Of `conversion_steps`.

    Raises:
        ValueError: With one sentence, if it cannot be converted.
    """
    with Progress(console=Console(stderr=True), transient=True) as progress:
        line = progress.add_task(f"{path.name} to {to}", total=None)
        table = collect(
            conversion_steps(path, to, output, **options),
            lambda done, total: progress.update(line, completed=done, total=total),
        )
    if as_json:
        print(json.dumps(_document(path, to, output, table), indent=1, ensure_ascii=False))
        return
    console = Console()
    named = table.assign(label=table.get("label", table["name"]))
    show(console, named, _COLUMNS, title=f"{path.name} to {to}", wide=wide)
    lost = lost_share(table)
    loss_sentence = "" if lost is None else f"Lost: {lost:.2%} of the energy ‖ΔW‖² of the whole adapter. "
    console.print(f"{loss_sentence}Written to {output}", highlight=False, soft_wrap=True)
    for sentence in table.attrs["left_out"]:
        console.print(f"Trained, but left out: {sentence}", highlight=False, soft_wrap=True, markup=False)


def lost_share(table: pd.DataFrame) -> float | None:
    """Return the share of ‖ΔW‖² that all matrices together lost; None for a conversion that keeps everything."""
    if "error" not in table:
        return None
    energy = float(table["update_norm"].pow(2).sum())
    return float(table["error"].pow(2).sum()) / energy if energy else 0.0


def _document(path: Path, to: str, output: Path, table: pd.DataFrame) -> dict:
    return {
        "from": str(path),
        "to": to,
        "output": str(output),
        "lost_share": lost_share(table),
        "left_out": table.attrs["left_out"],
        "matrices": json.loads(table.to_json(orient="records", double_precision=12)),
    }
