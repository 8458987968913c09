"""The adapters that come with this project."""

from __future__ import annotations

import json
from pathlib import Path

DIRECTORY = Path(__file__).parent / "adapters"

# Order of appearance; anything else follows in alphabetical order.
_TASKS = {"bbc_headlines": "BBC headlines", "airline_tweets": "Airline tweets"}
_METHODS = ("plain", "banded", "random", "top_k")


def shipped_adapters() -> dict[str, Path]:
    """Return the directory of each shipped SVFT adapter by its name for people ("BBC headlines · plain").

    Directories are named ``<task>-<method>``. The head-only checkpoints have no M and are left out.
    """
    found = [config.parent for config in DIRECTORY.glob("*-*/adapter_config.json") if _is_svft(config)]
    return {_title(path): path for path in sorted(found, key=_place)}


def _is_svft(config: Path) -> bool:
    return json.loads(config.read_text(encoding="utf-8")).get("peft_type") == "SVFT"


def _title(path: Path) -> str:
    task, method = path.name.split("-", 1)
    return f"{_TASKS.get(task, task)} · {method}"


def _place(path: Path) -> tuple[int, int, str]:
    task, method = path.name.split("-", 1)
    tasks = list(_TASKS)
    return (
        tasks.index(task) if task in tasks else len(tasks),
        _METHODS.index(method) if method in _METHODS else len(_METHODS),
        path.name,
    )
