"""Everything a page shows, from `analysis`, computed once: keyed by the adapter's path and the time of its file."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Event, Lock
from typing import Any, ClassVar

import pandas as pd
import streamlit as st

from analysis.adapters.adapter import AdaptedMatrix, Adapter
from analysis.adapters.opening import open_adapter
from analysis.adapters.paths import PROJECTION_FILE
from analysis.adapters.recognise import recognise
from analysis.common.errors import UserError
from analysis.common.jobs import Job
from analysis.common.kept import kept
from analysis.measures.comparison import compare_matrix
from analysis.measures.edits import Edit
from analysis.measures.null import EntryNull, SpectralNull, is_kept
from analysis.measures.steps import (
    MATRIX_TABLES,
    QUICK,
    brush_steps,
    comparison_steps,
    matrix_steps,
    null_steps,
    nulls,
    overview_steps,
    summary_steps,
)
from analysis.measures.summary import noise_words, summary_table
from analysis.training.evaluation import Evaluation, read_evaluation
from analysis.training.language.evaluation import PairsEvaluation, read_pairs_evaluation
from analysis.trials.records import trained_title as read_trained_title


def libraries() -> None:
    """Import torch, transformers, peft and what is built on them: seconds the first time, nothing afterwards.

    One thread imports them, and all others who need them wait here: two that import parts of them at the same time
    find modules which are half there.
    """
    with _importing:
        import analysis.adapters.peft.layer_update
        import analysis.planning.budgets
        import analysis.running.generation
        import analysis.running.predictor
        import analysis.training.session  # noqa: F401
    _imported.set()


def has_libraries() -> bool:
    """Whether `libraries` takes no time any more."""
    return _imported.is_set()


_importing, _imported = Lock(), Event()


def adapter(path: Path) -> Adapter:
    """Open an adapter.

    Raises:
        AdapterError: If it cannot be shown, with the reason.
    """
    return _adapter(str(path), stamp(path))


def base_of(path: Path) -> str:
    """Return the id of the base model that an adapter's files name, "" without one; nothing else of it is read."""
    try:
        return _base(str(path), stamp(path))
    except UserError:
        return ""


def matrix(of: Adapter, name: str) -> AdaptedMatrix:
    """Read one matrix."""
    return _matrix(*key(of), name)


def table(function: Callable[..., Any], of: Adapter, name: str, **options: Any) -> Any:
    """Return ``function(matrix, **options)``, one of the tables of `analysis`."""
    return _table(*key(of), name, function, tuple(options.items()))


def adapter_table(function: Callable[..., Any], of: Adapter, **options: Hashable) -> Any:
    """Return ``function(adapter, **options)``, a quick table over all matrices."""
    return _adapter_table(*key(of), function, tuple(options.items()))


def adapter_table_of(function: Callable[[Adapter, Edit], Any], of: Adapter, edit: Edit) -> Any:
    """Return ``function(adapter, edit)``, a quick table over all matrices."""
    return _edited_adapter_table(*key(of), edit.to_json(), function)


def evaluation(of: Adapter) -> Evaluation | None:
    """Return what was measured of an adapter, None if it brings no evaluation.json."""
    return _evaluation(*key(of))


def pairs_evaluation(of: Adapter) -> PairsEvaluation | None:
    """Return what was measured of a language model that learned pairs, None if that is nothing."""
    return _pairs_evaluation(*key(of))


def trained_title(path: Path) -> str:
    """Return what a trial trained, from the file beside its adapter; "" if there is none."""
    return _trained_title(str(path), stamp(path))


def predictor(of: Adapter) -> Future:
    """Return the future `analysis.running.predictor.Predictor` of an adapter; the first call begins to load it."""
    return _predictor(*key(of))


def writer(of: Adapter) -> Future:
    """Return the future `analysis.running.generation.Writer` of an adapter; the first call begins to load it."""
    return _writer(*key(of))


def spectral_tables(of: Adapter, name: str) -> tuple[Mapping[str, Any], Job | None]:
    """Return the tables of `analysis.measures.steps.MATRIX_TABLES` by name, each computed as it is asked for.

    Those of a large matrix come one after another from a job, returned beside what is there already.
    """
    if matrix(of, name).m <= QUICK:
        return _QuickTables(of, name), None
    job = _matrix_job(*key(of), name)
    return dict(job.results), job


