"""Evaluations of edits on this server: what is known of an adapter, and the workers that find out more."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import streamlit as st

from analysis.adapters.adapter import Adapter
from analysis.common.jobs import Job
from analysis.running.edit_effects import edit_answers
from app import data


def known(of: Adapter) -> dict[str, np.ndarray]:
    """Return right or wrong on the test split for each edit that was evaluated, by its line; "" is as trained."""
    return {line: right for _, job in _jobs(*data.key(of)) for line, right in list(job.results)}


def start(of: Adapter, lines: Sequence[str]) -> None:
    """Have a worker evaluate those edits that are neither known nor on their way, in this order."""
    coming = {line for asked, job in _jobs(*data.key(of)) if job.running for line in asked}
    asked = tuple(line for line in dict.fromkeys(lines) if line not in coming and line not in known(of))
    if asked:
        _jobs(*data.key(of)).append((asked, Job(edit_answers, str(of.path), *asked)))


def worker(of: Adapter, line: str) -> Job | None:
    """Return the last job that was asked for an edit, None where none was."""
    return next((job for asked, job in reversed(_jobs(*data.key(of))) if line in asked), None)


def running(of: Adapter) -> Job | None:
    """Return a job that is still at work on the adapter, None where there is none."""
    return next((job for _, job in _jobs(*data.key(of)) if job.running), None)


@st.cache_resource(max_entries=64, show_spinner=False)
def _jobs(path: str, stamp: float) -> list[tuple[tuple[str, ...], Job]]:
    return []
