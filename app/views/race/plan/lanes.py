"""The lanes: one per method, with its checkbox and where it stands under the slider of budgets."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

import streamlit as st

from analysis.common.wording import share_text
from analysis.figures.theme import series_color
from analysis.measures.overview import base_parameters
from analysis.training.methods import METHODS
from analysis.trials.study import LeftOut, Study, Trial
from app import figures
from app.views.race.plan import form, pattern


def show(study: Study, trials: Sequence[Trial], left_out: Sequence[LeftOut]) -> None:
    """Draw the slider and the lanes.

    Args:
        study: What the form describes.
        trials: What it plans.
        left_out: What it had to leave out.
    """
    stops = form.budget_stops(study)
    with st.container(key="lanes"):
        with st.container(horizontal=True, wrap=False, key="lane-head"):
            st.markdown("**Budget**", width=NAME_WIDTH, help="Trainable parameters, excluding the task head.")
            st.select_slider(
                "Budget: trainable parameters",
                stops,
                format_func="{:,}".format,
                key="plan-budget",
                on_change=form.forget_sizes,
                label_visibility="collapsed",
                persist_state="session",
            )
        for method in form.MAIN:
            _lane(method, study, stops, trials, left_out)
        more = [method for method in form.more() if st.session_state.get(f"plan-use-{method}")]
        with st.expander("More methods", expanded=bool(more), key="further-methods"):
            for method in form.more():
                _lane(method, study, stops, trials, left_out)
            pattern.show()
    for excluded in left_out:
        if any(trial.spec.method == excluded.method for trial in trials):
            title = METHODS[excluded.method].title
            st.caption(f"{title} has no size near {excluded.budget:,}.", help=excluded.reason)


NAME_WIDTH = 170


def _lane(method: str, study: Study, stops: list[int], trials: Sequence[Trial], left_out: Sequence[LeftOut]) -> None:
    own = [trial for trial in trials if trial.spec.method == method and trial.spec.seed == study.seeds[0]]
    reason = next((excluded.reason for excluded in left_out if excluded.method == method), "")
    with st.container(horizontal=True, wrap=False, vertical_alignment="center", key=f"lane-{method}"):
        st.checkbox(
            METHODS[method].title,
            key=f"plan-use-{method}",
            width=NAME_WIDTH,
            help=f"The same updates as {METHODS[method].also}, in other units." if METHODS[method].also else None,
            disabled=method == "custom" and st.session_state["plan"].custom_indices is None,
            persist_state="session",
        )
        st.html(
            _track(method, study.base, own, stops) if own else f'<div class="lane out">{html.escape(reason)}</div>'
        )


def _track(method: str, base: str, trials: Sequence[Trial], stops: list[int]) -> str:
    """Return a dot for each size on the slider's scale, and beside them what they are."""
    color = series_color(method, figures.theme())
    counts = sorted({trial.parameters for trial in trials})
    places = [100 * _place(count, stops) for count in counts]
    dots = "".join(f'<i style="left:{place:.1f}%;background:{color}"></i>' for place in places)
    side = f"left:{places[-1]:.1f}%" if places[0] < 55 else f"right:{100 - places[0]:.1f}%"
    says = _says(base, trials, counts)
    return f'<div class="lane">{dots}<span style="{side}">{says}</span></div>'


def _says(base: str, trials: Sequence[Trial], counts: list[int]) -> str:
    whole = base_parameters(base)
    if len(counts) > 1:
        return f"{counts[0]:,} to {counts[-1]:,}"
    size = trials[0].spec.size
    label = f"{trials[0].label.split()[-1]} · " if size is not None and len(trials) == 1 else ""
    share = f" · {share_text(counts[0] / whole)}" if whole and 0 < counts[0] < whole else ""
    return f"{label}{counts[0]:,}<small>{share}</small>"


def _place(count: int, stops: list[int]) -> float:
    """Return where a number of parameters stands on the slider, from 0 to 1."""
    lowest, highest = stops[0], stops[-1]
    share = math.log(max(count, lowest) / lowest) / math.log(highest / lowest)
    return min(share, 1.0)
