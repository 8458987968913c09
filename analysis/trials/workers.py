"""The engine's worker processes, the work that is asked of them, and why it failed.

They are a local Dask cluster, one process per core, or those of an existing scheduler.
"""

from __future__ import annotations

import contextlib
import logging
import os
import statistics
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

import dask
import pandas as pd
from distributed import Client, LocalCluster, fire_and_forget
from distributed.client import Future

from analysis.common.errors import UserError, report_unexpected
from analysis.trials.messages import Report, Turn

_log = logging.getLogger(__name__)

WORKER_DIED = (
    "Its worker process died while training it: it was killed, or the machine ran out of memory. "
    "A smaller batch, fewer methods at once or a smaller base model need less."
)
_OUT_OF_MEMORY = "It ran out of memory: take a smaller batch, or a smaller base model."


class Workers:
    """Workers that are started, or found, in the background: ready once they have loaded what a first turn needs.

    Args:
        scheduler: Address of an existing Dask scheduler; None starts a local cluster, one worker process a core.
        number: Number of local worker processes, None for one per core.
    """

    def __init__(self, scheduler: str | None, number: int | None) -> None:
        self._scheduler = scheduler
        self._number = number
        self._client: Client | None = None
        self._cluster: LocalCluster | None = None
        self.processes: list[subprocess.Popen] = []
        self.ready = False
        self.error: str | None = None
        self.step_seconds: float | None = None
        self._connecting = threading.Thread(target=self._connect, name="trials-workers", daemon=True)
        self._connecting.start()

    @property
    def connected(self) -> bool:
        """Whether there is a scheduler to submit to."""
        return self._client is not None

    def addresses(self) -> list[str]:
        """Return where the workers are."""
        assert self._client is not None  # once it is connected
        return list(self._client.scheduler_info(n_workers=-1)["workers"])

    def submit(self, function: Callable[..., Any], *arguments: Any, worker: str) -> Future:
        """Run a function once, in one worker."""
        assert self._client is not None  # once it is connected
        return self._client.submit(function, *arguments, workers=[worker], pure=False, retries=0)

    def forget(self, key: str, worker: str) -> None:
        """Let a worker drop a trial that it holds; one that is gone holds none."""
        if self._client is not None and worker in self.addresses():
            fire_and_forget(self._client.submit(forget, key, workers=[worker], pure=False))

    def close(self) -> None:
        """Leave the scheduler, and end what was started here."""
        self._connecting.join(30)
        with contextlib.suppress(Exception):
            if self._client is not None:
                self._client.close(timeout=5)
            if self._cluster is not None:
                self._cluster.close(timeout=10)
        end_processes(self.processes)

    def _connect(self) -> None:
        """Start or find the workers, and have them load what a first turn needs."""
        try:
            if self._scheduler is None:
                self._cluster, self.processes = start_cluster(self._number)
                client = Client(self._cluster, set_as_default=False)
            else:
                try:
                    client = Client(self._scheduler, timeout=20, set_as_default=False)
                except ValueError as error:  # not an address
                    raise OSError(str(error)) from error
            self._client = client
            client.wait_for_workers(max(1, len(self.processes)), timeout=60)
            warming = [self.submit(warm_up, worker=worker) for worker in self.addresses()]
            if measured := client.gather(warming, errors="skip"):
                self.step_seconds = statistics.median(measured)
            self.ready = True
        except OSError as error:  # timeouts among them
            where = "on this machine" if self._scheduler is None else f"at {self._scheduler}"
            self.error = f"No workers could be reached {where}: {error}"
            _log.exception("no workers")
        except Exception as error:
            self.error = report_unexpected(error, "starting the workers")


def start_cluster(number: int | None = None) -> tuple[LocalCluster, list[subprocess.Popen]]:
    """Start a scheduler in this process, and workers as any other worker of a scheduler starts.

    Dask's own way to start local workers imports this process's main script again, which in an app is a page.

    Args:
        number: Of worker processes; None is one per core.
    """
    # A task whose worker dies is not tried elsewhere: it may be what killed it.
    with dask.config.set({"distributed.scheduler.allowed-failures": 0}):
        cluster = LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0", silence_logs=logging.ERROR)
    return cluster, [start_worker(cluster.scheduler_address) for _ in range(number or os.cpu_count() or 1)]


def end_processes(processes: Sequence[subprocess.Popen]) -> None:
    """End worker processes, with force if need be."""
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:  # on a busy machine it takes its time
            process.kill()
            process.wait()


def start_worker(scheduler: str, memory_limit: str = "auto") -> subprocess.Popen:
    """Start a worker process of one thread for the scheduler at this address.

    Args:
        scheduler: Address.
        memory_limit: If the process takes more it is killed and started anew; "auto" is its share of the machine's.
    """
    command = [sys.executable, "-m", "distributed.cli.dask_worker", scheduler]
    options = ["--nthreads", "1", "--no-dashboard", "--death-timeout", "30", "--memory-limit", memory_limit]
    environment = {
        "OMP_NUM_THREADS": "1",
        "DASK_DISTRIBUTED__LOGGING__DISTRIBUTED": "critical",
        # Dask has workers return each freed tensor to the system: a training step then takes a third longer.
        "MALLOC_TRIM_THRESHOLD_": str(2**28),
        "MALLOC_MMAP_THRESHOLD_": str(2**25),
    }
    return subprocess.Popen([*command, *options], env={**os.environ, **environment}, stdout=subprocess.DEVNULL)


# The work. Each function imports `analysis.trials.worker`, and so torch, only in the worker that runs it.


def take_turn(turn: Turn) -> Report:
    """Run `analysis.trials.worker.take_turn` where this is called: in a worker."""
    from analysis.trials import worker

    return worker.take_turn(turn)


def measure_cost(specs: dict[str, dict], threads: int, data: bytes | None) -> pd.DataFrame:
    """Run `analysis.trials.worker.measure_cost` where this is called: in a worker."""
    from analysis.trials import worker

    return worker.measure_cost(specs, threads, data)


def forget(key: str) -> None:
    """Run `analysis.trials.worker.forget` where this is called: in a worker."""
    from analysis.trials import worker

    worker.forget(key)


def warm_up() -> float:
    """Run `analysis.trials.worker.warm_up` where this is called: in a worker."""
    from analysis.trials import worker

    return worker.warm_up()


def reason(error: BaseException | None, where: str) -> str:
    """Return why a trial failed, in one sentence for people; what is unexpected goes to the log.

    Args:
        error: What its turn raised; None if the turn was lost.
        where: Which trial it is, for the log.
    """
    name = type(error).__name__
    if error is None or name in ("KilledWorker", "CancelledError", "FutureCancelledError"):
        return WORKER_DIED
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        return _OUT_OF_MEMORY
    if isinstance(error, UserError):
        return str(error)
    return report_unexpected(error, where)
