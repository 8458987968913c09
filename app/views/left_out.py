"""What an adapter trains that is not shown, and why: a word near its facts."""

import streamlit as st

from analysis.adapters.adapter import Adapter, LeftOut
from analysis.adapters.paths import PROJECTION_CONFIG
from app import data

_MOST = 20  # modules are named up to here


def show(adapter: Adapter) -> None:
    """Say which modules are left out, with their share of the trained parameters; nothing if none is."""
    _show_part(adapter)
    left_out = [*adapter.left_out, *_damaged(adapter)]
    if not left_out:
        return
    every = adapter.trainable + sum(module.trained for module in adapter.left_out)
    share = sum(module.trained for module in left_out) / every if every else 0.0
    many = f"{len(left_out):,} modules are" if len(left_out) > 1 else "1 module is"
    with st.expander(f"{many} left out, with {share:.1%} of the trained parameters", icon=":material/visibility_off:"):
        for module in left_out[:_MOST]:
            st.text(f"{module.name}: {module.reason}")
        if len(left_out) > _MOST:
            st.text(f"… and {len(left_out) - _MOST:,} more; svft inspect --json lists all.")


def _show_part(adapter: Adapter) -> None:
    """Say so if a projection was saved with a part of its matrices only."""
    measured = data.evaluation(adapter)
    saved = (adapter.path / PROJECTION_CONFIG).is_file()
    if saved and measured is not None and adapter.trainable < measured.budget:
        share = adapter.trainable / measured.budget
        st.caption(
            f"Only {len(adapter.names)} matrices were saved with this adapter, {share:.0%} of the trained parameters."
        )


def _damaged(adapter: Adapter) -> list[LeftOut]:
    """Return the matrices whose numbers turned out to be damaged, once all have been read."""
    job = data.summary_job(adapter)
    if not job.complete or len(job.results) == len(adapter.names):
        return []
    read = {row["name"] for row in job.results}
    attempts = (adapter.attempt(name) for name in adapter.names if name not in read)
    return [attempt for attempt in attempts if isinstance(attempt, LeftOut)]
