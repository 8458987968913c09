"""How a causal language model continues a text, without its adapter and with it, word by word beside each other."""

import streamlit as st

from analysis.common.errors import UserError
from app import data
from app.selection import Opened
from app.views import dial


@st.fragment
def show(chosen: Opened) -> None:
    """Draw the text, the dial if there is one, and both continuations once they are asked for."""
    adapter = chosen.adapter
    left, right = st.columns([5, 8], gap="medium")
    with left:
        text = st.text_area("Text to continue", "The capital of France is", key="prompt", height=100)
        alpha = dial.turn(adapter)
        asked = st.button(
            "Continue", type="primary", icon=":material/edit_note:", key="write", disabled=not text.strip()
        )
    with right:
        columns = st.columns(2, gap="medium")
        for column, name in zip(columns, ("Without the adapter", f"With {adapter.method}"), strict=True):
            column.caption(name)
        places = [column.empty() for column in columns]
        if not asked:
            return
        with columns[0]:
            writer = dial.wait(data.writer(adapter))
        try:
            for written in writer.result().write(text, alpha):
                for place, words in zip(places, written, strict=True):
                    place.text(words)
        except UserError as error:
            st.warning(str(error), icon=":material/error:")
