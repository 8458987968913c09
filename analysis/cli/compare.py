"""Body of `svft compare`: two adapters beside each other, as a table, as JSON, and as a page with figures."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pandas as pd
from rich.console import Console

from analysis.adapters.adapter import Adapter
from analysis.cli.tables import Column, show
from analysis.common.errors import AdapterError
from analysis.figures.comparison_map import LIKENESSES, comparison_map
from analysis.figures.page import write_page
from analysis.figures.theme import LIGHT
from analysis.measures.comparison import Shared, compare_adapters, overlap_words, shared

_PERCENT, _RATIO = "{:.1%}".format, "{:.2f}".format
_COLUMNS = {
    "label": Column("matrix"),
    "relative_norm_a": Column("first", _PERCENT),
    "relative_norm_b": Column("second", _PERCENT),
    "cosine": Column("cosine", _RATIO),
    "chance_cosine": Column("noise ±", _RATIO),
    "overlap_left": Column("left", _PERCENT),
    "noise_left": Column("noise left", gives_way=2),
    "overlap_right": Column("right", _PERCENT),
    "noise_right": Column("noise right", gives_way=1),
}
_READING = (
    "first, second: ‖ΔW‖/‖W‖ of each. cosine: of the two updates. left, right: overlap of "
    "their 10 leading directions. Beside them, where 95% of noise in place of the second lies. –: not defined."
)


def compare(a: Adapter, b: Adapter, *, as_json: bool, figure: Path | None, wide: bool = False) -> None:
    """Print how similar two adapters are, matrix by matrix, and write the maps to `figure` if it is given.

    Raises:
        AdapterError: If they have no matrix in common.
    """
    common = shared(a, b)
    damaged: dict[str, str] = {}
    table = compare_adapters(a, b, damaged)
    if table.empty:
        raise AdapterError(next(iter(damaged.values())))
    if as_json:
        print(json.dumps(_document(a, b, common, damaged, table), indent=1, ensure_ascii=False))
    else:
        _print(a, b, common, damaged, table, wide)
    if figure is not None:
        maps = [comparison_map(table, theme=LIGHT, likeness=likeness) for likeness in LIKENESSES]
        write_page(figure, f"{a.path.name} and {b.path.name}", common.sentence(), maps)


def _document(a: Adapter, b: Adapter, common: Shared, damaged: dict[str, str], table: pd.DataFrame) -> dict:
    return {
        "first": _facts(a),
        "second": _facts(b),
        "only_first": common.only_a,
        "only_second": common.only_b,
        "other_shape": common.unlike,
        "damaged": damaged,
        "matrices": json.loads(table.to_json(orient="records", double_precision=12)),
    }


def _facts(adapter: Adapter) -> dict:
    left_out = [asdict(module) for module in adapter.left_out]
    return {"path": str(adapter.path), "method": adapter.method, "base": adapter.base, "left_out": left_out}


def _print(a: Adapter, b: Adapter, common: Shared, damaged: dict[str, str], table: pd.DataFrame, wide: bool) -> None:
    console = Console()
    words = {f"noise_{side}": overlap_words(table, side) for side in ("left", "right")}
    show(
        console,
        table.assign(**words),
        _COLUMNS,
        title=f"{a.path.name} ({a.method}) and {b.path.name} ({b.method})",
        wide=wide,
    )
    console.print(f"{common.sentence()} {_READING}", highlight=False)
    for name, reason in damaged.items():
        console.print(f"{name} is left out: {reason}", highlight=False, markup=False, soft_wrap=True)
    for adapter in (a, b):
        if adapter.left_out:
            names = ", ".join(module.name for module in adapter.left_out[:5]) + (
                ", …" if len(adapter.left_out) > 5 else ""
            )
            console.print(
                f"{adapter.path.name} trains {adapter.left_out_share:.1%} of its parameters in modules that cannot be "
                f"shown: {names}; svft inspect says why.",
                highlight=False,
                markup=False,
                soft_wrap=True,
            )
