"""A study with its results as one JSON file: to share, to commit, to run again. Light: no torch."""

from __future__ import annotations

import base64
import json
import shlex
import zlib
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.common.errors import UserError
from analysis.models.shapes import block_shapes
from analysis.planning.sizing import count_parameters
from analysis.training.forgetting import MEASURES
from analysis.training.tasks import get_task
from analysis.trials.results import summarize
from analysis.trials.store import OUTCOME_COLUMNS, Store
from analysis.trials.study import Study

DIRECTORY = Path(__file__).parents[1] / "studies"
LARGEST_FILE = 20 * 2**20
_RESULT_COLUMNS = ("task", "method", "label", "seed", "parameters", *OUTCOME_COLUMNS, *MEASURES)


@dataclass(frozen=True)
class StudyFile:
    """A study and what came of it.

    Attributes:
        study: Resolved.
        results: `Store.results`, empty if only the study was shared.
        cost: `analysis.trials.worker.measure_cost`'s table, None if it was not measured.
        command: That runs it again.
    """

    study: Study
    results: pd.DataFrame
    cost: pd.DataFrame | None
    command: str


def export_study(store: Store, id: str) -> str:
    """Return a stored study with its finished trials as JSON."""
    record = store.study(id)
    assert record is not None  # the study is stored
    rows = [
        {
            **{name: row[name] for name in _RESULT_COLUMNS if name not in MEASURES or pd.notna(row[name])},
            "predicted": _pack(row["predicted"]),
        }
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
        UserError: If it is not a study's file.
    """
    if len(content) > LARGEST_FILE:
        raise UserError(f"This file is larger than a study file can be ({LARGEST_FILE / 2**20:.0f} MB).")
    try:
        values = json.loads(content)
        study = Study.from_dict(values["study"])
        rows = [{**row, "predicted": _unpack(row["predicted"])} for row in values.get("results") or []]
        results = pd.DataFrame(rows, columns=[*_RESULT_COLUMNS, "predicted"])
        results.insert(0, "trial", np.arange(len(results)))
        results = results.astype(dict.fromkeys(MEASURES, float))
        cost = values.get("cost")
        return StudyFile(study, results, None if cost is None else pd.DataFrame(cost), values.get("command", ""))
    except UserError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, zlib.error) as error:
        raise UserError("This is not a study file: choose the JSON file that a study was saved as.") from error


def import_study(store: Store, file: StudyFile, *, owner: str, name: str, data: bytes | None = None) -> str:
    """Add a study that ran elsewhere, with its results; return its id. Trials without a result are interrupted.

    The arguments are those of `Store.add_study`.

    Raises:
        UserError: If it cannot be planned here, or the results are not of its plan.
    """
    trials, _ = file.study.plan()
    numbers = {(trial.label, trial.spec.seed): number for number, trial in enumerate(trials)}
    task = get_task(file.study.task)
    n = len(getattr(task.load(), file.study.final_split))
    rows = []
    try:
        for row in file.results.to_dict("records"):
            number = numbers[row["label"], int(row["seed"])]
            there = (*OUTCOME_COLUMNS, *(name for name in MEASURES if pd.notna(row[name])))
            measured = {column: float(row[column]) for column in there}
            predicted = row["predicted"]
            valid = len(predicted) == n and predicted.min() >= 0 and predicted.max() < len(task.labels)
            if not valid or not np.isfinite(list(measured.values())).all():
                raise ValueError
            rows.append({**row, **measured, "trial": number, "parameters": trials[number].parameters})
    except (KeyError, TypeError, ValueError) as error:
        raise UserError("The results in this file are not those of its study: it was changed, or damaged.") from error
    id = store.add_study(file.study, trials, engine="", owner=owner, name=name, data=data)
    store.add_outcomes(id, pd.DataFrame(rows, columns=["trial", *_RESULT_COLUMNS, "predicted"]), file.cost)
    for number in set(range(len(trials))) - {row["trial"] for row in rows}:
        store.set_trial_state(id, number, "interrupted")
    store.set_study_state(id, "done" if len(rows) == len(trials) else "interrupted")
    return id


def committed_studies() -> dict[str, StudyFile]:
    """Return the studies that come with this project, by task."""
    files = [read_study(path.read_bytes()) for path in sorted(DIRECTORY.glob("*.json"))]
    return {file.study.task: file for file in files}


def recovery_near(ranks: float) -> pd.DataFrame:
    """Return what methods recovered in the committed studies at about a budget, mean over the tasks.

    Models differ in size, so a budget is expressed as the rank of a LoRA on the same matrices that has as many
    parameters: 1 is LoRA r=1. Of each study counts the configuration of a method that is nearest, if it is within a
    factor of three.

    Args:
        ranks: The budget.

    Returns:
        Rows ``method``, ``recovered``, ``low``, ``high`` (95% intervals of the tasks, averaged) and ``tasks``.
    """
    table = _recovery()
    table = table.assign(distance=np.abs(np.log(table["ranks"] / ranks)))
    near = table[table["distance"] <= np.log(3)].sort_values("distance", kind="stable")
    nearest = near.drop_duplicates(["task", "method"])
    return nearest.groupby("method", sort=False).agg(
        recovered=("recovered", "mean"), low=("low", "mean"), high=("high", "mean"), tasks=("task", "size")
    ).reset_index()  # fmt: skip


@lru_cache(maxsize=1)
def _recovery() -> pd.DataFrame:
    rows = []
    for task, file in committed_studies().items():
        study = file.study
        assert study.base is not None  # a committed study names it
        truth = getattr(get_task(task).load(), study.final_split).labels
        smallest = count_parameters("lora", list(block_shapes(study.base, study.target_modules).values()), 1)
        for row in summarize(file.results, truth).itertuples():
            if row.method not in ("head_only", "full") and not np.isnan(row.recovered):
                bounds = (row.recovered, row.recovered_low, row.recovered_high)
                rows.append((task, row.method, row.parameters / smallest, *bounds))
    return pd.DataFrame(rows, columns=["task", "method", "ranks", "recovered", "low", "high"])


def command(study: Study, file: str = "study.json") -> str:
    """Return the `svft trial` command that runs a study again: from `file` if options cannot say all of it."""
    expressed = replace(
        study,
        learning_rates={},
        head_learning_rates={},
        custom_indices=None,
        final_split="test",
        set_apart=False,
        threads=1,
    )
    if expressed.resolved() != study.resolved():
        return f"svft trial --study {shlex.quote(file)}"
    options = {
        "task": study.task,
        "methods": ",".join(
            f"{method}={size}" if size else method
            for method in study.methods
            for size in study.sizes.get(method, (None,))
        ),
        "budgets": ",".join(map(str, study.budgets)),
        "seeds": ",".join(map(str, study.seeds)),
    }
    defaults = Study(study.task, study.methods, study.budgets, study.sizes, study.seeds).resolved()
    for name in ("base", "steps", "batch_size", "examples", "evaluate_every"):
        if getattr(study, name) not in (None, getattr(defaults, name)):
            options[name.replace("_", "-")] = getattr(study, name)
    words = [f"--{name} {shlex.quote(str(value))}" for name, value in options.items() if value]
    words += [f"--target-modules {shlex.quote(target)}" for target in study.target_modules or ()]
    return " ".join(["svft trial", *words])


def _pack(predicted: np.ndarray) -> str:
    return base64.b64encode(zlib.compress(predicted.astype("<i2").tobytes(), 9)).decode()


def _unpack(packed: str) -> np.ndarray:
    content = zlib.decompressobj().decompress(base64.b64decode(packed), max_length=LARGEST_FILE)
    return np.frombuffer(content, dtype="<i2").astype(np.int16)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else str(value)
