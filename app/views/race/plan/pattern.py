"""A pattern of one's own, for the method custom: a JSON file with the entries (i, j) of M that are trained."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from analysis.common.errors import UserError
from analysis.training.custom_pattern import read_pattern
from app.views.race.plan import form


def show() -> None:
    """Draw the upload, and how many entries the pattern has."""
    indices = st.session_state["plan"].custom_indices
    if indices is not None:
        st.caption(f"Your pattern has {len(set(indices)):,} entries in each matrix.")
    st.file_uploader(
        "Your own pattern: a JSON list of entries [[i, j], …]",
        type="json",
        key="pattern-file",
        on_change=_take,
        max_upload_size=1,
    )


def _take() -> None:
    file = st.session_state["pattern-file"]
    if file is None:
        return
    try:
        study = form.read()
        methods = (*study.methods, "custom")
        form.fill(replace(study, methods=methods, custom_indices=read_pattern(file.getvalue())))
    except UserError as error:
        form.complain(error)
