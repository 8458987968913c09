"""Jobs that are threads of this process: a page's whole way without the time that processes take to start."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Iterator
from typing import Any

from analysis.common.errors import UserError, report_unexpected


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
