"""Waiting for the evaluation of an edit, and saying what it found."""

from __future__ import annotations

import numpy as np
import streamlit as st

from analysis.common.wording import percent
from analysis.running.edit_effects import Effect
from app.selection import Opened
from app.views import progress
from app.views.edit import evaluations

TRAINED = ""  # the line that stands for the adapter as it was trained


def wait_for(chosen: Opened, lines: list[str]) -> dict[str, np.ndarray] | None:
    """Return all answers that are known, once those of `lines` are; meanwhile show how far the worker is, and None."""
    outcomes = evaluations.outcomes(chosen.adapter)
    if all(line in outcomes for line in lines):
        return outcomes
    missing = next(line for line in lines if line not in outcomes)
    job = evaluations.worker(chosen.adapter, missing)
    if job is None:  # another server process began it, or the file was written anew
        evaluations.start(chosen.adapter, lines)
        job = evaluations.worker(chosen.adapter, missing)
    progress.follow(
        job,
        "Evaluating on the test split",
        key="edits",
        restart=lambda: evaluations.start(chosen.adapter, lines),
        seen=len(job.results),
    )
    return None


def background(chosen: Opened) -> None:
    """Say that the other cards are being evaluated, and let it be stopped."""
    job = evaluations.running(chosen.adapter)
    if job is None:
        return

    def draw() -> None:
        if job.running:
            with st.container(horizontal=True, vertical_alignment="center", key="edits-background"):
                st.caption("Meanwhile, the other cards are being evaluated.", width="stretch")
                st.button(
                    "Stop", on_click=job.stop, key="stop-background", type="tertiary", icon=":material/stop_circle:"
                )

    progress.repeat(draw, lambda: job.running)


def beside_random(share: float, outcome: Effect) -> str:
    """Say how an edit that keeps a share of the values compares with as many values at random.

    Args:
        share: The part of the values that stay.
        outcome: From the control, before, to the edit, after.
    """
    return _beside(f"As many values at random ({percent(share)}, one draw) give", outcome)


def beside_elsewhere(outcome: Effect) -> str:
    """Say how zeroing a box compares with zeroing as many trained entries elsewhere, before, to the box, after."""
    return _beside("As many entries zeroed elsewhere (one draw) give", outcome)


def _beside(control: str, outcome: Effect) -> str:
    difference, low, high = (
        f"{100 * value:+.1f}".replace("-", "−") for value in (outcome.difference, outcome.low, outcome.high)
    )
    differs = f"this edit differs from that by {difference} points"
    verdict = differs if outcome.clear else "the two cannot be told apart"
    return f"{control} {outcome.before.value:.1%}: {verdict} (95% interval {low} to {high})."


def sentence(what: str, outcome: Effect) -> str:
    """Say what an edit did to the accuracy."""
    difference, low, high = (f"{100 * value:+.1f}" for value in (outcome.difference, outcome.low, outcome.high))
    points = f"{difference} points, 95% interval {low} to {high}"
    verdict = "" if outcome.clear else " That cannot be told apart from no change."
    before, after = outcome.before.value, outcome.after.value
    return f"{what}: {before:.1%} → {after:.1%} ({points.replace('-', '−')}).{verdict}"
