"""Explore: one adapter, from the map of its layers down to single coefficients; or two beside each other."""

from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from analysis.adapters.adapter import Adapter
from analysis.common.errors import UserError
from app import selection
from app.views import coefficients, compare, convert, layers, left_out, measures, projection, spectrum
from app.views.edit import page as edit


def show_one(chosen: selection.Opened) -> None:
    """Draw the page of one adapter."""
    aside, stage = st.columns([5, 9], gap="medium")
    with stage, stopping_at_damage():  # one matrix first: the map reads them all
        if chosen.view == selection.VIEWS[0]:
            coefficients.show(chosen)
        else:
            spectrum.show(chosen)
    with aside:
        layers.show_map(chosen)
        left_out.show(chosen.adapter)
        with stopping_at_damage():
            measures.show_five(chosen)
        projection.show_changed(chosen)
        convert.show(chosen)
    measures.show_all(chosen)


@contextmanager
def stopping_at_damage() -> Iterator[None]:
    """Say why one matrix cannot be shown; the map and the tables of the others stay."""
    try:
        yield
    except UserError as error:
        st.error(str(error), icon=":material/error:")


def second() -> Adapter | None:
    """Return the adapter in the second slot; say why if it cannot be shown."""
    try:
        return selection.versus()
    except UserError as error:
        st.error(str(error), icon=":material/error:")
        return None


chosen = selection.opened()
if chosen.view == selection.EDIT:
    edit.show(chosen)
elif (other := second()) is not None:
    compare.show(chosen, other, selection.names())
else:
    show_one(chosen)
