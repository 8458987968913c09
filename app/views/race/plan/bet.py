"""The bet: before a study starts, which method wins, and by how much. Optional, one click."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from analysis.trials.bets import MARGINS
from analysis.trials.study import Trial


def show(trials: Sequence[Trial]) -> None:
    """Draw the choice of a winner, and once it is made, of the margin."""
    labels = _labels(trials)
    if st.session_state.get("bet-winner") not in labels:
        st.session_state["bet-winner"] = None
    st.pills(
        "Your bet: which wins?",
        list(labels),
        format_func=lambda option: labels.get(option, option).removeprefix("SVFT ").removesuffix(" entries"),
        key="bet-winner",
        persist_state="session",
        help="The winner has the highest accuracy on the test examples. You can also start without a bet.",
    )
    if st.session_state["bet-winner"] is not None:
        st.session_state.setdefault("bet-margin", list(MARGINS)[1])
        st.segmented_control(
            "By how much over the runner-up?",
            list(MARGINS),
            key="bet-margin",
            required=True,
            persist_state="session",
        )


def current(trials: Sequence[Trial]) -> dict[str, str] | None:
    """Return the bet as `analysis.trials.bets.score_bet` reads it, None without one."""
    winner = _labels(trials).get(st.session_state.get("bet-winner"))
    return None if winner is None else {"winner": winner, "margin": st.session_state["bet-margin"]}


def _labels(trials: Sequence[Trial]) -> dict[str, str]:
    """Return a name for each configuration that stays when its size changes, with its label."""
    labels: dict[str, str] = {}
    for trial in trials:
        if trial.label not in labels.values():
            place = sum(name.startswith(f"{trial.spec.method}/") for name in labels)
            labels[f"{trial.spec.method}/{place}"] = trial.label
    return labels
