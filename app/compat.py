"""What reaches past Streamlit's options: an upgrade may break it, and `tests/app/test_compat.py` then says what.

Everything else in the app calls what Streamlit documents.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

import streamlit as st

_P = ParamSpec("_P")

# How Streamlit calls parts of a page, for the style sheet (which writes $name): it documents no names of its own.
PARTS = {
    "header": '[data-testid="stHeader"]',
    "main": ".stMainBlockContainer",
    "wrapper": '[data-testid="stLayoutWrapper"]',
    "block": '[data-testid="stVerticalBlock"]',
    "row": '[data-testid="stHorizontalBlock"]',
    "column": '[data-testid="stColumn"]',
    "heading": '[data-testid="stHeading"]',
    "words": '[data-testid="stMarkdownContainer"]',
    "caption": '[data-testid="stCaptionContainer"]',
    "icon": '[data-testid="stIconMaterial"]',
    "metric": '[data-testid="stMetric"]',
    "metric_label": '[data-testid="stMetricLabel"]',
    "metric_value": '[data-testid="stMetricValue"]',
    "metric_delta": '[data-testid="stMetricDelta"]',
    "primary_button": 'button[kind="primary"]',
    "stale": "[data-stale]",
    "option": '[role="radio"]',
}


def set_cookie(name: str, value: str, *, seconds: int) -> None:
    """Leave a cookie in the browser: Streamlit reads cookies, and sets none.

    Args:
        name: Of the cookie.
        value: Letters and digits.
        seconds: How long it stays.
    """
    cookie = f"{name}={value}; path=/; max-age={seconds}; SameSite=Lax"
    with st.container(key="cookie"):  # an empty element, which the style sheet takes out of the layout
        st.html(f"<script>document.cookie = '{cookie}'</script>", unsafe_allow_javascript=True)


def fragment(draw: Callable[_P, None], run_every: float | None = None) -> Callable[_P, None]:
    """Return `st.fragment` of a function, in a container of its own.

    A fragment may be due when a run of the whole page ends, before all of that has reached the browser. Streamlit then
    drops what the run drew for it, as it is drawn again at once; meanwhile the browser moves whatever stands behind
    it one place forward, and takes it for the fragment: the page is destroyed. In this container nothing stands behind
    it.

    Args:
        draw: Draws; called with arguments.
        run_every: Seconds after which it is drawn again, and so on.
    """

    @wraps(draw)
    def placed(*args: _P.args, **kwargs: _P.kwargs) -> None:
        with st.container():
            st.fragment(draw, run_every=run_every)(*args, **kwargs)

    return placed
