"""A study with its results as one JSON file: to share, to commit, to run again. Light: no torch."""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.trials.store import OUTCOME_COLUMNS, Store
from analysis.trials.study import Study, StudyError

DIRECTORY = Path(__file__).parents[1] / "studies"
LARGEST_FILE = 20 * 2**20
_RESULT_COLUMNS = ("task", "method", "label", "seed", "parameters", *OUTCOME_COLUMNS)


@dataclass(frozen=True)
class StudyFile:
    """A study and what came of it.

    Attributes:
        study: Resolved.
        results: `Store.results`, empty where only the study was shared.
        cost: `analysis.trials.worker.measure_cost`'s table, None where it was not measured.
        command: That runs it again.
    """

    study: Study
    results: pd.DataFrame
    cost: pd.DataFrame | None
    command: str


def export_study(store: Store, id: str) -> str:
    """Return a stored study with its finished trials as JSON."""
    record = store.study(id)
    rows = [
        {**{name: row[name] for name in _RESULT_COLUMNS}, "predicted": _pack(row["predicted"])}
        for row in store.results(id).to_dict("records")
    ]
    values = {
        "study": record.study.to_dict(),
        "command": command(record.study),
        "results": rows,
        "cost": None if record.cost is None else record.cost.to_dict("records"),
    }
    return json.dumps(values, indent=1, default=_plain) + "\n"


def read_study(content: str | bytes) -> StudyFile:
    """Return the study in a file's content.

    Raises:
        StudyError: Where it is no study's file.
    """
    if len(content) > LARGEST_FILE:
        raise StudyError(f"This file is larger than a study's file can be ({LARGEST_FILE / 2**20:.0f} MB).")
    try:
        values = json.loads(content)
        study = Study.from_dict(values["study"])
        rows = [{**row, "predicted": _unpack(row["predicted"])} for row in values.get("results") or []]
        results = pd.DataFrame(rows, columns=[*_RESULT_COLUMNS, "predicted"])
        results.insert(0, "trial", np.arange(len(results)))
        cost = values.get("cost")
        return StudyFile(study, results, None if cost is None else pd.DataFrame(cost), values.get("command", ""))
    except StudyError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, zlib.error) as error:
        raise StudyError("This is no study's file: it must be the JSON file that a study was saved as.") from error


def committed_studies() -> dict[str, StudyFile]:
    """Return the studies that come with this project, by task."""
    found = [read_study(path.read_bytes()) for path in sorted(DIRECTORY.glob("*.json"))]
    return {one.study.task: one for one in found}


def command(study: Study) -> str:
    """Return the `svft trial` command that runs a study again."""
    options = {
        "task": study.task,
        "methods": ",".join(
            f"{method}={size}" if size else method
            for method in study.methods
            for size in study.sizes.get(method, (None,))
        ),
        "budgets": ",".join(map(str, study.budgets)),
        "seeds": ",".join(map(str, study.seeds)),
        "steps": study.steps,
        "batch-size": study.batch_size,
        "examples": study.examples,
    }
    return " ".join(["svft trial", *(f"--{name} {value}" for name, value in options.items() if value)])


def _pack(predicted: np.ndarray) -> str:
    return base64.b64encode(zlib.compress(predicted.astype("<i2").tobytes(), 9)).decode()


def _unpack(packed: str) -> np.ndarray:
    content = zlib.decompressobj().decompress(base64.b64decode(packed), max_length=LARGEST_FILE)
    return np.frombuffer(content, dtype="<i2").astype(np.int16)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else str(value)
