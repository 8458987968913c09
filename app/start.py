"""Start: what SVFT is, every number that was trained, and the trained model to touch."""

import streamlit as st

from analysis.adapters.recognise import is_causal
from app import data, selection
from app.views import dial
from app.views.start import facts, wall, writing

chosen = selection.opened()

words, picture = st.columns([5, 7], gap="medium")
with words:
    facts.show_sentence()
    facts.show_shapes(chosen)
    facts.show_three(chosen)
with picture:
    wall.show(chosen)
(writing if data.adapter_table(is_causal, chosen.adapter) else dial).show(chosen)
