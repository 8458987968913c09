"""Errors that no page has caught, wherever they were raised: in a page, in a fragment, or in a callback."""

from __future__ import annotations

import streamlit as st

from analysis.common.errors import UserError, report_unexpected


def show(error: Exception) -> bool:
    """Show an error as one sentence, and return True: Streamlit then shows nothing of its own."""
    sentence = str(error) if isinstance(error, UserError) else report_unexpected(error, f"the app at {st.context.url}")
    st.error(sentence, icon=":material/error:")
    return True
