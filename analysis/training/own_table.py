"""Tables that people bring: CSV, JSON lines or Parquet, read with one clear sentence for whatever is wrong. No torch.

Cells of CSV files stay the texts that they are: "NA" is a label like any other, only an empty cell is missing.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import pandas as pd

from analysis.common.errors import OwnDataError

if TYPE_CHECKING:
    import pyarrow

MAX_BYTES = 20_000_000
MAX_ROWS = 1_000_000
MAX_COLUMNS = 100
_MAX_EXPANDED = 10 * MAX_BYTES  # what a compressed file may become
_DELIMITERS = ",;\t|"


def read_table(file: BinaryIO | Path, name: str) -> pd.DataFrame:
    """Return the table in a file; ``table.attrs["name"]`` is the file's name.

    Parquet is known by its first bytes, JSON lines by the suffix (.jsonl, .ndjson, .json) or a first brace; anything
    else is CSV, separated by commas, semicolons, tabs or bars, with a header.

    Args:
        file: An open file, or the path of one.
        name: Its name for people, with its suffix.

    Raises:
        OwnDataError: If it is too large, empty, of another kind, or damaged.
    """
    content = _content(file, name)
    if content.startswith(b"PAR1"):
        table = _read_parquet(content, name)
    elif content.startswith((b"PK\x03\x04", b"\x1f\x8b", b"\xd0\xcf\x11\xe0")):
        raise OwnDataError(f"{name} is a workbook or a compressed file: save the table as CSV, and choose that.")
    else:
        text = _decode(content, name)
        is_json = Path(name).suffix.lower() in (".jsonl", ".ndjson", ".json") or text.lstrip().startswith("{")
        table = _read_json_lines(text, name) if is_json else _read_csv(text, name)
    if table.empty:
        raise OwnDataError(f"{name} has no rows.")
    table.attrs["name"] = name
    return table


def _content(file: BinaryIO | Path, name: str) -> bytes:
    try:
        if isinstance(file, Path):
            with file.open("rb") as opened:
                content = opened.read(MAX_BYTES + 1)
        else:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise OwnDataError(f"{name} cannot be read: {error.strerror}.") from error
    if len(content) > MAX_BYTES:
        raise OwnDataError(f"{name} is larger than {MAX_BYTES / 1e6:.0f} MB: a part of its rows is enough.")
    if not content.strip():
        raise OwnDataError(f"{name} is empty.")
    return content


def _decode(content: bytes, name: str) -> str:
    encoding = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise OwnDataError(
            f"Line {line} of {name} is not UTF-8 text: save the file with the encoding UTF-8."
        ) from error
    if "\0" in text:
        raise OwnDataError(f"{name} is not a text file: choose a CSV, JSON lines or Parquet file.")
    return text


def _read_csv(text: str, name: str) -> pd.DataFrame:
    header_line = text.lstrip().partition("\n")[0]
    delimiter = max(_DELIMITERS, key=header_line.count)  # the first of them if there is none
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[list[str]] = []
    try:
        for row in reader:
            if not any(row):  # a blank line
                continue
            rows.append(row)
            if len(row) != len(rows[0]):
                raise OwnDataError(
                    f"Line {reader.line_num} of {name} has {len(row)} fields, but the header has {len(rows[0])}: put "
                    "texts that contain the separator in double quotes."
                )
    except csv.Error as error:
        raise OwnDataError(
            f"{name} cannot be read as CSV near line {reader.line_num} ({error}): check its double quotes."
        ) from error
    if not rows:
        raise OwnDataError(f"{name} has no rows.")
    header, *cells = rows
    # Index columns have no name.
    columns = [column.strip() or f"column {place}" for place, column in enumerate(header, start=1)]
    return pd.DataFrame(cells, columns=_checked(columns, name), dtype=object)


def _read_json_lines(text: str, name: str) -> pd.DataFrame:
    if text.lstrip().startswith("["):
        raise OwnDataError(f"{name} is one JSON array: write one object per line (JSON lines).")
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            if not isinstance(row, dict):
                raise OwnDataError(
                    f'Line {number} of {name} is not a JSON object: write one object per line, as {{"text": "…", '
                    '"label": "…"}.'
                )
            rows.append(row)
    columns = list(dict.fromkeys(column for row in rows for column in row))
    return pd.DataFrame(rows, columns=_checked(columns, name), dtype=object)


def _read_parquet(content: bytes, name: str) -> pd.DataFrame:
    import pyarrow
    from pyarrow import parquet

    try:
        schema = parquet.read_schema(io.BytesIO(content))
        flat = _checked([field.name for field in schema if _can_be_text_or_label(field.type)], name)
        # A few bytes can stand for gigabytes of texts: as dictionaries they are read without being repeated.
        file = parquet.ParquetFile(io.BytesIO(content), read_dictionary=flat)
        groups = [file.metadata.row_group(place) for place in range(file.num_row_groups)]
        if file.metadata.num_rows > MAX_ROWS or sum(group.total_byte_size for group in groups) > _MAX_EXPANDED:
            raise OwnDataError(_too_large(name))
        table = file.read(columns=flat)
        if sum(map(_expanded, table.columns)) > _MAX_EXPANDED:
            raise OwnDataError(_too_large(name))
        return table.to_pandas(ignore_metadata=True)
    except (pyarrow.ArrowException, OSError) as error:
        raise OwnDataError(f"{name} is a damaged Parquet file: write it anew, or save the table as CSV.") from error


def _can_be_text_or_label(type_: pyarrow.DataType) -> bool:
    from pyarrow import types

    of = type_.value_type if types.is_dictionary(type_) else type_
    return types.is_string(of) or types.is_large_string(of) or types.is_string_view(of) or types.is_primitive(of)


def _expanded(column: pyarrow.ChunkedArray) -> int:
    """Return the bytes of a column's texts, each as often as it comes; 0 for other columns."""
    from pyarrow import compute, types

    if not types.is_dictionary(column.type) or not types.is_string(column.type.value_type):
        return 0
    lengths = (compute.take(compute.binary_length(part.dictionary), part.indices) for part in column.chunks)
    return sum(compute.sum(part.cast("int64")).as_py() or 0 for part in lengths)


def _too_large(name: str) -> str:
    return f"{name} is too large for a file of texts: a part of its rows is enough."


def _checked(columns: Iterable[str], name: str) -> list[str]:
    columns = list(columns)
    if len(columns) < 2:
        raise OwnDataError(
            f"{name} has one column only ({', '.join(columns)}): texts and labels in two columns are needed."
        )
    if len(columns) > MAX_COLUMNS:
        raise OwnDataError(f"{name} has {len(columns):,} columns, at most {MAX_COLUMNS} are read.")
    if repeated := [column for column in columns if columns.count(column) > 1]:
        raise OwnDataError(f"{name} has two columns called {repeated[0]!r}: give them different names.")
    return columns