class _QuickTables(Mapping[str, Any]):
    """Tables of one matrix: those that the job over all matrices has brought, or computed as they are asked for."""

    _functions: ClassVar = {function.__name__: function for function in MATRIX_TABLES}

    def __init__(self, of: Adapter, name: str) -> None:
        self._of, self._name = of, name

    def __getitem__(self, function: str) -> Any:
        job = _summary_job.peek(*key(self._of))
        brought = next((row for row in job.results if row["name"] == self._name), None) if job else None
        return brought["tables"][function] if brought else table(self._functions[function], self._of, self._name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._functions)

    def __len__(self) -> int:
        return len(self._functions)


def null(of: Adapter, name: str) -> Future:
    """Return the future `analysis.measures.steps.nulls` of a matrix: what noise in place of its update shows.

    What is not kept on disk yet is drawn in a process, one matrix after another for all visitors: the page first.
    """
    return _null(*key(of), name)


def entry_null(of: Adapter, name: str) -> EntryNull | None:
    """Return how concentrated noise is; None if that is not known, or not yet."""
    return _drawn(of, name)[0]


def spectral_null(of: Adapter, name: str) -> SpectralNull:
    """Return what rank noise has and what it does to W; empty if that is not known, or not yet."""
    return _drawn(of, name)[1]


_UNKNOWN = (None, SpectralNull({}, None))


def _drawn(of: Adapter, name: str) -> tuple[EntryNull | None, SpectralNull]:
    future = null(of, name)
    return future.result() if future.done() and not future.exception() else _UNKNOWN


def restart_matrix(of: Adapter, name: str) -> None:
    """Forget a stopped computation of `spectral_tables`, so that the next call starts it anew."""
    _matrix_job.clear(*key(of), name)


def summary_job(of: Adapter) -> Job:
    """Return the running or finished computation of all measures of all matrices, started by the first call."""
    return _summary_job(*key(of))


def summary(of: Adapter) -> pd.DataFrame:
    """Return what `summary_job` has measured so far: one row a matrix, the intervals of noise as words."""
    return _summary(*key(of), len(summary_job(of).results))


def restart_summary(of: Adapter) -> None:
    """Forget a stopped computation, so that the next call starts it anew."""
    _summary_job.clear(*key(of))


def overview_job(of: Adapter) -> Job:
    """Return the running or finished projection of all matrices, started by the first call."""
    return _overview_job(*key(of))


def restart_overview(of: Adapter) -> None:
    """Forget a stopped projection, so that the next call starts it anew."""
    _overview_job.clear(*key(of))


def brush_job(of: Adapter, text: str) -> Job:
    """Return the running or finished reading of what a box, given as its text, holds of all matrices."""
    return _brush_job(*key(of), text)


def restart_brush(of: Adapter, text: str) -> None:
    """Forget a stopped reading, so that the next call starts it anew."""
    _brush_job.clear(*key(of), text)


def comparison_job(a: Adapter, b: Adapter) -> Job:
    """Return the running or finished comparison of all matrices that two adapters share, started by the first call."""
    return _comparison_job(str(a.path), stamp(a.path), str(b.path), stamp(b.path))


def restart_comparison(a: Adapter, b: Adapter) -> None:
    """Forget a stopped comparison, so that the next call starts it anew."""
    _comparison_job.clear(str(a.path), stamp(a.path), str(b.path), stamp(b.path))


def compared(a: Adapter, b: Adapter, name: str) -> dict[str, Any]:
    """Return `analysis.measures.comparison.compare_matrix`, quick for a matrix of up to `QUICK` directions."""
    return _compared(*key(a), *key(b), name)


def edited_table(function: Callable[..., Any], of: Adapter, name: str, line: str) -> Any:
    """Return ``function`` of a matrix after an edit, given as its line of JSON."""
    return _edited_table(*key(of), name, line, function)


def key(of: Adapter) -> tuple[str, float]:
    """Return what an adapter is cached by: its path and the time of its file."""
    return str(of.path), stamp(of.path)


def stamp(path: Path) -> float:
    """Return the time of an adapter's files, so that files written anew are read anew; 0 if there are none."""
    times = [0.0]
    for name in ("adapter_model.safetensors", "model.safetensors", "model.safetensors.index.json", PROJECTION_FILE):
        with suppress(OSError):
            times.append(os.stat(f"{path}{os.sep}{name}").st_mtime)
    return max(times)


# Tables are read, never changed: all visitors get the one object. Streamlit's cache_resource looks at the function's
# signature and hashes each argument at every call, which took longer than much of a page.
@kept(32)
def _adapter(path: str, stamp: float) -> Adapter:
    recognised = recognise(path)
    if recognised.kind != "SVFT":  # the update of another kind is computed by the libraries that trained it
        libraries()
    return open_adapter(recognised)


