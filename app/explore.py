"""Explore: one adapter, from the map of its layers down to single coefficients; two; or a base model alone."""

from collections.abc import Callable

import streamlit as st

from analysis.adapters.adapter import Adapter
from analysis.common.errors import UserError
from app import data, selection
from app.views import choice, convert, layers, left_out, measures, projection, spectrum
from app.views.base import page as base
from app.views.coefficients import page as coefficients
from app.views.compare import page as compare
from app.views.edit import page as edit


def show_one(chosen: selection.Opened) -> None:
    """Draw the page of one adapter."""
    aside, stage = st.columns([5, 9], gap="medium")
    with stage:  # one matrix first: the map reads them all
        drawn = draw(coefficients.show if chosen.view == selection.VIEWS[0] else spectrum.show, chosen)
    with aside:
        layers.show_map(chosen)
        left_out.show(chosen.adapter)
        if drawn:
            measures.show_five(chosen)
        projection.show_changed(chosen)
        convert.show(chosen)
    choice.show(chosen)
    measures.show_all(chosen)


def draw(view: Callable[[selection.Opened], None], chosen: selection.Opened) -> bool:
    """Draw a view of one matrix, or say why it cannot be drawn: the map and the tables of the others stay."""
    try:
        view(chosen)
    except UserError as error:
        st.error(str(error), icon=":material/error:")
        return False
    return True


def second() -> Adapter | None:
    """Return the adapter in the second slot; say why if it cannot be shown."""
    try:
        return selection.versus()
    except UserError as error:
        st.error(str(error), icon=":material/error:")
        return None


def show_adapter() -> None:
    """Draw the page of the selected adapter, alone or beside the one in the second slot."""
    chosen = selection.opened()
    if chosen.view == selection.EDIT:
        data.libraries()
        edit.show(chosen)
    elif (other := second()) is not None:
        compare.show(chosen, other, selection.names())
    else:
        show_one(chosen)


if selection.current().model:
    base.show(selection.opened_base())
else:
    show_adapter()
