"""A person's own prompts and completions, from a file of JSON lines to a task. Light: no torch.

The pairs are sorted by the SHA-256 of the prompt's normalised form, as all examples are (`training.tasks`). The first
15%, from 2 to 200, are held out; pairs of the same prompt are never on both sides.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from analysis.common.errors import OwnDataError
from analysis.models.packages import SMOLLM2
from analysis.training import tasks
from analysis.training.data.own_table import MAX_BYTES
from analysis.training.tasks import OWN_PREFIX, Task, sort_key

PIRATE = Path(__file__).with_name("pirate.jsonl")  # what the language model's shipped adapter learned
FIELDS = ("prompt", "completion")
MIN_PAIRS = 10
_HELD_OUT = 15  # percent
_FORM = '{"prompt": "…", "completion": "…"}'

Pair = tuple[str, str]


def read_pairs(path: Path) -> tuple[Pair, ...]:
    """Return the prompts and completions in a file of JSON lines, in the order of the splits, each pair once.

    Other fields of a line are left alone, and blank lines skipped.

    Raises:
        OwnDataError: If the file or one of its lines is something else, with the number of the line.
    """
    try:
        size = path.stat().st_size
        content = path.read_bytes() if size <= MAX_BYTES else b""
    except OSError as error:
        raise OwnDataError(f"{path} cannot be read: {error.strerror}.") from error
    if size > MAX_BYTES:
        raise OwnDataError(f"{path.name} is larger than {MAX_BYTES / 1e6:.0f} MB: a part of its pairs is enough.")
    lines = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    pairs = {_pair(line, f"Line {number} of {path.name}") for number, line in enumerate(lines, 1) if line.strip()}
    if len(pairs) < MIN_PAIRS:
        raise OwnDataError(f"{path.name} has {len(pairs)} different pairs, at least {MIN_PAIRS} are needed.")
    return tuple(sorted(pairs, key=sort_key))


def register_pairs(path: Path) -> Task:
    """Read a file of pairs and make `get_task` find them in this process; return their task.

    Raises:
        OwnDataError: If the file holds no pairs.
    """
    pairs = read_pairs(path)
    digest = hashlib.sha256(json.dumps(pairs).encode()).hexdigest()
    held_out = _held_out(pairs)
    return tasks.register(
        Task(
            name=f"{OWN_PREFIX}{digest[:12]}",
            title=path.stem,
            labels=("",),
            examples=len(pairs) - held_out,
            package=None,
            read=lambda _: [(pair, "") for pair in pairs],
            base=SMOLLM2,
            kind="pairs",
            n_test=0,
            n_validation=held_out,
        )
    )


def _pair(line: bytes, where: str) -> Pair:
    try:
        values = json.loads(line.decode())
    except UnicodeDecodeError:
        raise OwnDataError(f"{where} is not UTF-8 text: save the file with the encoding UTF-8.") from None
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise OwnDataError(f"{where} is not a JSON object: write one pair a line, as {_FORM}.")
    for field in FIELDS:
        if not isinstance(values.get(field), str):
            raise OwnDataError(f"{where} has no text called {field!r}: write one pair a line, as {_FORM}.")
        if not values[field].strip():
            raise OwnDataError(f"{where} has an empty {field}: leave the line out, or write one.")
    # JSON can carry halves of characters, which no tokenizer reads.
    prompt, completion = (values[field].encode("utf-8", "replace").decode() for field in FIELDS)
    return prompt, completion


def _held_out(pairs: tuple[Pair, ...]) -> int:
    """Return how many of the sorted pairs are held out, so that no prompt is on both sides.

    Raises:
        OwnDataError: If nearly all have the same prompt.
    """
    count = min(200, max(2, len(pairs) * _HELD_OUT // 100))
    while count < len(pairs) and sort_key(pairs[count])[0] == sort_key(pairs[count - 1])[0]:
        count += 1
    if count > len(pairs) // 2:
        raise OwnDataError(
            "Too many pairs have the same prompt: no part can be held out to judge what was learned on the others."
        )
    return count
