"""Long work in a process of its own: it can be watched while it runs, and stopped at any time.

A call into LAPACK cannot be interrupted from Python, but a process can. The child writes one pickled message a
result to its standard output; only this module starts the child and reads it.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from analysis.adapter import AdaptedMatrix, open_adapter
from analysis.comparison import comparison_rows, shared
from analysis.intervention_effects import answers
from analysis.interventions import Edit
from analysis.overview import noise_summary, relative_norm, wall_row
from analysis.ranks import norms, ranks
from analysis.spectrum import cumulative_energy, intruders, spectrum, subspace_overlap
from analysis.summary import summarize


def summary_rows(path: str) -> Iterator[Any]:
    """Yield the number of adapted matrices, then `analysis.summary.summarize` of one after another."""
    adapter = open_adapter(path)
    yield len(adapter.names)
    for name in adapter.names:
        yield summarize(adapter.matrix(name))


def matrix_tables(path: str, name: str) -> Iterator[Any]:
    """Yield the number of tables, then (function name, table) of everything that needs the spectrum of one matrix."""
    matrix = open_adapter(path).matrix(name)
    yield len(MATRIX_TABLES)
    for table in MATRIX_TABLES:
        yield table.__name__, table(matrix)


def overview_rows(path: str) -> Iterator[Any]:
    """Yield the number of adapted matrices, then (name, ‖ΔW‖/‖W‖, its part of the wall) of one after another."""
    adapter = open_adapter(path)
    yield len(adapter.names)
    for matrix in map(adapter.matrix, adapter.names):
        yield matrix.name, relative_norm(matrix), wall_row(matrix, signed=False)


def fetched(repository: str, revision: str, directory: str) -> Iterator[Any]:
    """Yield the number of files to fetch from the Hub, then the path of each (`analysis.opening.hub.fetch`)."""
    from analysis.opening.hub import fetch

    yield from fetch(repository, revision, directory)


def comparison(a: str, b: str) -> Iterator[Any]:
    """Yield the number of matrices that two adapters share, then `analysis.comparison.compare_matrix` of each."""
    first, second = open_adapter(a), open_adapter(b)
    yield len(shared(first, second).names)
    yield from comparison_rows(first, second)


def authors_layers(path: str, base: str, output: str) -> Iterator[Any]:
    """Yield the steps of `analysis.conversion.authors.authors_steps`: the number of layers, then a row for each."""
    from analysis.conversion.authors import authors_steps  # it imports torch, which the page need not wait for

    yield from authors_steps(path, base, output)


def memory(name: str, config: str, kinds: str, budget: str, batch: str, length: str, dtype: str) -> Iterator[Any]:
    """Yield the number of methods, then `analysis.memory.memory_rows` of each at its size nearest to `budget`.

    Args:
        name: What the model is called.
        config: Its configuration as JSON.
        kinds: The kinds of weights to adapt, a JSON list.
        budget: Trainable parameters.
        batch: Examples a step.
        length: Tokens an example.
        dtype: Of the base's weights, "float32" or another of torch's.
    """
    import torch

    from analysis.architecture import read_architecture
    from analysis.budgets import budget_table
    from analysis.memory import memory_rows

    architecture, chosen = read_architecture(config, name), json.loads(kinds)
    table = budget_table(architecture, chosen, int(budget))
    yield int(table["count"].notna().sum()) + 1
    yield from memory_rows(architecture, chosen, table, int(batch), int(length), getattr(torch, dtype))


def conversion(asked: str) -> Iterator[Any]:
    """Yield the steps of `analysis.conversion.targets.conversion_steps`; its arguments come as JSON."""
    from analysis.conversion.targets import conversion_steps  # it imports torch, which the page need not wait for

    yield from conversion_steps(**json.loads(asked))


def update_singular_values(matrix: AdaptedMatrix) -> np.ndarray:
    """Return the singular values of ΔW, descending."""
    return matrix.update_singular_values


def edit_answers(path: str, *edits: str) -> Iterator[Any]:
    """Yield the number of edits, then (edit, right or wrong on the task's test split) of each.

    Args:
        path: Directory of an SVFT adapter.
        edits: Lines of `analysis.interventions.Edit.to_json`; "" stands for the adapter as it was trained.
    """
    adapter = open_adapter(path)
    yield len(edits)
    yield from zip(edits, answers(adapter, [Edit.from_json(edit) if edit else None for edit in edits]), strict=True)


# The quick ones first: each is shown as soon as it is there.
MATRIX_TABLES = (
    norms,
    ranks,
    update_singular_values,
    cumulative_energy,
    spectrum,
    subspace_overlap,
    intruders,
    summarize,
    noise_summary,
)
WORK: dict[str, Callable[..., Iterator[Any]]] = {
    "summary": summary_rows,
    "overview": overview_rows,
    "fetch": fetched,
    "authors": authors_layers,
    "matrix": matrix_tables,
    "compare": comparison,
    "memory": memory,
    "convert": conversion,
    "edits": edit_answers,
}


class Job:
    """One piece of work from `WORK`, running in a child process from the moment it is made.

    Attributes:
        results: What the work has yielded so far.
        total: How many results there will be; 0 until the child has said so.
        error: A sentence for people, once the work has failed.
    """

    def __init__(self, work: str, *args: str) -> None:
        self.results: list[Any] = []
        self.total = 0
        self.error: str | None = None
        self.stopped = False
        # One thread, so that on two cores the page stays usable.
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "analysis.jobs", work, *args], stdout=subprocess.PIPE, env=environment
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

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
        with self._process.stdout as stream:
            try:
                while True:
                    kind, content = pickle.load(stream)  # from our own child process, not from a file
                    if kind == "total":
                        self.total = content
                    elif kind == "result":
                        self.results.append(content)
                    else:
                        self.error = content
            except (EOFError, pickle.UnpicklingError):
                pass
        self._process.wait()
        if not self.stopped and not self.error and len(self.results) != self.total:
            self.error = "The computation ended before it was finished; start it again."


def _main(work: str, *args: str) -> None:
    stream, sys.stdout = os.fdopen(os.dup(1), "wb"), sys.stderr
    if hasattr(os, "nice"):
        os.nice(5)  # the page first, yet not far behind trials that train meanwhile

    def send(kind: str, content: Any) -> None:
        stream.write(pickle.dumps((kind, content)))
        stream.flush()

    try:
        results = WORK[work](*args)
        send("total", next(results))
        for result in results:
            send("result", result)
    except ValueError as error:  # ours carry one sentence
        send("error", str(error))
    except (BrokenPipeError, KeyboardInterrupt):
        pass  # nobody is listening any more


if __name__ == "__main__":
    _main(*sys.argv[1:])
