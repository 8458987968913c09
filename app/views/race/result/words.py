"""The verdict in words, the bet, and the details."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from analysis.common.errors import UserError
from analysis.common.wording import share_text
from analysis.measures.overview import base_parameters
from analysis.trials.records import StudyRecord, TrialRecord
from app import selection, trials
from app.views.race.plan import form
from app.views.race.results import Results

_MOST = 3  # sentences in sight
_BET_ICONS = {
    "right": ":material/emoji_events:",
    "wrong": ":material/close:",
    "too close to call": ":material/balance:",
    "void": ":material/block:",
}


def show_verdict(record: StudyRecord, of: Sequence[TrialRecord], results: Results) -> None:
    """Draw the headline, the bet's score, and what to do next: open the best adapter, run more seeds."""
    with st.container(border=True, key="race-verdict"):
        st.header(results.verdict.headline, anchor=False)
        if record.bet is not None:
            score = results.score(record.bet)
            st.markdown(
                f"{_BET_ICONS[score.outcome]} **Your bet: {record.bet['winner']}, by {record.bet['margin']}.** "
                f"{score.sentence}"
            )
        with st.container(horizontal=True, vertical_alignment="center", key="race-next"):
            _show_open_best(record, of, results)
            if all(trial.state == "done" for trial in of):  # otherwise the next step is to continue
                _show_more_seeds(record, results)
            if len(record.study.seeds) == 1:
                st.caption("One seed: intervals cover the test examples only.")


def show_numbers(record: StudyRecord, results: Results) -> None:
    """Draw three numbers: the best SVFT pattern's accuracy, what it recovers, and how few parameters it trains."""
    number = results.best_svft
    if number is None:
        return
    label = results.trials.set_index("trial")["label"][number]
    best = results.summary.set_index("label").loc[label]
    whole = base_parameters(record.study.base or results.task.base)
    with st.container(key="race-numbers"):
        accuracy, recovered, trained = st.columns(3, gap="small")
        accuracy.metric(
            "Accuracy",
            f"{best['accuracy']:.1%}",
            help=f"{label}, the most accurate SVFT pattern. {_interval(best['low'], best['high'])}",
        )
        value = best["recovered"]
        recovered.metric(
            "Recovered",
            "–" if pd.isna(value) else f"{value:.0%}",
            help="(method − head only) / (full fine-tuning − head only)"
            + ("" if pd.isna(value) else f". {_interval(best['recovered_low'], best['recovered_high'], '.0%')}"),
        )
        share = f"{share_text(best['parameters'] / whole)} of the model, excluding the head" if whole else None
        trained.metric("Trained", f"{best['parameters']:,}", help=share)


def _interval(low: float, high: float, form: str = ".1%") -> str:
    return f"95% interval {low:{form}} to {high:{form}}".replace("-", "−")


def show_details(results: Results, behind: Results | None) -> None:
    """Write what else there is to say, and what the study that ships with this project says of the paper's claim."""
    details = list(results.verdict.details)
    first, more = details[:_MOST], details[_MOST:]
    if results.verdict.pair is not None:
        more.append(f"The paper’s claim, in this study: {results.claim}")
    if behind is not None:
        more.append(f"In the study that ships with this project ({_size(behind)}): {behind.claim}")
    st.markdown("\n".join(f"- {sentence}" for sentence in first))
    if more:
        with st.expander("More in words", type="compact", key="more-words"):
            st.markdown("\n".join(f"- {sentence}" for sentence in more))


def _size(of: Results) -> str:
    return f"{len(of.trials)} trials, {of.trials['seed'].nunique()} seeds"


def _show_open_best(record: StudyRecord, of: Sequence[TrialRecord], results: Results) -> None:
    number = results.best_svft
    if number is None:
        return
    directory = trials.store().adapter_directory(record.id, number)
    if directory.is_dir():
        label = next(trial.trial.label for trial in of if trial.number == number)
        st.button(
            f"Open {label} in Explore",
            type="primary",
            icon=":material/search:",
            key="explore-best",
            help="The SVFT adapter of highest accuracy: its M, its spectrum and its rank.",
            on_click=selection.open_adapter,
            args=(directory,),
        )


def _show_more_seeds(record: StudyRecord, results: Results) -> None:
    more = results.verdict.more_seeds
    if more is None or not trials.owns(record):
        return
    st.button(
        f"Run {more} more {'seed' if more == 1 else 'seeds'}",
        icon=":material/add:",
        key="add-seeds",
        help="Trains every configuration with more seeds, and adds them to these.",
        on_click=_add_seeds,
        args=(record, more),
    )


def _add_seeds(record: StudyRecord, more: int) -> None:
    try:
        trials.add_seeds(record, more)
    except UserError as error:
        form.complain(error)
