"""What a causal language model writes, without its adapter and with it, word by word beside each other."""

import streamlit as st

from analysis.common.errors import UserError
from analysis.models.packages import ADD_SMOLLM2, OPTIONAL_BASES, packed_file
from analysis.models.packed.unpacking import takes_long
from app import data, selection
from app.compat import fragment
from app.selection import Opened
from app.views import dial

_CONTINUED = "Once upon a time"
_TOKENS = 60  # that are written at most
_ANSWERED = "How do I learn to cook?"  # not among the prompts of the adapter that ships


@fragment
def show(chosen: Opened) -> None:
    """Draw the text, the dial if there is one, and both continuations once they are asked for, at any place of it."""
    adapter = chosen.adapter
    answers = adapter.base in OPTIONAL_BASES  # a message, in the chat template
    if answers and packed_file(adapter.base) is None:
        name = selection.short_name(adapter.base)
        st.info(f"The base model {name} is not installed; this adds it: `{ADD_SMOLLM2}`", icon=":material/info:")
        return
    left, right = st.columns([5, 8], gap="medium")
    with left:
        text = st.text_area(
            "Message" if answers else "Text to continue",
            _ANSWERED if answers else _CONTINUED,
            key="prompt-chat" if answers else "prompt",
            height=100,
        )
        alpha = dial.turn(adapter)
        asked = f"write-{adapter.path}"
        if st.button(
            "Answer" if answers else "Continue",
            type="primary",
            icon=":material/edit_note:",
            key="write",
            disabled=not text.strip(),
        ):
            st.session_state[asked] = True
        st.caption(f"Always the likeliest token, {_TOKENS} at most.")
    with right:
        columns = st.columns(2, gap="medium")
        for column, name in zip(columns, ("Without the adapter", f"With {adapter.method}"), strict=True):
            column.caption(name)
        places = [column.empty() for column in columns]
        if not (st.session_state.get(asked) and text.strip()):
            return
        with columns[0]:
            if takes_long(adapter.base):
                st.caption("The base model is unpacked first, once on this machine.")
            writer = dial.wait(data.writer(adapter))
        try:
            for written in writer.result().write(text, alpha, _TOKENS):
                for place, words in zip(places, written, strict=True):
                    place.text(words)
        except UserError as error:
            st.warning(str(error), icon=":material/error:")
