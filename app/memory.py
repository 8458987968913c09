"""What a visitor set, answered and painted in Learn: kept on the server, so that it is there after a reload.

It belongs to the visitor (`uploads.visitor`), and no link carries it. Where studies cannot be kept, it lasts as long
as the session.
"""

from __future__ import annotations

import logging
import math
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from analysis.common.errors import UserError
from app import trials, uploads

_NOTES = "notes"  # of this session: read once, then written along
_FIRST = "first-values"  # of the widgets that this session has drawn


def recall(key: str) -> Any:
    """Return what was kept under a key, None if nothing was."""
    return _notes().get(key)


def restore(key: str, read: Callable[[Any], Any], *, first: Any) -> None:
    """Give a widget that has no value yet the one that was kept.

    Args:
        key: Of the widget.
        first: Its value on a first visit.
        read: Makes the widget's value of what was kept, None if the widget does not take that any more.
    """
    st.session_state.setdefault(_FIRST, {})[key] = first
    kept = recall(key)
    if kept is None or key in st.session_state:
        return
    value = read(kept)
    if value is None:
        keep(key, None)
    else:
        st.session_state[key] = value


def as_number(kept: Any) -> float | None:
    """Return a number that was kept, None if it is none."""
    is_number = isinstance(kept, int | float) and not isinstance(kept, bool)
    return float(kept) if is_number and math.isfinite(kept) else None


def as_option(options: Sequence[str]) -> Callable[[Any], str | None]:
    """Return what takes one of `options` if it was kept, and None if anything else was."""
    return lambda kept: kept if kept in options else None


def keep(key: str, value: Any) -> None:
    """Keep a value that JSON can hold."""
    if recall(key) == value:
        return
    _notes()[key] = value
    _ask(lambda store: store.set_note(uploads.visitor(), key, value))


def keep_widget(key: str) -> None:
    """Keep what a widget was set to: for its ``on_change``."""
    keep(key, st.session_state[key])


def forget() -> None:
    """Forget all that was kept, on the server and in this session; from a callback."""
    # Not deleted: the browser would go on showing what a widget had.
    st.session_state.update({key: first for key, first in st.session_state.get(_FIRST, {}).items() if key in _notes()})
    _notes().clear()
    _ask(lambda store: store.delete_notes(uploads.visitor()))


def is_empty() -> bool:
    """Whether nothing was kept."""
    return not _notes()


def _notes() -> dict[str, Any]:
    if _NOTES not in st.session_state:
        st.session_state[_NOTES] = _ask(lambda store: store.notes(uploads.visitor())) or {}
    return st.session_state[_NOTES]


def _ask(what: Callable[[Any], Any]) -> Any:
    """Return the store's answer, None if it has none: no chapter fails because a disk is full."""
    try:
        return what(trials.store())
    except (UserError, sqlite3.Error) as error:
        logging.getLogger(__name__).warning("What a visitor set in Learn is not kept: %s", error)
        return None
