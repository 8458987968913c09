"""What is shown of a base model without an adapter, computed once: keyed by its path and the time of its files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from analysis.common.jobs import Job
from analysis.common.kept import kept
from analysis.measures.weights import weight_steps
from analysis.models.shapes import block_shapes
from app.data import stamp


def base_shapes(directory: Path) -> dict[str, tuple[int, int]]:
    """Return full module name -> (out, in) of the linear layers inside the blocks of a base model.

    Raises:
        UserError: If its files are missing or damaged.
    """
    return _base_shapes(str(directory), stamp(directory))


def weights_job(directory: Path) -> Job:
    """Return the running or finished `analysis.measures.weights.weight_steps`, started by the first call."""
    return _weights_job(str(directory), stamp(directory))


def restart_weights(directory: Path) -> None:
    """Forget a stopped computation, so that the next call starts it anew."""
    _weights_job.clear(str(directory), stamp(directory))


def decomposing_seconds(shapes: Sequence[tuple[int, int]]) -> float:
    """Return how long one thread of this machine decomposes matrices (out, in); the first call measures it."""
    return _decomposing_seconds(tuple(shapes))


# A family that is not known by name is built without weights, which loads transformers.
@kept(32, around=lambda: st.spinner("Reading the model …"))
def _base_shapes(directory: str, stamp: float) -> dict[str, tuple[int, int]]:
    return block_shapes(directory)


@kept(16)
def _weights_job(directory: str, stamp: float) -> Job:
    return Job(weight_steps, directory)


@kept(64, around=lambda: st.spinner("Measuring how fast this machine decomposes …"))
def _decomposing_seconds(shapes: tuple[tuple[int, int], ...]) -> float:
    from analysis.planning.svd_speed import measure_svd_speed, svd_seconds

    return svd_seconds(shapes, measure_svd_speed())
