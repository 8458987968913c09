"""A stored study and a stored trial, as whoever shows them gets them from the store."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from analysis.common.errors import UserError
from analysis.training.tasks import get_task
from analysis.trials.study import Study, Trial

TRIAL_FILE = "trial.json"  # beside a trial's adapter: what it is
ENDED = ("done", "failed", "stopped")
# Trials: waiting, running, done, failed, stopped, interrupted. Studies: queued, running, done, stopped, interrupted.


@dataclass(frozen=True)
class StudyRecord:
    """A stored study.

    Attributes:
        id: Its name in the store.
        owner: Whose it is; "" belongs to everyone who uses this store (the command line's).
        name: For people.
        created: Seconds since the epoch.
        study: What is compared, resolved.
        state: "queued", "running", "done", "stopped" or "interrupted".
        engine: Which engine runs it, or ran it last.
        bet: What its owner bet before it began, None without a bet.
        cost: `analysis.trials.worker.measure_cost`'s table, None if it was not measured.
    """

    id: str
    owner: str
    name: str
    created: float
    study: Study
    state: str
    engine: str
    bet: dict | None
    cost: pd.DataFrame | None

    @classmethod
    def from_row(cls, row: sqlite3.Row) -> StudyRecord:
        """Return what a row of the table of studies says."""
        values = dict(row)
        values["study"] = Study.from_dict(json.loads(values["study"]))
        values["bet"] = values["bet"] and json.loads(values["bet"])
        values["cost"] = values["cost"] and pd.DataFrame(json.loads(values["cost"]))
        return cls(**values)


@dataclass(frozen=True)
class TrialRecord:
    """A stored trial.

    Attributes:
        number: Its place in the study.
        trial: What is trained.
        state: "waiting", "running", "done", "failed", "stopped" or "interrupted".
        reason: Why it failed, one sentence.
        step: Steps done at its last evaluation.
        turns: Evaluations so far.
    """

    number: int
    trial: Trial
    state: str
    reason: str | None
    step: int
    turns: int


def trained_title(directory: Path) -> str:
    """Return what the adapter of a trial is: "BBC headlines · LoRA r=8, seed 1"; "" if nothing beside it says so."""
    try:
        trial = Trial.from_dict(json.loads((directory / TRIAL_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, UserError):
        return ""
    try:
        task = get_task(trial.spec.task).title
    except UserError:  # of data that only its owner has
        task = "Own data"
    return f"{task} · {trial.label}" + (f", seed {trial.spec.seed}" if trial.spec.seed else "")
