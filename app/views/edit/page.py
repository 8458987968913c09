"""The view that edits M: what carries the skill? Cards to guess, edits of one's own, and what they do."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from analysis.adapters.recognise import is_causal
from analysis.common.wording import percent
from analysis.figures.edit_outcomes import edit_outcomes
from analysis.measures.edits import OFF, Card, cards
from analysis.running.edit_effects import Accuracy, effect, kept, why_not
from app import data, figures
from app.selection import Opened
from app.views.edit import brushed, custom, edited, evaluations
from app.views.edit.outcome import TRAINED, background, beside_random, sentence, wait_for
from app.views.start import writing

CUSTOM = "Custom"


def show(chosen: Opened) -> None:
    """Draw the cards, the guess, the outcome, and the edited matrix and model."""
    with st.container(key="edit"):
        st.header("What carries the skill?", anchor=False)
        if reason := why_not(chosen.adapter):
            st.info(reason, icon=":material/info:")
            if data.adapter_table(is_causal, chosen.adapter):
                st.subheader("Try it", anchor=False)
                writing.show(chosen)
            return
        by_title = {card.title: card for card in data.adapter_table(cards, chosen.adapter)}
        st.session_state.setdefault("card", next(iter(by_title)))  # no default: a box that is sent here sets it, too
        title = st.pills(
            "Edit of M", [*by_title, brushed.TITLE, CUSTOM], key="card", required=True, label_visibility="collapsed"
        )
        left, right = st.columns([7, 6], gap="medium")
    with left:
        if title in (brushed.TITLE, CUSTOM):
            made = custom.show(chosen) if title == CUSTOM else brushed.show(chosen)
            if made is None:
                return
            edit, what = made
            seen = True
        else:
            edit, what = by_title[title].edit, title
            _card(chosen, by_title[title], list(by_title.values()))
            seen = _place(chosen, title) in _guesses()
    with right:  # what another visitor had evaluated is known, but comes after this visitor's own guess
        edited.show(chosen, edit, what, evaluations.outcomes(chosen.adapter).get(edit.to_json()) if seen else None)


def _card(chosen: Opened, card: Card, all_cards: list[Card]) -> None:
    """Draw one card: its question, then, once it is guessed, its outcome among those guessed before."""
    st.write(card.sentence)
    entries, energy = data.adapter_table_of(kept, chosen.adapter, card.edit)
    control = card.edit.control(entries)
    if control:
        st.caption(f"{percent(entries)} of the values stay; they held {percent(energy)} of ‖M‖².")
    guesses, place = _guesses(), _place(chosen, card.title)
    if place not in guesses:
        measured = data.evaluation(chosen.adapter)
        key = f"guess-{card.title}"
        st.slider(
            f"Your guess: accuracy after this edit (as trained {measured.accuracy:.0%})",
            0, 100, 50, format="%d%%", key=key,
        )  # fmt: skip
        asked = [card, *(other for other in all_cards if other is not card)]

        def reveal() -> None:
            guesses[place] = st.session_state[key] / 100
            first, *others = (card.edit for card in asked)
            edits = [OFF, first, *([control] if control else []), *others]
            evaluations.start(chosen.adapter, [TRAINED, *(edit.to_json() for edit in edits)])

        st.button("See what happens", type="primary", on_click=reveal, icon=":material/visibility:", key="reveal")
        return
    lines = {card.title: card.edit.to_json() for card in all_cards if (place[0], card.title) in guesses}
    needed = [lines[card.title], *([control.to_json()] if control else [])]
    shown = wait_for(chosen, [TRAINED, OFF.to_json(), *needed])
    if shown is None:
        return
    outcome = effect(shown[TRAINED], shown[lines[card.title]])
    st.markdown(f"**{sentence(card.title, outcome)}** You guessed {guesses[place]:.0%}.")
    revealed = {title: shown[line] for title, line in lines.items() if line in shown and title != card.title}
    if control:
        at_random = shown[control.to_json()]
        st.caption(beside_random(entries, effect(at_random, shown[lines[card.title]])))
        revealed[f"Random {percent(entries)}"] = at_random
    revealed[card.title] = shown[lines[card.title]]  # the open card comes last
    table = outcomes(
        {"As trained": shown[TRAINED], "M off": shown[OFF.to_json()], **revealed},
        {title: guesses[place[0], title] for title in revealed if title in lines},
    )
    figure = edit_outcomes(table, pattern=chosen.pattern, theme=figures.theme())
    figures.draw(figure, key="edit-outcomes")
    figures.explain(figure, table, key="edit-outcomes", file_name="edits.csv")
    background(chosen)


def _guesses() -> dict[tuple[str, str], float]:
    """Return the visitor's guesses of accuracies, by `_place`."""
    return st.session_state.setdefault("guesses", {})


def _place(chosen: Opened, title: str) -> tuple[str, str]:
    return str(chosen.adapter.path), title


def outcomes(answers: dict[str, np.ndarray], guesses: dict[str, float]) -> pd.DataFrame:
    """Return the table of `analysis.figures.edit_outcomes`, from right or wrong by label."""
    rows = []
    for label, right in answers.items():
        accuracy = Accuracy.of(right)
        rows.append((label, accuracy.value, accuracy.low, accuracy.high, guesses.get(label, np.nan)))
    return pd.DataFrame(rows, columns=["label", "accuracy", "low", "high", "guess"])
