"""Evaluations of edits on this server: what is known of an adapter, and the workers that find out more."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import streamlit as st

from analysis.adapters.adapter import Adapter
from analysis.common.jobs import Job
from analysis.running.edit_effects import edit_answers
from app import data


def outcomes(of: Adapter) -> dict[str, np.ndarray]:
    """Return right or wrong on the test split for each edit that was evaluated, by its line; "" is as trained."""
    return _of(of).outcomes()


def start(of: Adapter, lines: Sequence[str]) -> None:
    """Have a worker evaluate those edits that are neither known nor on their way, in this order."""
    _of(of).start(str(of.path), lines)


def worker(of: Adapter, line: str) -> Job | None:
    """Return the last job that was asked for an edit, None if none was."""
    return next((job for asked, job in reversed(_of(of).jobs) if line in asked), None)


def running(of: Adapter) -> Job | None:
    """Return a job that is still at work on the adapter, None if there is none."""
    return next((job for _, job in _of(of).jobs if job.running), None)


class _Evaluations:
    """The jobs on one adapter, which all visitors share.

    Attributes:
        jobs: Each with the edits that it was asked for; replaced as a whole, never changed.
    """

    def __init__(self) -> None:
        self.jobs: tuple[tuple[tuple[str, ...], Job], ...] = ()
        self._lock = threading.Lock()

    def outcomes(self) -> dict[str, np.ndarray]:
        return {line: right for _, job in self.jobs for line, right in job.results}

    def start(self, path: str, lines: Sequence[str]) -> None:
        with self._lock:  # two visitors who ask for the same at the same time get one worker
            on_their_way = {line for asked, job in self.jobs if job.running for line in asked}
            done = on_their_way | self.outcomes().keys()
            asked = tuple(line for line in dict.fromkeys(lines) if line not in done)
            if asked:
                self.jobs = (*self.jobs, (asked, Job(edit_answers, path, *asked)))


def _of(adapter: Adapter) -> _Evaluations:
    return _evaluations(*data.key(adapter))


@st.cache_resource(max_entries=64, show_spinner=False)
def _evaluations(path: str, stamp: float) -> _Evaluations:
    return _Evaluations()
