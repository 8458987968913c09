"""The engine's decision: which turn each idle worker takes next. It asks nobody and changes nothing.

One turn is one evaluation interval. All trials of a study advance together: none takes its next turn before the
others have had theirs. Studies take turns as they came; workers that the first leaves idle go to the next. The cost
of a study is measured alone, as soon as the turns under way have ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from distributed.client import Future as DaskFuture

from analysis.trials.study import Study, Trial


@dataclass
class RunningTrial:
    """A trial that has turns to take."""

    study: str
    number: int
    trial: Trial
    step: int = 0
    turns: int = 0
    holder: str | None = None  # the worker that holds it in memory
    future: DaskFuture | None = None
    worker: str | None = None  # where its turn is under way
    evaluated: int | None = None  # step of its last point
    state_kept: bool = False  # whether the store has its state, so that any worker can go on with it
    begun: bool = False  # whether this engine has sent it
    sent_state: bool = False
    unseen_since: float | None = None

    @property
    def key(self) -> str:
        """What the workers know it by."""
        return f"{self.study}/{self.number}"


@dataclass
class StudyRun:
    """A study with its trials that have turns to take."""

    id: str
    study: Study
    data: bytes | None
    trials: dict[int, RunningTrial] = field(default_factory=dict)
    to_measure: dict[str, dict] | None = None  # label -> specification, once all trials have ended
    cost: DaskFuture | None = None
    cost_worker: str | None = None  # where its cost is being measured


@dataclass(frozen=True)
class Assignment:
    """What one worker does next.

    Attributes:
        study: Id of the study.
        trial: Number of the trial that takes a turn; None measures the study's cost.
        worker: Address.
    """

    study: str
    trial: int | None
    worker: str


def assign(runs: Sequence[StudyRun], workers: Sequence[str], idle: Sequence[str]) -> list[Assignment]:
    """Return what the idle workers do next, at most one assignment each.

    Args:
        runs: The studies that are under way, the first come first.
        workers: Addresses of all workers.
        idle: Those of them that have nothing to do.
    """
    if any(run.cost_worker is not None for run in runs):
        return []
    if to_measure := [run for run in runs if run.to_measure]:
        busy = any(trial.worker is not None for run in runs for trial in run.trials.values())
        return [] if busy or not idle else [Assignment(to_measure[0].id, None, idle[0])]
    assignments: list[Assignment] = []
    for run in runs:
        taken = {assignment.worker for assignment in assignments}
        assignments += _assign_study(run, workers, [worker for worker in idle if worker not in taken])
    return assignments


def _assign_study(run: StudyRun, workers: Sequence[str], idle: list[str]) -> list[Assignment]:
    fewest = min((trial.turns for trial in run.trials.values()), default=0)
    due = [trial for trial in run.trials.values() if trial.worker is None and trial.turns == fewest]
    holders = {trial.number: trial.holder for trial in run.trials.values() if trial.holder in workers}
    assignments: list[Assignment] = []

    def send(trial: RunningTrial, worker: str) -> None:
        idle.remove(worker)
        holders[trial.number] = worker
        assignments.append(Assignment(run.id, trial.number, worker))

    waiting = []
    for trial in sorted(due, key=lambda trial: trial.number not in holders):  # first those that a worker holds
        holder = holders.get(trial.number)
        if holder in idle:
            send(trial, holder)
        elif holder is None and idle:
            send(trial, min(idle, key=list(holders.values()).count))
        else:
            waiting.append(trial)
    # A worker with nothing left to do in this round takes over from one that has more than its next turn.
    for trial in waiting[1:]:
        if idle and trial.state_kept:
            send(trial, idle[-1])
    return assignments
