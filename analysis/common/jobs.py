"""Long work in a process of its own: it can be watched while it runs, and stopped at any time.

A call into LAPACK cannot be interrupted from Python, but a process can. The child gets a pickled function and its
arguments, and writes one pickled message a result to its standard output; only this module starts the child and
reads it.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from analysis.common.errors import UserError, report_unexpected

# Visitors who walk over many adapters would start some hundred processes at once; the rest wait for their turn.
_AT_ONCE = 2 * (os.cpu_count() or 1)
_turns = threading.BoundedSemaphore(_AT_ONCE)


class Job:
    """A function that runs in a child process, as soon as not too many others do.

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
        self._process: subprocess.Popen[bytes] | None = None
        self._work = pickle.dumps((function, arguments, options))
        self._reader = threading.Thread(target=self._run, daemon=True)
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
        with self._lock:
            self.stopped = True
            if self._process is not None:
                self._process.terminate()

    def wait(self, seconds: float) -> bool:
        """Wait until all results are there or `seconds` have passed; return whether they are."""
        self._reader.join(seconds)
        return not self.running

    def _run(self) -> None:
        turns = _turns
        while not turns.acquire(timeout=0.1):
            if self.stopped:
                return
        try:
            with self._lock:
                if self.stopped:
                    return
                self._process = process = self._start()
            self._read(process)
        except OSError as error:
            self.error = f"The computation could not be started ({error}); start it again."
        finally:
            turns.release()

    def _start(self) -> subprocess.Popen[bytes]:
        """Start the child."""
        # One thread, so that on two cores the page stays usable.
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "analysis.common.jobs"]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        """Give the child its work, and take what it sends until it ends."""
        assert process.stdin is not None  # both are pipes
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError), process.stdin as stream:
            stream.write(self._work)
        with process.stdout as stream:
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
        process.wait()
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
