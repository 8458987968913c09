"""Tables that people bring: CSV, JSON or Parquet, read with one clear sentence for whatever is wrong. No torch.

Cells of CSV files stay the texts that they are: "NA" is a label like any other, only an empty cell is missing.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import pandas as pd

from analysis.common.errors import OwnDataError

if TYPE_CHECKING:
    import pyarrow

MAX_BYTES = 20_000_000
MAX_ROWS = 1_000_000
MAX_COLUMNS = 100
_MAX_EXPANDED = 10 * MAX_BYTES  # what a compressed file may become
_DELIMITERS = ",;\t|"
_LONGEST_NAME = 80  # characters of a column's name: more are a text
_FEW = 50  # different values: a column of labels has not more

# What columns of texts and of labels are usually called.
TEXT_NAMES = ("text", "sentence", "message", "tweet", "review", "headline", "title", "content", "body", "comment")
LABEL_NAMES = ("label", "class", "category", "target", "sentiment", "topic", "intent", "y")

UTF_8, WINDOWS = "UTF-8", "Windows-1252"


def read_table(file: BinaryIO | Path, name: str, *, header: bool | None = None) -> pd.DataFrame:
    """Return the table in a file.

    Parquet is known by its first bytes; JSON (one object per line, or an array of objects) by the suffix (.jsonl,
    .ndjson, .json) or by how it begins; anything else is CSV, separated by commas, semicolons, tabs or bars. Text is
    UTF-8, or UTF-16 with its mark; what is neither is read as Windows-1252, unless it is UTF-8 that was damaged.

    Args:
        file: An open file, or the path of one.
        name: Its name for people, with its suffix.
        header: Whether the first row of a CSV file holds the names of the columns; None finds out.

    Returns:
        A table whose ``attrs`` hold ``name``, ``encoding`` (`WINDOWS` if that was assumed, else `UTF_8`) and
        ``header``, as found or given; None if it is not CSV.

    Raises:
        OwnDataError: If it is too large, empty, of another kind, or damaged.
    """
    content = _content(file, name)
    if content.startswith(b"PAR1"):
        table = _read_parquet(content, name)
    elif content.startswith((b"PK\x03\x04", b"\x1f\x8b", b"\xd0\xcf\x11\xe0")):
        raise OwnDataError(f"{name} is a workbook or a compressed file: save the table as CSV, and choose that.")
    else:
        text, encoding = _decode(content, name)
        is_json = Path(name).suffix.lower() in (".jsonl", ".ndjson", ".json") or re.match(r"\s*(\[\s*)?\{", text)
        table = _read_json(text, name) if is_json else _read_csv(text, name, header)
        table.attrs["encoding"] = encoding
    if table.empty:
        raise OwnDataError(f"{name} has no rows.")
    table.attrs = {"encoding": UTF_8, "header": None} | table.attrs | {"name": name}
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


def _decode(content: bytes, name: str) -> tuple[str, str]:
    """Return the text of a file, and which encoding it was read in: `UTF_8` or `WINDOWS`."""
    encoding = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    name_of_encoding = UTF_8
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        damaged = OwnDataError(
            f"Line {line} of {name} is neither UTF-8 nor Windows-1252 text: save the file with the encoding UTF-8."
        )
        if encoding == "utf-16" or _is_mostly_utf_8(content):
            raise damaged from error
        try:
            text, name_of_encoding = content.decode("cp1252"), WINDOWS
        except UnicodeDecodeError:
            raise damaged from error
    if "\0" in text:
        raise OwnDataError(f"{name} is not a text file: choose a CSV, JSON or Parquet file.")
    return text, name_of_encoding


def _is_mostly_utf_8(content: bytes) -> bool:
    """Whether most bytes beyond ASCII form whole UTF-8 characters, which those of Windows-1252 hardly ever do."""
    beyond = int((np.frombuffer(content, np.uint8) >= 0x80).sum())
    kept = len(content.decode("utf-8", errors="ignore").encode())  # bytes of ASCII and of whole characters
    return kept - (len(content) - beyond) > beyond / 2


def _has_header(rows: list[list[str]]) -> bool:
    """Return whether the first row of a CSV file names the columns.

    It does if a name is a usual one, or a cell is blank (an index column). It does not if one of its cells is too long
    for a name, is a number like all below it, or comes again below as one of few values, as labels do.
    """
    first, rest = rows[0], rows[1:]
    names = [cell.strip().lower() for cell in first]
    if not rest or not all(names) or set(names) & {*TEXT_NAMES, *LABEL_NAMES}:
        return True
    for cell, below in zip(first, zip(*rest, strict=True), strict=True):
        values = set(below)
        if len(cell) > _LONGEST_NAME or (is_number(cell) and all(map(is_number, values))):
            return False
        if cell in values and len(values) <= min(_FEW, len(below) - 1):
            return False
    return True


def is_number(text: str) -> bool:
    """Whether a text is a number, with a point or a comma."""
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return True


def _read_csv(text: str, name: str, header: bool | None) -> pd.DataFrame:
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
                    f"Line {reader.line_num} of {name} has {len(row)} fields, but the first has {len(rows[0])}: put "
                    "texts that contain the separator in double quotes."
                )
    except csv.Error as error:
        raise OwnDataError(
            f"{name} cannot be read as CSV near line {reader.line_num} ({error}): check its double quotes."
        ) from error
    if not rows:
        raise OwnDataError(f"{name} has no rows.")
    named = _has_header(rows) if header is None else header
    # Index columns have no name.
    names = [column.strip() for column in rows[0]] if named else [""] * len(rows[0])
    columns = [column or f"column {place}" for place, column in enumerate(names, start=1)]
    table = pd.DataFrame(rows[1:] if named else rows, columns=_checked(columns, name), dtype=object)
    table.attrs["header"] = named
    return table


def _read_json(text: str, name: str) -> pd.DataFrame:
    rows = _of_array(text, name) if text.lstrip().startswith("[") else _of_lines(text, name)
    if not rows:
        raise OwnDataError(f"{name} has no rows.")
    columns = list(dict.fromkeys(column for row in rows for column in row))
    return pd.DataFrame(rows, columns=_checked(columns, name), dtype=object)


def _of_array(text: str, name: str) -> list[dict]:
    try:
        rows = json.loads(text)
    except RecursionError:
        raise OwnDataError(f"{name} is nested too deeply: an array of objects is expected.") from None
    except ValueError as error:
        line = f"near line {error.lineno} " if isinstance(error, json.JSONDecodeError) else ""
        raise OwnDataError(f"{name} is a JSON array that is damaged {line}({error}): save it again.") from error
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise OwnDataError(
                f'Element {number} of the JSON array in {name} is not an object: write each as {{"text": "…", '
                '"label": "…"}.'
            )
    return rows


def _of_lines(text: str, name: str) -> list[dict]:
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            if not isinstance(row, dict):
                raise OwnDataError(
                    f"Line {number} of {name} is not a JSON object: write one object per line, or an array of them, "
                    'as {"text": "…", "label": "…"}.'
                )
            rows.append(row)
    return rows


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
