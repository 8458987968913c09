"""A question that the page checks, with a helpful sentence for right and wrong answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import streamlit as st

from analysis.lessons.answers import Answer
from app import memory
from app.views.learn import lesson


def ask_number(key: str, text: str, check: Callable[[float], Answer], *, solution: str) -> None:
    """Ask for a number.

    Args:
        key: Of the question; chapters list it under QUESTIONS.
        text: The question, Markdown.
        check: Given the number.
        solution: For the teacher.
    """

    def entry() -> Answer | None:
        memory.restore(f"answer-{key}", memory.as_number, first=None)
        given = st.number_input(
            "Your answer",
            value=None,
            key=f"answer-{key}",
            placeholder="A number",
            on_change=memory.keep_widget,
            args=(f"answer-{key}",),
            persist_state="session",
        )
        return None if given is None else check(given)

    _ask(key, text, entry, solution)


def ask_choice(key: str, text: str, options: Sequence[str], check: Callable[[str], Answer], *, solution: str) -> None:
    """Ask for one of `options`; the other arguments are those of `ask_number`."""

    def entry() -> Answer | None:
        memory.restore(f"answer-{key}", memory.as_option(options), first=None)
        given = st.pills(
            "Your answer",
            options,
            key=f"answer-{key}",
            on_change=memory.keep_widget,
            args=(f"answer-{key}",),
            persist_state="session",
        )
        return None if given is None else check(given)

    _ask(key, text, entry, solution)


def ask_deed(key: str, text: str, check: Callable[[], Answer], *, solution: str) -> None:
    """Ask for something to be done with the controls of the page, and check what was done when the button is pressed.

    The other arguments are those of `ask_number`.
    """

    def entry() -> Answer | None:
        return check() if st.button("Check", key=f"answer-{key}", icon=":material/task_alt:") else None

    _ask(key, text, entry, solution)


def _ask(key: str, text: str, entry: Callable[[], Answer | None], solution: str) -> None:
    with st.container(border=True, key=f"question-{key}"):
        st.markdown(text)
        if (answer := entry()) is not None:
            if answer.right and not lesson.is_answered(key):
                lesson.answered(key)
                st.session_state["learn-said"] = (key, answer.sentence)
                st.rerun()  # the row of chapters above gets its tick
            st.session_state.pop("learn-said", None)
            _say(answer)
        elif st.session_state.get("learn-said", (None, ""))[0] == key:
            _say(Answer(True, st.session_state.pop("learn-said")[1]))
        if lesson.teacher():
            st.caption(f"Answer: {solution}")


def _say(answer: Answer) -> None:
    (st.success if answer.right else st.info)(
        answer.sentence, icon=":material/check_circle:" if answer.right else ":material/lightbulb:"
    )
