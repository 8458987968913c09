"""Body of `svft inspect`: what an adapter is and what it did, as a table, as JSON, and as a page with figures."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.progress import Progress

from analysis.adapters.adapter import Adapter, LeftOut
from analysis.cli.tables import Column, show
from analysis.common.errors import AdapterError
from analysis.measures.noise import Level
from analysis.measures.summary import noise_words, summarize_adapter, totals

_PERCENT, _ONE = "{:.1%}".format, "{:.1f}".format
_MOST_LEFT_OUT = 10  # modules left out are named up to here
_COLUMNS = {
    "label": Column("matrix"),
    "shape": Column("out×in", gives_way=5),
    "pattern_label": Column("pattern", text=True, gives_way=4),
    "k": Column("k", "{:,}".format),
    "update_norm": Column("‖ΔW‖", "{:.3f}".format, gives_way=6),
    "relative_norm": Column("‖ΔW‖ / ‖W‖", _PERCENT),
    "stable_rank": Column("stable rank", _ONE),
    "effective_rank": Column("effective", _ONE, gives_way=1),
    "numerical_rank": Column("numerical", "{:,}".format, gives_way=3),
    "off_diagonal_share": Column("off diagonal", _PERCENT),
    "noise": Column("in noise"),
    "turned": Column("turned", "{:,}".format, gives_way=2),
}


def inspect(adapter: Adapter, *, as_json: bool, html: Path | None, wide: bool = False) -> None:
    """Print what an adapter is, and the measures of each matrix; write the main figures to `html` if it is given.

    Raises:
        AdapterError: If its numbers are damaged.
    """
    with Progress(console=Console(stderr=True), transient=True) as progress:
        line = progress.add_task(adapter.path.name, total=len(adapter.names))
        left_out = list(adapter.left_out)
        table = summarize_adapter(
            adapter, lambda done, total, name: progress.update(line, completed=done), left_out=left_out
        )
    if table.empty and left_out:
        raise AdapterError(left_out[0].reason)
    if as_json:
        json.dump(_document(adapter, table, left_out), sys.stdout, indent=1, ensure_ascii=False)
        print()
    else:
        _print(adapter, table, left_out, wide)
    if html is not None:
        _write_figures(adapter, table, html)


def facts(adapter: Adapter) -> dict[str, object]:
    """Return what the adapter's files say of it as a whole.

    Keys:
        path, kind, method, base, task: As in `Adapter`; task is None if it names none.
        matrices: Number of adapted matrices.
        trained: Trained parameters, excluding the head.
        head: Number of parameters of the head and of what else is saved whole.
        projected: Whether M is a projection of another kind of update.
    """
    head = sum(int(pd.Series(shape, dtype="int64").prod()) for shape in adapter.head.values())
    return {
        "path": str(adapter.path),
        "kind": adapter.kind,
        "method": adapter.method,
        "base": adapter.base,
        "task": adapter.task,
        "matrices": len(adapter.names),
        "trained": adapter.trainable,
        "head": head,
        "projected": adapter.projected,
    }


def _document(adapter: Adapter, table: pd.DataFrame, left_out: list[LeftOut]) -> dict:
    whole = {} if table.empty else json.loads(totals(table).to_json(double_precision=12))
    rows = json.loads(table.to_json(orient="records", double_precision=12))
    left = {"left_out": [asdict(module) for module in left_out], "left_out_share": _share(adapter, left_out)}
    return facts(adapter) | left | {"totals": whole, "measures": rows}


def _share(adapter: Adapter, left_out: list[LeftOut]) -> float:
    """Return the share of the update's trained parameters that is in modules left out."""
    counts = {row["name"]: row["trained"] for row in adapter.matrices.to_dict("records")}
    every = sum(counts.values()) + sum(module.trained for module in left_out if module.name not in counts)
    return sum(module.trained for module in left_out) / every if every else 0.0


def _print(adapter: Adapter, table: pd.DataFrame, left_out: list[LeftOut], wide: bool) -> None:
    console, summary = Console(), facts(adapter)
    lines = {
        "adapter": adapter.path.name,
        "method": f"{summary['method']}{', projected into the singular basis' if summary['projected'] else ''}",
        "base": summary["base"] or "not named",
        "task": summary["task"] or "not named",
        "trained": f"{summary['trained']:,} in {summary['matrices']} matrices, and {summary['head']:,} in the head",
    }
    for name, value in lines.items():
        console.print(f"{name:>8}  {value}", highlight=False, markup=False, soft_wrap=True)
    if left_out:
        many = f"{len(left_out)} modules" if len(left_out) > 1 else "1 module"
        console.print(
            f"left out  {many}, with {_share(adapter, left_out):.1%} of the trained parameters", highlight=False
        )
        for module in left_out[:_MOST_LEFT_OUT]:
            console.print(f"          {module.name}: {module.reason}", highlight=False, markup=False, soft_wrap=True)
        if len(left_out) > _MOST_LEFT_OUT:
            console.print(f"          … and {len(left_out) - _MOST_LEFT_OUT} more; --json lists all", highlight=False)
    if table.empty:
        return
    shapes = table["out"].astype(str) + "×" + table["in"].astype(str)
    show(console, table.assign(shape=shapes, noise=noise_words(table, "off_diagonal")), _COLUMNS, wide=wide)
    whole = totals(table)
    noise = Level(*(whole[f"noise_off_diagonal_{end}"] for end in ("share", "low", "high")))
    console.print(
        f"Together ‖ΔW‖ / ‖W‖ = {whole['relative_norm']:.1%}; {whole['off_diagonal_share']:.1%} of M's energy is off "
        f"the diagonal ({noise.words(noise.percent)} if it were noise).",
        highlight=False,
        soft_wrap=True,
    )


def _write_figures(adapter: Adapter, table: pd.DataFrame, html: Path) -> None:
    """Write the map of layers, the wall of coefficients, and the spectrum of the matrix that changed most."""
    from analysis.figures.coefficient_wall import coefficient_wall
    from analysis.figures.cumulative_energy import cumulative_energy
    from analysis.figures.layer_map import layer_map
    from analysis.figures.page import write_page
    from analysis.figures.spectrum import spectrum
    from analysis.figures.theme import LIGHT
    from analysis.measures.overview import is_plain, wall
    from analysis.measures.ranks import rank_bounds
    from analysis.measures.spectrum import cumulative_energy as energy_table
    from analysis.measures.spectrum import spectrum as spectrum_table

    figures = []
    summary = facts(adapter)
    base = summary["base"] or "an unnamed base"
    sentence = f"{summary['method']} on {base}: {summary['trained']:,} trained parameters."
    if not table.empty:
        most = table["update_norm"].idxmax()
        matrix = adapter.matrix(table.at[most, "name"])
        bounds = rank_bounds(matrix)
        figures = [
            layer_map(table, theme=LIGHT, selected=matrix.name),
            coefficient_wall(wall(adapter), signed=is_plain(adapter), theme=LIGHT, selected=matrix.name),
            spectrum(spectrum_table(matrix), pattern=matrix.pattern, theme=LIGHT),
            cumulative_energy(
                energy_table(matrix),
                structural_rank=int(bounds["structural_rank"]),
                lora_rank=float(bounds["lora_rank"]),
                pattern=matrix.pattern,
                theme=LIGHT,
            ),
        ]
        sentence += f" Spectrum and energy are those of the largest update: {matrix.label}."
    write_page(html, adapter.path.name, sentence, figures)
