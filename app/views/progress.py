"""A running job on the page: how far it is, a button that stops it, and what is drawn again meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future

import streamlit as st

from analysis.common.jobs import Job
from app.compat import fragment


def repeat(draw: Callable[[], None], going: Callable[[], bool], *, every: float = 1) -> None:
    """Draw in a fragment, and again every so many seconds while something is going on.

    At its end the page runs once more: only that stops the clock of a fragment.

    Args:
        draw: Draws.
        going: Whether it still goes on.
        every: Seconds.
    """
    started = going()

    def again() -> None:
        draw()
        if started and not going():
            st.rerun()

    fragment(again, run_every=every if started else None)()


def follow(job: Job, what: str, *, key: str, restart: Callable[[], None], seen: int | None = None) -> None:
    """`show` how far `job` is for as long as it runs."""
    repeat(lambda: show(job, what, key=key, restart=restart, seen=seen), lambda: job.running, every=0.5)


def wait(job: Job, what: str, *, key: str, restart: Callable[[], None]) -> None:
    """`follow` a job that the page has found incomplete; it runs again, even if the job is complete by now."""

    def draw() -> None:
        if job.complete:
            st.rerun()
        show(job, what, key=key, restart=restart)

    repeat(draw, lambda: job.running, every=0.5)


def await_noise(futures: Sequence[Future]) -> None:
    """Say that random updates are being drawn for as long as one of them is not done; then the page runs again."""
    waiting = [future for future in futures if not future.done()]
    if waiting:
        repeat(
            lambda: st.caption("Drawing random updates to compare with …"),
            lambda: not all(future.done() for future in waiting),
            every=0.5,
        )


def show(job: Job, what: str, *, key: str, restart: Callable[[], None], seen: int | None = None) -> None:
    """Show how far `job` is, within what is drawn by `repeat` while it runs.

    Args:
        job: The job.
        what: What is being computed, to begin a sentence.
        key: Of its widgets.
        restart: Called if someone starts a stopped or failed job again.
        seen: How many results the page already shows, if it is to be run again for each new one.
    """
    done, total = len(job.results), job.total
    if seen is not None and done > seen:
        st.rerun()
    if job.running:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.progress(done / max(total, 1), text=f"{what}: {done} of {total or '…'}", width="stretch")
            st.button("Stop", on_click=job.stop, key=f"stop-{key}", icon=":material/stop_circle:")
    elif not job.complete:
        with st.container(horizontal=True, vertical_alignment="center"):
            if job.error:
                st.warning(job.error, icon=":material/error:", width="stretch")
            else:
                st.caption(f"{what}: stopped after {done} of {total}.", width="stretch")
            st.button("Start again", on_click=restart, key=f"restart-{key}", icon=":material/refresh:")
