"""A person's own labelled texts, as a task. Light: no torch.

A table becomes (text, label) pairs: rows without text or label are dropped, and a text that comes more than once, by
its normalised form, is kept once with the label of its majority, as in the task of tweets. The splits follow the same
rule as all others (`training.tasks`), with sizes that suit small data: 30% of the texts for the test, from 50 to 800,
and 15% for validation, from 25 to 400.

A task of a person's own data is called by the SHA-256 of its pairs, ``own-1a2b3c4d5e6f``: the same texts and labels
have the same name everywhere, whatever their order in the file and whatever its name. `get_task` finds it in a process
that has registered it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.common.errors import OwnDataError
from analysis.training import tasks
from analysis.training.data.own_table import LABEL_NAMES, TEXT_NAMES, is_number
from analysis.training.data.own_table import read_table as read_table
from analysis.training.tasks import OWN_PREFIX, Task, by_majority, normalize, sort_key

MIN_ROWS = 150
MIN_ROWS_PER_CLASS = 20
MAX_CLASSES = 50
RARE = f"a label with fewer than {MIN_ROWS_PER_CLASS} texts"
_MAX_EXAMPLES = 600

_NAME = re.compile(OWN_PREFIX + r"[0-9a-f]{12}")


@dataclass(frozen=True)
class OwnData:
    """Cleaned labelled texts. They are nothing but text, whatever they contain: escape them where they are shown.

    Attributes:
        title: For people: the name of the file.
        pairs: (text, label), distinct by normalised text, in the order of the splits.
        rows: Rows of the file.
        dropped: Reason -> rows that were left out, for those reasons that there were.
    """

    title: str
    pairs: tuple[tuple[str, str], ...]
    rows: int
    dropped: Mapping[str, int] = field(hash=False)

    @cached_property
    def name(self) -> str:
        """The task's name, from the pairs alone."""
        digest = hashlib.sha256(json.dumps(self.pairs).encode()).hexdigest()
        return f"{OWN_PREFIX}{digest[:12]}"

    @cached_property
    def counts(self) -> dict[str, int]:
        """Class -> number of texts. Whole numbers are ordered as numbers, other classes by name."""
        counts = Counter(label for _, label in self.pairs)
        return {label: counts[label] for label in sorted(counts, key=_label_order)}

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes."""
        return tuple(self.counts)

    def task(self) -> Task:
        """Return the data as a task; `register` makes `get_task` find it."""
        n_test, n_validation = split_sizes(len(self.pairs))
        return Task(
            name=self.name,
            title=self.title,
            labels=self.labels,
            examples=min(_MAX_EXAMPLES, len(self.pairs) - n_test - n_validation),
            package=None,
            read=self._read,
            n_test=n_test,
            n_validation=n_validation,
        )

    def _read(self, directory: None) -> tuple[tuple[str, str], ...]:
        return self.pairs

    def to_bytes(self) -> bytes:
        """Return the data as JSON lines: a first line about it, then one pair per line."""
        about = {"title": self.title, "rows": self.rows, "dropped": dict(self.dropped)}
        lines = (about, *({"text": text, "label": label} for text, label in self.pairs))
        return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> OwnData:
        """Return the data that `to_bytes` wrote.

        Raises:
            OwnDataError: If it is something else.
        """
        try:
            about, *lines = (json.loads(line) for line in content.decode().split("\n") if line)
            pairs = tuple((line["text"], line["label"]) for line in lines)
            if not all(isinstance(part, str) for pair in pairs for part in pair):
                raise TypeError
            dropped = {str(reason): int(count) for reason, count in about["dropped"].items()}
            return cls(str(about["title"]), pairs, int(about["rows"]), dropped)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise OwnDataError("These data were not saved here: choose the original file again.") from error

    def save(self, directory: Path) -> Path:
        """Write the data to ``<directory>/<name>.jsonl``, whole or not at all; return the path."""
        path = directory / f"{self.name}.jsonl"
        unfinished = path.with_suffix(f".{os.getpid()}.tmp")
        unfinished.write_bytes(self.to_bytes())
        return unfinished.replace(path)


def load(directory: Path, name: str) -> OwnData:
    """Return the data that `OwnData.save` wrote under its name.

    Raises:
        OwnDataError: If there are none, or the file was changed.
    """
    path = directory / f"{name}.jsonl"
    if not _NAME.fullmatch(name) or not path.is_file():
        raise OwnDataError(f"The data {name!r} are not here: choose the original file again.")
    data = OwnData.from_bytes(path.read_bytes())
    if data.name != name:
        raise OwnDataError(f"The file {path.name} was changed since it was saved: choose the original file again.")
    return data


def register(data: OwnData) -> Task:
    """Make `get_task` find the data's task in this process, and return it."""
    return tasks.register(data.task())


