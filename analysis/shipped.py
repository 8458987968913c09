"""The adapters that come with this project."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from analysis.evaluation import read_evaluation
from analysis.methods import METHODS

DIRECTORY = Path(__file__).parent / "adapters"

# Order of appearance; anything else follows in alphabetical order.
_TASKS = {"bbc_headlines": "BBC headlines", "airline_tweets": "Airline tweets"}
_METHODS = {
    "plain": "plain",
    "banded": "banded",
    "random": "random",
    "top_k": "top_k",
    "lora_r1": "LoRA r=1",
    "lora_r8": "LoRA r=8",
    "full": "full fine-tuning",
}


def shipped_adapters() -> dict[str, Path]:
    """Return the directory of each shipped adapter by its name for people ("BBC headlines · plain").

    Directories are named ``<task>-<method>``. The head-only checkpoints have no update and are left out.
    """
    found = [path for path in DIRECTORY.glob("*-*") if path.is_dir() and not path.name.endswith("-head_only")]
    return {_title(path): path for path in sorted(found, key=_place)}


@lru_cache(maxsize=8)
def recovered_by_pattern(task: str | None) -> dict[str, tuple[float, int]]:
    """Return recovered performance, and off_diag, of each pattern on a task, as the shipped adapters measured it."""
    found = {}
    for path in sorted(DIRECTORY.glob(f"{task}-*"), key=_place) if task in _TASKS else []:
        measured = read_evaluation(path)
        if measured and measured.recovered is not None and "svft" in METHODS[measured.spec["method"]].title.lower():
            found[measured.spec["method"]] = (measured.recovered, measured.spec["size"] or 0)
    return found


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
