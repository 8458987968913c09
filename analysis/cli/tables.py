"""Tables of the command line: what does not fit the terminal is shortened, then left out, and said."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.segment import Segment
from rich.table import Table

_SHORTEST = 20  # to which a name is shortened before columns are left out
_LEAST = 8  # and after all are that can be

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        heading: What stands above it.
        form: Returns the text of a value.
        text: Whether it is text, which stands at the left; the first column always does.
        gives_way: When it is left out if the table is too wide: 1 first, then 2, …; 0 never.
    """

    heading: str
    form: Callable[[Any], str] = str
    text: bool = False
    gives_way: int = 0


def show(
    console: Console, rows: Rows | pd.DataFrame, columns: Mapping[str, Column], *, title: str = "", wide: bool = False
) -> None:
    """Print a table that fits the console.

    The first column holds names. If the table is too wide, they are shortened to 20 characters; if that is not
    enough, columns are left out in the order of `Column.gives_way`, and named below the table.

    Args:
        console: Where to print.
        rows: The values; one that is missing or NaN is shown as –.
        columns: Key in the rows -> column, from left to right; those that no row has are left out without a word.
        title: Above the table.
        wide: Whether to print all of it, however wide the console is.
    """
    if isinstance(rows, pd.DataFrame):
        rows = rows.to_dict("records")
    table, left_out = fit(console, rows, columns, wide=wide)
    if title:
        console.print(title, highlight=False, markup=False)
    width, console.width = console.width, max(console.width, _width(console, table) if wide else 0)
    console.print(table)
    console.width = width
    if left_out:
        console.print(
            f"Left out to fit {console.width} columns: {', '.join(left_out)}. --wide shows all.", highlight=False
        )


def fit(console: Console, rows: Rows, columns: Mapping[str, Column], *, wide: bool = False) -> tuple[Table, list[str]]:
    """Return a table that fits the console, as `show` describes, and the headings of columns that are left out."""
    shown = {key: column for key, column in columns.items() if any(key in row for row in rows)}
    cells = {key: [_cell(row.get(key), column) for row in rows] for key, column in shown.items()}
    left_out: list[str] = []
    while True:
        table = _table(shown, cells)
        too_wide = _width(console, table) - console.width
        if wide or too_wide <= 0:
            return table, left_out
        name = next(iter(shown))
        longest = max(map(len, cells[name]), default=0)
        able = [key for key in shown if shown[key].gives_way]
        if longest - too_wide >= min(longest, _SHORTEST) or not able:
            short = {name: [shortened(cell, max(longest - too_wide, _LEAST)) for cell in cells[name]]}
            return _table(shown, cells | short), left_out
        left_out.append(shown.pop(min(able, key=lambda key: shown[key].gives_way)).heading)


def shortened(name: str, length: int) -> str:
    """Return a name of at most `length` characters, with … for its middle."""
    if len(name) <= length:
        return name
    end = (length - 1) * 2 // 3  # what tells modules apart is at the end
    return f"{name[: length - 1 - end]}…{name[-end:]}"


def _cell(value: Any, column: Column) -> str:
    missing = value is None or (isinstance(value, float) and pd.isna(value))
    return "–" if missing else column.form(value)


def _table(columns: Mapping[str, Column], cells: Mapping[str, Sequence[str]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for number, column in enumerate(columns.values()):
        left = number == 0 or column.text
        table.add_column(column.heading, justify="left" if left else "right", no_wrap=True)
    for row in zip(*(cells[key] for key in columns)):
        table.add_row(*row)
    return table


def _width(console: Console, table: Table) -> int:
    lines = console.render_lines(table, console.options.update_width(10_000), pad=False)
    return max(map(Segment.get_line_length, lines))
