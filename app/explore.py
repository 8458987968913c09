"""Explore: one adapter, from the map of its layers down to single coefficients."""

import streamlit as st

from app import selection
from app.views import coefficients, layers, measures, spectrum

chosen = selection.current()

aside, stage = st.columns([5, 9], gap="medium")
with stage:  # one matrix first: the map reads them all, and the measures wait for a decomposition
    if chosen.view == selection.VIEWS[0]:
        coefficients.show(chosen)
    else:
        spectrum.show(chosen)
with aside:
    layers.show_map(chosen)
    measures.show_five(chosen)
measures.show_all(chosen)
