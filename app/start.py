"""Start: what SVFT is, every number that was trained, and the trained model to touch."""

from dataclasses import replace

import streamlit as st

from analysis.adapters.recognise import is_causal
from analysis.models.packages import DEFAULT_BASE
from app import data, selection
from app.views import dial
from app.views.start import facts, wall, writing

chosen = selection.opened()

with st.container(horizontal=True, vertical_alignment="center", key="want"):
    st.markdown("**I want to …**", width="content")
    for page, icon, what, query in (
        ("explore.py", "search", "look at an adapter", {}),
        ("explore.py", "grid_on", "look at a base model", {"model": DEFAULT_BASE}),
        ("race.py", "recommend", "choose a method", {"tab": selection.RACE_TABS[1]}),
        ("learn.py", "school", "learn how it works", {}),
    ):
        to = replace(selection.current(), **({"model": ""} | query))
        st.page_link(page, label=what, icon=f":material/{icon}:", query_params=to.to_query(), width="content")
words, picture = st.columns([5, 7], gap="medium")
with words:
    facts.show_sentence()
    facts.show_shapes(chosen)
    facts.show_three(chosen)
with picture:
    wall.show(chosen)
(writing if data.adapter_table(is_causal, chosen.adapter) else dial).show(chosen)
