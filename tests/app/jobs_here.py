"""Jobs that are threads of this process: a page's whole way without the time that processes take to start."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from analysis.common.errors import UserError, report_unexpected
from analysis.common.kept import kept
from app import data


class JobHere:
    """Stands in for `analysis.common.jobs.Job`."""

    def __init__(self, function: Callable[..., Iterator[Any]], *arguments: Any, **options: Any) -> None:
        self.results: tuple[Any, ...] = ()
        self.total = 0
        self.error: str | None = None
        self.stopped = False
        # What a process could not be given fails here too.
        work = pickle.loads(pickle.dumps((function, arguments, options)))
        self._thread = threading.Thread(target=self._run, args=work, daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    @property
    def complete(self) -> bool:
        return not self.running and not self.error and not self.stopped

    def stop(self) -> None:
        self.stopped = True

    def wait(self, seconds: float) -> bool:
        self._thread.join(seconds)
        return not self.running

    def _run(self, function: Callable[..., Iterator[Any]], arguments: tuple, options: dict[str, Any]) -> None:
        try:
            results = function(*arguments, **options)
            self.total = next(results)
            for result in results:
                if self.stopped:
                    return
                self.results += (result,)
        except UserError as error:
            self.error = str(error)
        except Exception as error:
            self.error = report_unexpected(error, "a job")


class NoJob:
    """A job whose results never come: for pages that are looked at before they do."""

    results: tuple[Any, ...] = ()
    total = 0
    error = None
    stopped = complete = False
    running = True

    def stop(self) -> None:
        pass

    def wait(self, seconds: float) -> bool:
        return False


def compute_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have pages show what they show at once: without noise, and without what is computed of all matrices.

    It takes the place of functions of `app.data`, so that nothing unfinished stays in what they keep.
    """
    monkeypatch.setattr(data, "_null", kept(1)(lambda *_: Future()))
    for job in ("_matrix_job", "_summary_job", "_overview_job", "_brush_job", "_comparison_job"):
        monkeypatch.setattr(data, job, kept(1)(lambda *_: NoJob()))