def split_sizes(n: int) -> tuple[int, int]:
    """Return the sizes of the test and the validation split of `n` texts."""
    return min(800, max(50, n * 30 // 100)), min(400, max(25, n * 15 // 100))


def suggest_columns(table: pd.DataFrame) -> tuple[str, str]:
    """Return the columns that look most like texts and their labels, by name, then length and number of values.

    Raises:
        OwnDataError: If none do.
    """
    values = {column: [value for value in table[column] if not _is_missing(value)] for column in table.columns}
    texts = [column for column, cells in values.items() if cells and not _no_texts(cells)]
    if not texts:
        raise OwnDataError(f"{_title(table)} has no column of texts; it has {', '.join(map(str, table.columns))}.")
    text = min(texts, key=lambda c: (_rank(c, TEXT_NAMES), -np.mean([len(value) for value in values[c]])))
    classes = {c: _number_of_classes(cells, c) for c, cells in values.items() if c != text}
    labels = [column for column, number in classes.items() if 2 <= number <= MAX_CLASSES]
    if not labels:
        raise OwnDataError(
            f"{_title(table)} has no column of labels beside {text!r}: one with 2 to {MAX_CLASSES} different values."
        )
    return text, min(labels, key=lambda c: (_rank(c, LABEL_NAMES), classes[c]))


def check(table: pd.DataFrame, text_column: str, label_column: str, *, drop_rare: bool = False) -> OwnData:
    """Return the labelled texts of a table, cleaned.

    Args:
        table: From `read_table`.
        text_column: A column of texts.
        label_column: A column of names, whole numbers or true and false.
        drop_rare: Whether to leave out texts whose label has fewer than `MIN_ROWS_PER_CLASS` of them, instead of
            refusing the table.

    Raises:
        OwnDataError: If the columns or what is left of the rows cannot be a task.
    """
    for column in (text_column, label_column):
        if column not in table.columns:
            raise OwnDataError(
                f"{_title(table)} has no column {column!r}; it has {', '.join(map(str, table.columns))}."
            )
    if text_column == label_column:
        raise OwnDataError("Text and label are the same column: choose two.")
    if problem := _no_texts([value for value in table[text_column] if not _is_missing(value)]):
        raise OwnDataError(f"The column {text_column!r} holds {problem}, not texts: choose another one.")
    dropped: Counter[str] = Counter()
    pairs = []
    for text, value in zip(table[text_column], table[label_column], strict=True):
        label = _label(value, label_column)
        text = "" if _is_missing(text) else _clean(text)
        if not text:
            dropped["no text"] += 1
        elif not label:
            dropped["no label"] += 1
        elif not normalize(text):
            dropped["no letter or digit in the text"] += 1
        else:
            pairs.append((text, label))
    kept, contested = by_majority(pairs)
    dropped["a duplicate text"] = len(pairs) - len(kept) - contested
    dropped["the same text with different labels, none in the majority"] = contested
    if drop_rare:
        counts = Counter(label for _, label in kept)
        common = [pair for pair in kept if counts[pair[1]] >= MIN_ROWS_PER_CLASS]
        dropped[RARE] = len(kept) - len(common)
        kept = common
    data = OwnData(
        title=_title(table),
        pairs=tuple(sorted(kept, key=lambda pair: sort_key(pair[0]))),
        rows=len(table),
        dropped={reason: count for reason, count in dropped.items() if count},
    )
    _check_classes(data, label_column)
    return data


def _check_classes(data: OwnData, label_column: str) -> None:
    if len(data.labels) > MAX_CLASSES:
        raise OwnDataError(
            f"The column {label_column!r} has {len(data.labels):,} different labels, at most {MAX_CLASSES} can be "
            "learned here: is it the right column?"
        )
    if len(data.pairs) < MIN_ROWS:
        raise OwnDataError(
            f"{data.title} has {len(data.pairs)} distinct labelled texts, at least {MIN_ROWS} are needed to train and "
            "to tell methods apart."
        )
    if len(data.labels) < 2:
        raise OwnDataError(f"All texts have the label {data.labels[0]!r}: at least two classes are needed.")
    if rare := [f"{label} ({count})" for label, count in data.counts.items() if count < MIN_ROWS_PER_CLASS]:
        more = f" and {len(rare) - 3} more" if len(rare) > 3 else ""
        raise OwnDataError(
            f"Each class needs at least {MIN_ROWS_PER_CLASS} texts; too rare: {', '.join(rare[:3])}{more}. Leave them "
            "out, or join them with others."
        )


def _no_texts(values: Iterable[Any]) -> str | None:
    """Return what values are if they are not texts."""
    values = list(values)
    if not values:
        return "nothing"
    for value in values:
        if not isinstance(value, str):
            return "numbers" if isinstance(value, Real | np.bool_) else f"values such as {str(value)[:40]!r}"
    return "numbers" if all(map(is_number, values)) else None


def _number_of_classes(values: Iterable[Any], column: str) -> int:
    """Return how many labels there are, 0 if values are none."""
    try:
        return len({_label(value, column) for value in values})
    except OwnDataError:
        return 0


def _is_missing(value: Any) -> bool:
    if isinstance(value, str):
        return not value.strip()
    return value is None or value is pd.NA or value is pd.NaT or (isinstance(value, Real) and value != value)


def _label(value: Any, column: str) -> str:
    """Return a label's name, "" if it is missing."""
    if _is_missing(value):
        return ""
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, bool | np.bool_ | Integral):
        return str(value)
    if isinstance(value, Real) and float(value).is_integer():  # whole numbers in a column with missing ones
        return str(int(float(value)))
    raise OwnDataError(
        f"The column {column!r} holds {str(value)[:40]!r}, which is not a label: labels are names, whole numbers, or "
        "true and false."
    )


def _clean(text: str) -> str:
    # JSON can carry halves of characters, which cannot be written.
    return text.encode("utf-8", "replace").decode().strip()


def _label_order(label: str) -> tuple[bool, int, str]:
    number = re.fullmatch(r"-?\d{1,18}", label)
    return (not number, int(label) if number else 0, label)


def _rank(column: Any, names: tuple[str, ...]) -> int:
    """Return the place of a column's name among those that are usual for its role."""
    lower = str(column).strip().lower()
    return names.index(lower) if lower in names else len(names)


def _title(table: pd.DataFrame) -> str:
    return _clean(table.attrs.get("name", "The table"))