@kept(64)
def _base(path: str, stamp: float) -> str:
    return recognise(path).base or ""


@kept(64, around=lambda: st.spinner("Reading the matrix …"))
def _matrix(path: str, stamp: float, name: str) -> AdaptedMatrix:
    return _adapter(path, stamp).matrix(name)


@kept(512, around=lambda: st.spinner("Computing …"))
def _table(
    path: str, stamp: float, name: str, function: Callable[..., Any], options: tuple[tuple[str, Hashable], ...]
) -> Any:
    return function(_matrix(path, stamp, name), **dict(options))


@kept(64, around=lambda: st.spinner("Computing …"))
def _edited_table(path: str, stamp: float, name: str, line: str, function: Callable[..., Any]) -> Any:
    return function(Edit.from_json(line).apply(_matrix(path, stamp, name)))


@kept(64, around=lambda: st.spinner("Reading the adapter …"))
def _edited_adapter_table(path: str, stamp: float, line: str, function: Callable[[Adapter, Edit], Any]) -> Any:
    return function(_adapter(path, stamp), Edit.from_json(line))


@kept(64, around=lambda: st.spinner("Reading the adapter …"))
def _adapter_table(
    path: str, stamp: float, function: Callable[..., Any], options: tuple[tuple[str, Hashable], ...]
) -> Any:
    return function(_adapter(path, stamp), **dict(options))


_nulls = ThreadPoolExecutor(max_workers=1, thread_name_prefix="null")


@kept(512)
def _null(path: str, stamp: float, name: str) -> Future:
    matrix = _matrix(path, stamp, name)
    if not is_kept(matrix):
        return _nulls.submit(_draw_null, path, name)
    kept: Future = Future()
    kept.set_result(nulls(matrix))
    return kept


def _draw_null(path: str, name: str) -> Any:
    job = Job(null_steps, path, name)
    job.wait(_LONGEST_NULL)
    job.stop()
    if not job.results:
        raise UserError(job.error or "Drawing the random updates took too long.")
    return job.results[0]


_LONGEST_NULL = 600  # seconds


@kept(64)
def _matrix_job(path: str, stamp: float, name: str) -> Job:
    return Job(matrix_steps, path, name)


@kept(64)
def _summary_job(path: str, stamp: float) -> Job:
    return Job(summary_steps, path)


@kept(64)
def _summary(path: str, stamp: float, rows: int) -> pd.DataFrame:
    measured = summary_table(list(_summary_job(path, stamp).results[:rows]))
    for name in ("off_diagonal", "leading", "entries_for_90"):
        measured[f"noise_{name}"] = noise_words(measured, name)
    return measured


@kept(64)
def _overview_job(path: str, stamp: float) -> Job:
    return Job(overview_steps, path)


@kept(64)
def _brush_job(path: str, stamp: float, text: str) -> Job:
    return Job(brush_steps, path, text)


@kept(64)
def _comparison_job(a: str, stamp_a: float, b: str, stamp_b: float) -> Job:
    return Job(comparison_steps, a, b)


@kept(512, around=lambda: st.spinner("Comparing …"))
def _compared(a: str, stamp_a: float, b: str, stamp_b: float, name: str) -> dict[str, Any]:
    return compare_matrix(_adapter(a, stamp_a), _adapter(b, stamp_b), name)


@kept(64)
def _evaluation(path: str, stamp: float) -> Evaluation | None:
    return read_evaluation(path)


@kept(64)
def _pairs_evaluation(path: str, stamp: float) -> PairsEvaluation | None:
    return read_pairs_evaluation(path)


@kept(512)
def _trained_title(path: str, stamp: float) -> str:
    return read_trained_title(Path(path))


_loader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model")


@kept(3)
def _predictor(path: str, stamp: float) -> Future:
    return _loader.submit(_load_predictor, path)


def _load_predictor(path: str) -> Any:
    libraries()
    from analysis.running.predictor import load_predictor  # torch and peft take seconds: not before the first figure

    return load_predictor(path)


@kept(2)
def _writer(path: str, stamp: float) -> Future:
    return _loader.submit(_load_writer, _adapter(path, stamp))


def _load_writer(adapter: Adapter) -> Any:
    libraries()
    from analysis.running.generation import load_writer

    return load_writer(adapter)
