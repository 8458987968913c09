"""Body of `svft convert`: convert with a progress bar, and report what each matrix lost."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
from rich import box
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from analysis.conversion import collect
from analysis.conversion.targets import conversion_steps

_NUMBER, _PERCENT = "{:.4f}".format, "{:.2%}".format
# column -> (heading, format); a conversion has some of them
_COLUMNS = {
    "basis": ("basis", str),
    "kept": ("directions", "{:,}".format),
    "k": ("k", "{:,}".format),
    "rank": ("rank", "{:,}".format),
    "duplicates": ("duplicates", "{:,}".format),
    "update_norm": ("‖ΔW‖", _NUMBER),
    "error": ("error", _NUMBER),
    "relative_error": ("error / ‖ΔW‖", _PERCENT),
    "lost_share": ("lost energy", _PERCENT),
    "chance_share": ("kept by chance", _PERCENT),
    "relative_norm": ("‖ΔW‖ / ‖W‖", _PERCENT),
    "base_error": ("error of the base", "{:.1e}".format),
}


def convert(path: Path, to: str, output: Path, *, as_json: bool, **options: object) -> None:
    """Convert `path`, and print one row per matrix.

    Args:
        path: What to convert.
        to: One of `analysis.conversion.targets.TARGETS`.
        output: Directory to write to.
        as_json: Whether to print JSON instead of a table.
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
    shown = Table(title=f"{path.name} to {to}", title_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0))
    columns = [name for name in _COLUMNS if name in table]
    shown.add_column("matrix", no_wrap=True)
    for name in columns:
        shown.add_column(_COLUMNS[name][0], justify="right", no_wrap=True)
    for row in table.to_dict("records"):
        shown.add_row(row.get("label", row["name"]), *(_COLUMNS[name][1](row[name]) for name in columns))
    console = Console()
    console.print(shown)
    lost = lost_share(table)
    loss_sentence = "" if lost is None else f"Lost: {lost:.2%} of the energy ‖ΔW‖² of the whole adapter. "
    console.print(f"{loss_sentence}Written to {output}", highlight=False, soft_wrap=True)


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
        "matrices": json.loads(table.to_json(orient="records", double_precision=12)),
    }
