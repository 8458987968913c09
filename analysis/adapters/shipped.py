"""The adapters that come with this project."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

DIRECTORY = Path(__file__).parent

# Order of appearance; anything else follows in alphabetical order.
_TASKS = {
    "bbc_headlines": "BBC headlines",
    "airline_tweets": "Airline tweets",
    "spoken_digits": "Spoken digits",
    "pirate": "Pirate",
}
_METHODS = {
    "plain": "plain",
    "banded": "banded",
    "random": "random",
    "top_k": "top_k",
    "chosen": "chosen, 1,382 entries",
    "lora_r1": "LoRA r=1",
    "lora_r8": "LoRA r=8",
    "full": "full fine-tuning",
}


def shipped_adapters() -> dict[str, Path]:
    """Return the directory of each shipped adapter by its name for people ("BBC headlines · plain").

    Directories are named ``<task>-<method>``. The head-only checkpoints have no update and are left out.
    """
    return dict(_by_name(DIRECTORY, DIRECTORY.stat().st_mtime_ns))


@lru_cache(maxsize=1)
def _by_name(directory: Path, changed: int) -> dict[str, Path]:
    """Return the shipped adapters in a directory as it was when it was last changed: a page asks some thirty times."""
    paths = [path for path in directory.glob("*-*") if path.is_dir() and not path.name.endswith("-head_only")]
    return {_title(path): path for path in sorted(paths, key=_place)}


def _title(path: Path) -> str:
    task, method = path.name.split("-", 1)
    return f"{_TASKS.get(task, task)} · {_METHODS.get(method, method)}"


def _place(path: Path) -> tuple[int, int, str]:
    task, method = path.name.split("-", 1)
    tasks, methods = list(_TASKS), list(_METHODS)
    return (
        tasks.index(task) if task in tasks else len(tasks),
        methods.index(method) if method in methods else len(methods),
        path.name,
    )
