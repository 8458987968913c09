"""Which dialog is open: it stays if the page runs again by itself, until it is dismissed or its work is done."""

import streamlit as st

OPEN, CONVERT = "open", "convert"
_KEY = "dialog"


def show(name: str) -> None:
    """Have a dialog open, from a callback or before its place on the page."""
    st.session_state[_KEY] = name


def is_shown(name: str) -> bool:
    """Whether a dialog is to be drawn."""
    return st.session_state.get(_KEY) == name


def close() -> None:
    """Have no dialog open."""
    st.session_state.pop(_KEY, None)
