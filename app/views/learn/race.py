"""Chapter 4: a race with a bet; what one run says, what the committed study says, and what a class says together."""

from __future__ import annotations

import streamlit as st

from analysis.figures.paired_forest import paired_forest
from analysis.lessons import claims
from analysis.trials.results import Answers
from app import figures, trials, uploads
from app.views.learn import classes, lesson, question, racing
from app.views.race import results
from app.views.race.results import Results

TITLE = "The race"
QUESTIONS = ("claim",)
MINUTES = 10
NOTES = (
    "Let everyone bet before the start. One run is one seed: its interval covers the test examples alone, and two "
    "students will often see opposite dots. That is the lesson; a class pools its runs (`?class=CODE`), and the "
    "interval narrows with each. The committed study has several seeds."
)


def show() -> None:
    """Draw the claim, the way to the race, and what came of it."""
    st.title("Does SVFT give more than LoRA for its parameters?", anchor=False)
    if lesson.teacher() and trials.class_code():
        classes.show_all()
        return
    left, right = st.columns([5, 8], gap="large")
    own, shipped = _own(), results.shipped(racing.PREPARED.task)
    with left:
        st.markdown(
            "The paper claims that, **at equal or smaller budget, SVFT recovers more of full fine-tuning than LoRA**:"
        )
        st.latex(r"\frac{\text{method} - \text{head only}}{\text{full} - \text{head only}}")
        st.markdown("Bet on a winner, then let four methods race on headlines. It takes a few minutes.")
        _show_class()
        if st.button(
            "Open the race" if own is None else "Race again",
            type="primary" if own is None else "secondary",
            icon=":material/flag:",
            key="open-race",
            on_click=_open,
        ):
            st.rerun()
        st.markdown(f"**Your run.** {_say(own, 'You have not raced yet.')}")
        st.markdown(f"**The committed study.** {_say(shipped, 'It is not in this installation.')}")
    with right:
        _show_forest(own, shipped)
        _ask(own or shipped)
    if lesson.teacher():
        st.caption("The same race as a link, to which `&class=CODE` can be added:")
        st.code(f"race?plan={racing.PREPARED.to_link()}", language=None, wrap_lines=True)


def _open() -> None:
    racing.go(racing.prepared())


def _own() -> Results | None:
    """Return the visitor's newest run that has both sides of the claim, None without one."""
    for record in trials.store().studies(uploads.visitor()):
        if not trials.owns(record) or record.study.task != racing.PREPARED.task:
            continue
        result = results.of_study(record, trials.store().trials(record.id))
        if not result.trials.empty and result.verdict.pair:
            return result
    return None


def _say(outcome: Results | None, without: str) -> str:
    if outcome is None:
        return without
    return f"{outcome.verdict.headline} {outcome.claim}"


def _show_class() -> None:
    if trials.class_code():
        seed = trials.class_seed()
        st.info(
            f"You are in the class {trials.class_code()}: your seed is {seed}, and your run joins the others’.",
            icon=":material/groups:",
        )


def _show_forest(own: Results | None, shipped: Results | None) -> None:
    shown = own or shipped
    if shown is None:
        st.info("The differences will appear here, with their intervals, once your race has finished.")
        return
    _, reference = shown.pair
    behind = shipped.differences(reference) if own and shipped and reference in shipped.labels else None
    figure = paired_forest(shown.differences(reference), reference=reference, theme=figures.theme(), committed=behind)
    figures.draw(figure, key="learn-forest")
    figures.explain(figure, shown.differences(reference), key="learn-forest", file_name="differences.csv")


def _ask(outcome: Results | None) -> None:
    pair = outcome.verdict.pair if outcome else None
    if pair is None:
        return
    difference = Answers(outcome.trials, outcome.examples.labels).difference(*pair)
    question.ask_choice(
        "claim",
        f"Read the interval: how does {pair[0]} compare with {pair[1]}?",
        claims.OUTCOMES,
        lambda given: claims.check_outcome(given, difference),
        solution=claims.outcome(difference),
    )
