"""What the engine knows of a study that is under way: its trials that have turns to take, and where they are."""

from __future__ import annotations

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
    home: str | None = None  # the worker that holds it
    future: DaskFuture | None = None
    worker: str | None = None  # where the turn is
    evaluated: int | None = None  # step of its last point
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
    cost_worker: str | None = None
