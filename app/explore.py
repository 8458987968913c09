"""Explore: one adapter, from the map of its layers down to single coefficients."""

import streamlit as st

from app import selection
from app.views import coefficients, layers, measures, spectrum

chosen = selection.current()

aside, stage = st.columns([5, 9], gap="medium")
with aside:
    layers.show_map(chosen)
with stage:
    if chosen.view == selection.VIEWS[0]:
        coefficients.show(chosen)
    else:
        spectrum.show(chosen)
with aside:
    measures.show_five(chosen)  # after the stage: it waits for a decomposition
measures.show_all(chosen)
