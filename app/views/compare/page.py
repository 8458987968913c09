"""The same matrix of two adapters: the verdict and one figure first, then what one opens."""

from __future__ import annotations

import streamlit as st

from analysis.adapters.adapter import Adapter
from analysis.measures.comparison import shared
from app import data, selection
from app.selection import VIEWS, Opened
from app.views import progress
from app.views.compare import likeness, pictures, spectra, tables
from app.views.compare.pair import Pair
from app.views.section import section

OFFERED = 4  # shared matrices that are offered if the selected one is not among them


def show(chosen: Opened, other: Adapter, names: tuple[str, str]) -> None:
    """Draw the page of two adapters.

    Args:
        chosen: The selection; its adapter is the first.
        other: The second adapter.
        names: Of both, for people.
    """
    common = shared(chosen.adapter, other)
    job = data.comparison_job(chosen.adapter, other)
    pair = Pair.of(chosen, other, names) if chosen.matrix in common.names else None
    with st.container(key="compare"):
        if pair is not None:
            st.header(f"{pair.matrices[0].label} · {names[0]} beside {names[1]}", anchor=False)
            likeness.show_verdict(pair)
        aside, stage = st.columns([5, 9], gap="medium")
    with stage:
        if pair is not None:
            _stage(pair, chosen.view)
        else:
            st.info(f"{names[1]} does not adapt this matrix. It does adapt:", icon=":material/info:")
            labels = selection.matrix_labels(chosen.adapter)
            for name in common.names[:OFFERED]:
                st.button(
                    labels[name], key=f"shared-{name}", on_click=selection.select_matrix, args=(chosen.adapter, name)
                )
        section(f"All {len(common.names)} shared matrices", "compared", lambda: tables.show_all(job, names))
    with aside:
        if not common.complete:
            st.caption(f":material/info: {common.sentence()}")
        progress.repeat(lambda: likeness.show_map(chosen, other, job), lambda: job.running)


def _stage(pair: Pair, view: str) -> None:
    """Draw the one figure of the view, and what one opens below it."""
    if view != VIEWS[0]:
        spectra.show_values(pair)
        section("How many directions each update needs", "two-energies", lambda: spectra.show_energies(pair))
    elif pair.alike:
        pictures.show(pair)
        section("By direction, and near the diagonal", "profiles", lambda: pictures.show_profiles(pair))
    else:
        pictures.show_profiles(pair)
        section("M of each", "pictures", lambda: pictures.show(pair))
    section("Every measure of this matrix", "measures", lambda: tables.show_measures(pair))
