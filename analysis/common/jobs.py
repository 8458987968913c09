"""Long work in a process of its own: it can be watched while it runs, and stopped at any time.

A call into LAPACK cannot be interrupted from Python, but a process can. The child gets a pickled function and its
arguments, and writes one pickled message a result to its standard output; only this module starts the child and
reads it.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from analysis.common.errors import UserError, report_unexpected


class Job:
    """A function that runs in a child process from the moment the job is made.

    Args:
        function: Of a module, not nested. It yields the number of results first, then the results one by one.
        arguments: Its arguments, which are pickled like the function.
        options: Its keyword arguments.

    Attributes:
        total: How many results there will be; 0 until the child has said so.
        error: A sentence for people, once the work has failed.
    """

    def __init__(self, function: Callable[..., Iterator[Any]], *arguments: Any, **options: Any) -> None:
        self._name = f"{function.__module__}.{function.__qualname__}"
        self._results: list[Any] = []
        self._lock = threading.Lock()
        self.total = 0
        self.error: str | None = None
        self.stopped = False
        # One thread, so that on two cores the page stays usable.
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "analysis.common.jobs"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        assert self._process.stdin is not None  # it is a pipe
        with self._process.stdin as stream:
            pickle.dump((function, arguments, options), stream)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def results(self) -> tuple[Any, ...]:
        """What the work has yielded so far: a snapshot, which does not change while the work goes on."""
        with self._lock:
            return tuple(self._results)

    @property
    def running(self) -> bool:
        """Whether results may still come."""
        return self._reader.is_alive()

    @property
    def complete(self) -> bool:
        """Whether all results are there."""
        return not self.running and not self.error and not self.stopped

    def stop(self) -> None:
        """End the process; the results so far stay."""
        self.stopped = True
        self._process.terminate()

    def wait(self, seconds: float) -> bool:
        """Wait until all results are there or `seconds` have passed; return whether they are."""
        self._reader.join(seconds)
        return not self.running

    def _read(self) -> None:
        assert self._process.stdout is not None  # it is a pipe
        with self._process.stdout as stream:
            try:
                while True:
                    kind, content = pickle.load(stream)  # from our own child process, not from a file
                    if kind == "total":
                        self.total = content
                    elif kind == "result":
                        with self._lock:
                            self._results.append(content)
                    elif kind == "error":
                        self.error = content
                    else:
                        self.error = report_unexpected(content, f"the job {self._name}")
            except (EOFError, pickle.UnpicklingError):
                pass
        self._process.wait()
        if not self.stopped and not self.error and len(self._results) != self.total:
            self.error = "The computation stopped before it had finished; start it again."


def _main() -> None:
    stream, sys.stdout = os.fdopen(os.dup(1), "wb"), sys.stderr
    if hasattr(os, "nice"):
        os.nice(5)  # the page first, yet not far behind trials that train meanwhile

    def send(kind: str, content: Any) -> None:
        stream.write(pickle.dumps((kind, content)))
        stream.flush()

    try:
        function, arguments, options = pickle.load(sys.stdin.buffer)  # from our own parent process
        results = function(*arguments, **options)
        send("total", next(results))
        for result in results:
            send("result", result)
    except UserError as error:
        send("error", str(error))
    except (BrokenPipeError, KeyboardInterrupt):
        pass  # nobody is listening any more
    except Exception:
        send("unexpected", traceback.format_exc())


if __name__ == "__main__":
    _main()
