"""What reaches past Streamlit's options: an upgrade may break it, and `tests/app/test_compat.py` then says what.

Everything else in the app calls what Streamlit documents.
"""

from __future__ import annotations

import streamlit as st

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
