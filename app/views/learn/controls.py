"""The controls of the chapters, which a link can lock or hide: ``?lock=alpha:0.5`` and ``?hide=alpha:0.5``.

What they were set to is there after a reload; text that someone typed is not kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from analysis.common.errors import UserError
from analysis.common.typed import number
from app import memory, selection
from app.views.learn import lesson


def slider(name: str, label: str, low: float, high: float, default: float, step: float, help: str = "") -> float:
    """Draw a slider, unless a link hides it, and return its value.

    Args:
        name: What links call it.
        label: On screen.
        low: Its least value.
        high: Its greatest one.
        default: Where it begins.
        step: Between two values; whole numbers if it is one.
        help: Behind the question mark.
    """
    fixed, hidden = _fixed(name)
    whole = type(step)
    if fixed is not None:
        try:
            fixed = whole(min(max(number(fixed), low), high))
        except UserError:  # of a link that someone has typed
            fixed = None
    if hidden:
        return default if fixed is None else fixed
    if fixed is not None:
        st.session_state[_key(name)] = fixed

    def within(kept: object) -> float | None:
        value = memory.as_number(kept)
        return None if value is None else whole(min(max(value, low), high))

    memory.restore(_key(name), within, first=default)
    return st.slider(
        label,
        low,
        high,
        **_start(name, default),
        step=step,
        key=_key(name),
        disabled=_locked(name),
        help=_help(name, help),
        on_change=memory.keep_widget,
        args=(_key(name),),
        persist_state="session",
    )


def choice(
    name: str, label: str, options: Sequence[str], titles: dict[str, str] | None = None, *, bare: bool = False
) -> str:
    """Draw a choice of one option, unless a link hides it, and return it; titles stand in place of options.

    A bare one has no visible label.
    """
    if (fixed := _of_link(name, options)) is not None:
        return fixed
    return st.segmented_control(
        label,
        options,
        format_func=lambda option: (titles or {}).get(option, option),
        key=_key(name),
        required=True,
        disabled=_locked(name),
        help=None if bare else _help(name, ""),
        on_change=memory.keep_widget,
        args=(_key(name),),
        label_visibility="collapsed" if bare else "visible",
        persist_state="session",
    )


def pick(name: str, label: str, titles: dict[str, str]) -> str:
    """Draw a list of many options (name -> title) to choose one from, unless a link hides it, and return its name."""
    if (fixed := _of_link(name, list(titles))) is not None:
        return fixed
    return st.selectbox(
        label,
        list(titles),
        format_func=lambda option: titles[option],
        key=_key(name),
        disabled=_locked(name),
        help=_help(name, ""),
        on_change=memory.keep_widget,
        args=(_key(name),),
        persist_state="session",
    )


def _of_link(name: str, options: Sequence[str]) -> str | None:
    """Give a choice the option of a link, else what was kept, else its first; return it if the link hides it."""
    fixed, hidden = _fixed(name)
    fixed = fixed if fixed in options else None
    if hidden:
        return fixed or options[0]
    memory.restore(_key(name), memory.as_option(options), first=options[0])
    if fixed is not None or st.session_state.get(_key(name)) not in options:
        st.session_state[_key(name)] = fixed or options[0]
    return None


def head(title: str, name: str, steps: Sequence[str]) -> int:
    """Draw a chapter's title beside its steps, and return which one is open, from 0."""
    with st.container(horizontal=True, vertical_alignment="center", key="learn-head"):
        st.title(title, anchor=False, width="stretch")
        return list(steps).index(choice(name, "Step", steps, bare=True))


def text(name: str, label: str, default: str) -> str:
    """Draw a text field, unless a link hides it, and return its text."""
    fixed, hidden = _fixed(name)
    if hidden:
        return fixed or default
    if fixed is not None:
        st.session_state[_key(name)] = fixed
    return st.text_input(
        label,
        **_start(name, default),
        key=_key(name),
        disabled=_locked(name),
        help=_help(name, ""),
        persist_state="session",
    )


def _key(name: str) -> str:
    return f"learn-{name}"


def _start(name: str, default: Any) -> dict[str, Any]:
    """Return the default for a widget that has no value yet: with both, Streamlit would warn."""
    return {} if _key(name) in st.session_state else {"value": default}


def _help(name: str, help: str) -> str | None:
    named = f"In links: `{name}`" if lesson.teacher() else ""
    return " ".join(filter(None, (help, named))) or None


def _locked(name: str) -> bool:
    return name in _parse(selection.current().lock)


def _fixed(name: str) -> tuple[str | None, bool]:
    """Return the value that a link gives to a control, and whether it hides it."""
    chosen = selection.current()
    hidden, locked = _parse(chosen.hide), _parse(chosen.lock)
    return hidden.get(name) or locked.get(name), name in hidden


def _parse(given: str) -> dict[str, str | None]:
    """Return name -> value of "alpha:0.5,pairs": None where no value is given."""
    values = {}
    for part in filter(None, (part.strip() for part in given.split(","))):
        name, _, value = part.partition(":")
        values[name] = value or None
    return values
