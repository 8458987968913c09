"""How long a study takes here, from how long the turns of earlier trials took. Light: no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.measures.overview import base_parameters
from analysis.training.tasks import get_task
from analysis.trials.files import StudyFile
from analysis.trials.records import ENDED, TrialRecord
from analysis.trials.study import Study, Trial

# Building, evaluating and waiting for the other trials, as a share of the time of a trial's steps. Only for a guess.
OVERHEAD = 1.5


@dataclass(frozen=True)
class Duration:
    """An expected time.

    Attributes:
        seconds: For all trials.
        measured: Whether turns of such trials were measured; otherwise it follows from a step of another one.
    """

    seconds: float
    measured: bool

    @property
    def words(self) -> str:
        """For people: "about 2 min"."""
        if self.seconds < 55:
            return f"about {max(5, 5 * round(self.seconds / 5))} s"
        minutes = round(self.seconds / 60)
        return f"about {minutes} min" if minutes < 90 else f"about {self.seconds / 3600:.1f} h"


def expected_duration(
    study: Study,
    trials: Sequence[Trial],
    turns: pd.DataFrame,
    workers: int,
    step_seconds: float | None,
    committed: Mapping[str, StudyFile],
) -> Duration | None:
    """Return how long the trials of a study take, None if nothing is known.

    Args:
        study: The study.
        trials: Its trials.
        turns: `Store.turns` of its task and base.
        workers: Processes that train side by side.
        step_seconds: `Engine.step_seconds`.
        committed: `committed_studies()`: what methods cost, relative to each other.
    """
    measured = _of_methods(turns, study.batch_size, study.evaluate_every)
    if measured:
        each = [_trial_seconds(trial, measured, study.evaluate_every) for trial in trials]
    elif step_seconds is not None:
        shares = _relative_steps(committed)
        batches = study.steps * study.batch_size / 16  # of the step that was measured
        batches *= _relative_size(study)
        each = [
            OVERHEAD * batches * step_seconds * shares.get((study.task, trial.spec.method), 1.0) for trial in trials
        ]
    else:
        return None
    return Duration(max(sum(each) / max(workers, 1), max(each)), bool(measured))


def time_left(study: Study, trials: Sequence[TrialRecord], turns: pd.DataFrame, workers: int) -> Duration | None:
    """Return how long the trials of a study that have not ended still take, None before a turn was measured.

    Args:
        study: The study.
        trials: Its trials.
        turns: `Store.turns` of its task and base.
        workers: Processes that train side by side.
    """
    measured = _of_methods(turns, study.batch_size, study.evaluate_every)
    each = [
        _trial_seconds(trial.trial, measured, study.evaluate_every, trial.turns)
        for trial in trials
        if measured and trial.state not in ENDED
    ]
    return Duration(max(sum(each) / max(workers, 1), max(each)), True) if each else None


def count_turns(trial: Trial, every: int) -> int:
    """Return how many turns a trial takes: one before its first step, then one every so many steps."""
    return 1 + math.ceil(trial.spec.steps / every)


def _of_methods(turns: pd.DataFrame, batch_size: int, every: int) -> dict[str, pd.Series]:
    """Return method -> median seconds of a "first" turn, one in the "middle" and the "last" one."""
    turns = turns[turns["batch_size"] == batch_size].sort_values(["study", "trial", "step"])
    kind = pd.Series("middle", turns.index)
    kind[turns["step"] == turns["steps"]] = "last"
    kind[turns["step"] == 0] = "first"
    of_this_length = (kind == "first") | (turns.groupby(["study", "trial"])["step"].diff() == every)
    medians = turns[of_this_length].groupby(["method", kind])["seconds"].median().unstack()
    if "middle" not in medians:
        return {}
    medians = medians.reindex(columns=["first", "middle", "last"])
    # A trial that was stopped has no last turn, and a method that was never tried is like the others.
    filled = medians.fillna(medians.median()).apply(lambda row: row.fillna(row["middle"]), axis=1)
    return {method: filled.loc[method] for method in filled.index}


def _trial_seconds(trial: Trial, measured: Mapping[str, pd.Series], every: int, done: int = 0) -> float:
    seconds = measured.get(trial.spec.method)
    if seconds is None:
        seconds = pd.DataFrame(measured).median(axis=1)
    turns = ["first", *["middle"] * (count_turns(trial, every) - 2), "last"]
    return float(sum(seconds[turn] for turn in turns[done:]))


def _relative_size(study: Study) -> float:
    """Return how many times as many parameters the base of a study has as its task's own; 1 if that is not known."""
    own = get_task(study.task).base
    if study.base in (None, own):
        return 1.0
    here, there = base_parameters(study.base), base_parameters(own)
    return here / there if here and there else 1.0


def _relative_steps(committed: Mapping[str, StudyFile]) -> dict[tuple[str, str], float]:
    """Return (task, method) -> step time relative to a plain adapter on the first task, from the committed costs."""
    steps: dict[tuple[str, str], float] = {}
    for task, file in committed.items():
        if file.cost is not None:
            methods = file.results.drop_duplicates("label").set_index("label")["method"]
            of_method = file.cost.assign(method=file.cost["label"].map(methods)).groupby("method")["seconds"].median()
            steps |= {(task, method): seconds for method, seconds in of_method.items()}
    reference = steps.get(("bbc_headlines", "plain"))
    return {} if reference is None else {key: seconds / reference for key, seconds in steps.items()}
