"""A running job on the page: how far it is, and a button that stops it."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from analysis.jobs import Job


def show(job: Job, what: str, *, key: str, restart: Callable[[], None], seen: int | None = None) -> None:
    """Show how far `job` is; call it in a fragment that repeats while the job runs.

    Args:
        job: The job.
        what: What is being computed, to begin a sentence.
        key: Of its widgets.
        restart: Called where someone starts a stopped or failed job again.
        seen: How many results the page already shows, where it is to be run again for each new one.
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
            st.caption(job.error or f"{what}: stopped after {done} of {total}.", width="stretch")
            st.button("Start again", on_click=restart, key=f"restart-{key}", icon=":material/refresh:")
