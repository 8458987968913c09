"""The tables of a whole adapter, or of one matrix, step by step: as work for a job that shows what is done so far.

Each function yields the number of its results first, then the results.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from analysis.adapters.adapter import AdaptedMatrix
from analysis.adapters.opening import open_adapter
from analysis.measures.brush import Brush, brush_row
from analysis.measures.comparison import comparison_rows, shared
from analysis.measures.null import EntryNull, SpectralNull, entry_null, spectral_null
from analysis.measures.overview import relative_norm, wall_row
from analysis.measures.ranks import norms, ranks
from analysis.measures.spectrum import cumulative_energy, intruders, spectrum, subspace_overlap
from analysis.measures.summary import summarize, summarize_beside_noise

QUICK = 512  # singular directions: up to here the spectrum of a matrix takes a fraction of a second


def summary_steps(path: str) -> Iterator[Any]:
    """Yield the number of adapted matrices, then `summary.summarize_beside_noise` of one after another.

    Of a matrix that is not large, which takes the decompositions that all its tables need, ``tables`` holds
    `MATRIX_TABLES` by name as well.
    """
    adapter = open_adapter(path)
    yield len(adapter.names)
    for matrix in adapter.readable():
        tables = {table.__name__: table(matrix) for table in MATRIX_TABLES} if matrix.m <= QUICK else {}
        yield summarize_beside_noise(matrix) | {"tables": tables}


def overview_steps(path: str) -> Iterator[Any]:
    """Yield the number of adapted matrices, then (name, ‖ΔW‖/‖W‖, its part of the wall) of one after another."""
    adapter = open_adapter(path)
    yield len(adapter.names)
    for matrix in adapter.readable():
        yield matrix.name, relative_norm(matrix), wall_row(matrix, signed=False)


def brush_steps(path: str, text: str) -> Iterator[Any]:
    """Yield the number of adapted matrices, then `brush.brush_row` of a box, given as its text, of each."""
    adapter, brush = open_adapter(path), Brush.parse(text)
    assert brush is not None  # it comes from a selection, which keeps no other
    yield len(adapter.names)
    for matrix in adapter.readable():
        yield brush_row(matrix, brush)


def comparison_steps(a: str, b: str) -> Iterator[Any]:
    """Yield the number of matrices that two adapters share, then `comparison.compare_matrix` of each."""
    first, second = open_adapter(a), open_adapter(b)
    yield len(shared(first, second).names)
    yield from comparison_rows(first, second, damaged={})


def matrix_steps(path: str, name: str) -> Iterator[Any]:
    """Yield the number of tables, then (function name, table) of everything that needs the spectrum of one matrix."""
    matrix = open_adapter(path).matrix(name)
    yield len(MATRIX_TABLES)
    for table in MATRIX_TABLES:
        yield table.__name__, table(matrix)


def nulls(matrix: AdaptedMatrix) -> tuple[EntryNull | None, SpectralNull]:
    """Return what noise in place of a matrix's update shows."""
    return entry_null(matrix), spectral_null(matrix)


def null_steps(path: str, name: str) -> Iterator[Any]:
    """Yield 1, then `nulls` of one matrix."""
    matrix = open_adapter(path).matrix(name)
    yield 1
    yield nulls(matrix)


def update_singular_values(matrix: AdaptedMatrix) -> np.ndarray:
    """Return the singular values of ΔW, descending."""
    return matrix.update_singular_values


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
)
