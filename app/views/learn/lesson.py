"""What all chapters share: which one is open, how far the student is, and what only a teacher sees."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

import streamlit as st

from app import memory, selection
from app.views.learn import prediction

# In their order. Each module has TITLE, QUESTIONS (keys), NOTES, MINUTES and show().
CHAPTERS = ("svd_by_hand", "dial", "patterns", "race", "learned", "cost", "family")


def current() -> int:
    """Return the number of the open chapter, from 1: the URL's, the first one if there is none of its number."""
    chapter = selection.current().chapter
    return chapter if chapter <= len(CHAPTERS) else 1


def teacher() -> bool:
    """Whether answers, timings and notes are shown."""
    return selection.current().teacher


def answered(key: str) -> None:
    """Record that a question was answered right."""
    memory.keep(f"right-{key}", True)


def is_answered(key: str) -> bool:
    """Whether a question was answered right, at this visit or an earlier one."""
    return memory.recall(f"right-{key}") is True


def show_chapters() -> None:
    """Draw the row of chapters: a tick on those whose questions are answered."""
    with st.container(horizontal=True, key="learn-chapters", gap="small"):
        for number in range(1, len(CHAPTERS) + 1):
            done = _done(_module(number))
            st.button(
                f"{number} · {_module(number).TITLE}",
                key=f"chapter-{number}",
                type="primary" if number == current() else "secondary",
                icon=":material/check_circle:" if done else None,
                on_click=_open,
                args=(number,),
            )


def show(number: int) -> None:
    """Draw a chapter, and for a teacher what to know about it."""
    module = _module(number)
    module.show()
    prediction.warm_up()  # meanwhile, for the chapters with a model
    with st.container(horizontal=True, vertical_alignment="center", key="learn-next"):
        finished = sum(_done(_module(chapter)) for chapter in range(1, len(CHAPTERS) + 1))
        st.caption(f"{finished} of {len(CHAPTERS)} chapters done", width="stretch")
        if not memory.is_empty():
            with st.popover("Start over", type="tertiary", icon=":material/restart_alt:", key="learn-over"):
                st.markdown("Your answers, settings and painted pattern are kept for this browser.")
                st.button("Clear them", key="learn-clear", icon=":material/delete:", on_click=memory.forget)
        if number < len(CHAPTERS):
            st.button(
                f"Next: {_module(number + 1).TITLE}",
                icon=":material/arrow_forward:",
                icon_position="right",
                key="next-chapter",
                type="primary" if _done(module) else "secondary",
                on_click=_open,
                args=(number + 1,),
            )
    if teacher():
        with st.container(border=True, key="learn-notes"):
            st.markdown(f"**For the teacher · about {module.MINUTES} minutes.** {module.NOTES}")
            with st.expander("Links for a class"):
                st.markdown(_LINKS)


def _module(number: int) -> ModuleType:
    return import_module(f"app.views.learn.{CHAPTERS[number - 1]}")


def _done(module: ModuleType) -> bool:
    return all(is_answered(key) for key in module.QUESTIONS)


def _open(number: int) -> None:
    selection.change(chapter=number)


_LINKS = """
Everything is in the address; join parts with `&`.

- `?chapter=3` opens a chapter.
- `?teacher=1` shows answers, minutes and notes.
- `?class=CODE` makes a class of all who open it: each student gets another seed, and their races of chapter 4 come
  together in one plot at `?chapter=4&class=CODE&teacher=1`.
- `?lock=alpha:0.5` locks a control at a value, `?hide=alpha:0.5` takes it away; several are joined by commas. Behind
  its question mark, this screen shows what a control is called.
"""
