"""The engine: it sends the trials of all studies to worker processes, turn by turn, and writes down what they report.

Which turn goes where is decided in `analysis.trials.schedule`. The workers (`analysis.trials.workers`) are those of a
Dask scheduler, through which everything travels. The engine's thread is the only writer.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import psutil
from distributed.client import Future as DaskFuture

from analysis.trials.messages import Report, StateMissingError, Turn
from analysis.trials.schedule import RunningTrial, StudyRun, assign
from analysis.trials.store import Store, StudyRecord
from analysis.trials.study import Study
from analysis.trials.workers import WORKER_DIED, Workers, measure_cost, reason, take_turn

_log = logging.getLogger(__name__)

_TICK = 0.25  # seconds between two looks at the workers
_LOST = 3.0  # seconds that a worker may be unseen before its turn is given up


class Engine:
    """Runs studies on workers, in a thread of its own.

    Args:
        store: Where everything is written. Trials of an engine that is gone are marked as interrupted.
        scheduler: Address of an existing Dask scheduler; None starts a local cluster, one worker process a core.
        workers: Number of local worker processes, None for one per core.
    """

    def __init__(self, store: Store, scheduler: str | None = None, workers: int | None = None) -> None:
        self.store = store
        self.name = f"{os.getpid()}:{psutil.Process().create_time()}:{id(self)}"
        self._workers = Workers(scheduler, workers)
        self._commands: queue.Queue[tuple[Callable[[], Any], Future] | None] = queue.Queue()
        self._runs: dict[str, StudyRun] = {}
        self._mark_interrupted()
        self._thread = threading.Thread(target=self._live, name="trials", daemon=True)
        self._thread.start()

    # -- what others ask for; each call returns when it is written down

    def start(
        self, study: Study, *, owner: str = "", name: str = "", bet: dict | None = None, data: bytes | None = None
    ) -> str:
        """Queue a study; return its id in the store.

        Raises:
            UserError: If it cannot be trained as specified.
        """
        study = study.resolved()
        trials, _ = study.plan()

        def begin() -> str:
            added = self.store.add_study(study, trials, engine=self.name, owner=owner, name=name, bet=bet, data=data)
            self._queue_trials(added)
            return added

        return self._ask(begin)

    def add_seeds(self, id: str, more: int) -> None:
        """Extend a study by `more` seeds after its last and queue it again."""
        study = self._record(id).study.with_more_seeds(more)
        trials, _ = study.plan()

        def extend() -> None:
            self.store.extend_study(id, study, trials, self.name)
            self._queue_trials(id)

        self._ask(extend)

    def stop(self, id: str, number: int | None = None) -> None:
        """Stop a study, or one of its trials. Its points stay; a turn that is under way is not waited for."""
        self._ask(lambda: self._stop(id, number))

    def resume(self, id: str) -> None:
        """Go on with the interrupted, stopped and failed trials of a study, from their last evaluation."""

        def go_on() -> None:
            for record in self.store.trials(id):
                if record.state in ("interrupted", "stopped", "failed"):
                    self.store.set_trial_state(id, record.number, "waiting")
            self._queue_trials(id)

        self._ask(go_on)

    def queue_length(self, id: str) -> int:
        """Return how many studies stand before this one."""
        ids = list(self._runs)
        return ids.index(id) if id in ids else 0

    def runs(self, id: str) -> bool:
        """Return whether this engine has turns of the study to take, or measures its cost."""
        return id in self._runs

    @property
    def ready(self) -> bool:
        """Whether workers are there and warm."""
        return self._workers.ready

    @property
    def workers(self) -> int:
        """Number of worker processes, 0 before they are there."""
        return len(self._workers.addresses()) if self.ready else 0

    @property
    def step_seconds(self) -> float | None:
        """What a training step took when the workers warmed up (`worker.warm_up`); None before that."""
        return self._workers.step_seconds

    @property
    def error(self) -> str | None:
        """Why no trial can run, one sentence; None if all is well."""
        return self._workers.error

    def wait(self, id: str, seconds: float | None = None) -> bool:
        """Wait until a study has ended or `seconds` have passed; return whether it has."""
        end = None if seconds is None else time.monotonic() + seconds
        while self.runs(id):
            if not self._thread.is_alive() or (end is not None and time.monotonic() > end):
                return False
            time.sleep(0.05)
        return True

    def close(self) -> None:
        """Mark what runs as interrupted, and end the local workers."""
        self._commands.put(None)
        self._thread.join(60)

    # -- the engine's thread

    def _ask(self, work: Callable[[], Any]) -> Any:
        if threading.current_thread() is self._thread:
            return work()
        answer: Future = Future()
        self._commands.put((work, answer))
        return answer.result(timeout=60)

    def _live(self) -> None:
        try:
            while True:
                try:
                    command = self._commands.get(timeout=_TICK)
                    if command is None:
                        break
                    self._obey(*command)
                except queue.Empty:
                    pass
                if self._workers.connected:
                    try:
                        self._collect()
                        self._assign()
                    except Exception:  # the scheduler went away, or the disk is full: it may come back
                        _log.exception("the engine could not go on; it tries again")
                        time.sleep(_LOST)
        finally:
            for run in list(self._runs.values()):
                self._interrupt(run)
            self._workers.close()

    def _wake(self, _: DaskFuture) -> None:
        """Have the thread look at once, not at its next tick."""
        self._commands.put((lambda: None, Future()))

    def _obey(self, work: Callable[[], Any], answer: Future) -> None:
        try:
            answer.set_result(work())
        except Exception as error:
            answer.set_exception(error)

    def _record(self, id: str) -> StudyRecord:
        record = self.store.study(id)
        assert record is not None  # a study leaves the store after its runs
        return record

    def _queue_trials(self, id: str) -> None:
        """Give the waiting trials of a study their turns."""
        record = self._record(id)
        run = self._runs.setdefault(id, StudyRun(id, record.study, self.store.data(id)))
        run.study = record.study
        for trial in self.store.trials(id):
            if trial.state != "waiting" or trial.number in run.trials:
                continue
            running = RunningTrial(id, trial.number, trial.trial)
            if trial.turns:
                kept = self.store.state(id, trial.number)
                if kept is None:
                    self.store.begin_again(id, trial.number)
                else:
                    running.step, running.turns, running.evaluated = kept[0], trial.turns, trial.step
                    running.state_kept = True
            run.trials[trial.number] = running
        run.to_measure = None
        self.store.set_study_state(id, "queued", self.name)

    def _stop(self, id: str, number: int | None) -> None:
        run = self._runs.get(id)
        if run is None:
            return
        for trial in list(run.trials.values()):
            if number is None or trial.number == number:
                self._give_up(run, trial, "stopped")
        if number is None and run.cost is not None:
            run.cost.cancel()
            run.cost = run.cost_worker = None
            self._end(run)
        elif not run.trials and run.cost is None:
            self._end(run)

    def _interrupt(self, run: StudyRun) -> None:
        for trial in list(run.trials.values()):
            self._give_up(run, trial, "interrupted")
        self.store.set_study_state(run.id, "interrupted")
        del self._runs[run.id]

    def _give_up(self, run: StudyRun, trial: RunningTrial, state: str, reason: str | None = None) -> None:
        if trial.future is not None:
            with contextlib.suppress(Exception):
                trial.future.cancel(force=True)
        self._forget(trial)
        self.store.set_trial_state(run.id, trial.number, state, reason)
        run.trials.pop(trial.number, None)

    def _forget(self, trial: RunningTrial) -> None:
        """Let the worker that holds a trial drop it."""
        if trial.holder is not None:
            self._workers.forget(trial.key, trial.holder)

    # -- turns

    def _collect(self) -> None:
        """Take in what the workers have finished."""
        alive = None
        for run in list(self._runs.values()):
            for trial in list(run.trials.values()):
                if trial.future is None:
                    continue
                if trial.future.done():
                    self._record_report(run, trial, trial.future)
                else:
                    alive = self._workers.addresses() if alive is None else alive
                    self._check_worker(run, trial, alive)
            if run.cost is not None:
                if run.cost.done() or run.cost_worker not in self._workers.addresses():
                    self._record_cost(run, run.cost)
            elif not run.trials and run.to_measure is None:
                run.to_measure = self._to_measure(run)
                if not run.to_measure:
                    self._end(run)

    def _check_worker(self, run: StudyRun, trial: RunningTrial, alive: list[str]) -> None:
        """Give a turn up whose worker is gone: a scheduler that we did not start may wait for it for ever."""
        if trial.worker in alive:
            trial.unseen_since = None
        elif trial.unseen_since is None:
            trial.unseen_since = time.monotonic()
        elif time.monotonic() - trial.unseen_since > _LOST:
            self._give_up(run, trial, "failed", WORKER_DIED)

    def _record_report(self, run: StudyRun, trial: RunningTrial, future: DaskFuture) -> None:
        trial.future = trial.worker = None
        if future.status != "finished":
            self._record_failure(run, trial, future)
            return
        report: Report = future.result()
        future.release()
        self.store.add_report(run.id, trial.number, report)
        trial.step = trial.evaluated = report.step
        trial.turns, trial.sent_state = trial.turns + 1, False
        trial.state_kept |= report.state is not None
        if report.outcome is not None:
            del run.trials[trial.number]

    def _record_failure(self, run: StudyRun, trial: RunningTrial, future: DaskFuture) -> None:
        error = future.exception() if future.status == "error" else None
        trial.holder = None
        if isinstance(error, StateMissingError) and not trial.sent_state:
            kept = self.store.state(run.id, trial.number)
            if kept is None:
                self.store.begin_again(run.id, trial.number)
                trial.step, trial.turns, trial.evaluated, trial.state_kept = 0, 0, None, False
            else:
                trial.step = kept[0]
            return
        self._give_up(run, trial, "failed", reason(error, f"trial {trial.number} of study {run.id}"))

    def _assign(self) -> None:
        """Send each idle worker what it does next."""
        if not self._runs:
            return
        workers = self._workers.addresses()
        busy = {trial.worker for run in self._runs.values() for trial in run.trials.values()}
        idle = [worker for worker in workers if worker not in busy]
        for assignment in assign(list(self._runs.values()), workers, idle):
            run = self._runs[assignment.study]
            if assignment.trial is None:
                self._measure(run, assignment.worker)
            else:
                self._send(run, run.trials[assignment.trial], assignment.worker)

    def _send(self, run: StudyRun, trial: RunningTrial, worker: str) -> None:
        study = run.study
        holds = trial.holder == worker
        if trial.holder is not None and not holds:
            self._forget(trial)
        state = None if holds or trial.step == 0 else self.store.state(run.id, trial.number)
        spec = trial.trial.spec
        last = trial.step if trial.evaluated != trial.step else min(trial.step + study.evaluate_every, spec.steps)
        turn = Turn(
            trial.key,
            spec.to_dict(),
            trial.step,
            last,
            study.final_split,
            study.threads,
            None if state is None else state[1],
            run.data,
        )
        trial.sent_state = state is not None
        trial.holder = trial.worker = worker
        trial.unseen_since = None
        trial.future = self._workers.submit(take_turn, turn, worker=worker)
        trial.future.add_done_callback(self._wake)
        if not trial.begun:
            trial.begun = True
            self.store.set_trial_state(run.id, trial.number, "running")
            self.store.set_study_state(run.id, "running")

    # -- the end of a study

    def _measure(self, run: StudyRun, worker: str) -> None:
        run.cost_worker = worker
        run.cost = self._workers.submit(measure_cost, run.to_measure, run.study.threads, run.data, worker=worker)
        run.cost.add_done_callback(self._wake)

    def _to_measure(self, run: StudyRun) -> dict[str, dict]:
        """Return the specifications whose cost is still to be measured, by label: none if all are known."""
        if run.study.final_split != "test":  # a sweep: one method at many rates costs the same
            return {}
        measured = self._record(run.id).cost
        done = [record.trial for record in self.store.trials(run.id) if record.state == "done"]
        specs = {trial.label: trial.spec.to_dict() for trial in reversed(done) if trial.spec.method != "head_only"}
        return {} if measured is not None and set(specs) <= set(measured["label"]) else specs

    def _record_cost(self, run: StudyRun, cost: DaskFuture) -> None:
        if cost.status == "finished":
            self.store.set_cost(run.id, cost.result())
        else:
            _log.warning("the cost of study %s was not measured: its worker died, or failed", run.id)
            cost.cancel(force=True)
        run.cost = run.cost_worker = None
        self._end(run)

    def _end(self, run: StudyRun) -> None:
        states = {record.state for record in self.store.trials(run.id)}
        self.store.set_study_state(run.id, "stopped" if "stopped" in states else "done")
        del self._runs[run.id]

    def _mark_interrupted(self) -> None:
        """Mark what an engine left behind that is gone."""
        for record in self.store.studies():
            if record.state in ("queued", "running") and not _alive(record.engine):
                for trial in self.store.trials(record.id):
                    if trial.state in ("waiting", "running"):
                        self.store.set_trial_state(record.id, trial.number, "interrupted")
                self.store.set_study_state(record.id, "interrupted")


def _alive(engine: str) -> bool:
    """Whether the process of an engine still runs."""
    try:
        process, created, _ = engine.split(":")
        return abs(psutil.Process(int(process)).create_time() - float(created)) < 1
    except (ValueError, psutil.Error):
        return False
