"""Workers that are threads of this process: the engine's whole way without the time that processes take to start."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from analysis.trials.workers import forget


class FutureHere:
    """A future with the methods of Dask's that the engine calls."""

    def __init__(self, future: Future) -> None:
        self._future = future
        self.done, self.result = future.done, future.result
        self.exception, self.add_done_callback = future.exception, future.add_done_callback

    @property
    def status(self) -> str:
        if not self.done():
            return "pending"
        return "cancelled" if self._future.cancelled() else "error" if self.exception() else "finished"

    def release(self) -> None:
        pass

    def cancel(self, force: bool = False) -> None:
        self._future.cancel()


class WorkersHere:
    """Stands in for `analysis.trials.workers.Workers`."""

    ready = connected = True
    error = None
    step_seconds = 0.01

    def __init__(self, scheduler: str | None, number: int | None) -> None:
        self._threads = {f"thread-{place}": ThreadPoolExecutor(1) for place in range(number or 2)}

    def addresses(self) -> list[str]:
        return list(self._threads)

    def submit(self, function: Callable[..., Any], *arguments: Any, worker: str) -> FutureHere:
        return FutureHere(self._threads[worker].submit(function, *arguments))

    def forget(self, key: str, worker: str) -> None:
        self._threads[worker].submit(forget, key)

    def close(self) -> None:
        for thread in self._threads.values():
            thread.shutdown(cancel_futures=True)
