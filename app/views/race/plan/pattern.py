"""A pattern of one's own, for the method custom: a JSON file with the entries (i, j) of M that are trained."""

from __future__ import annotations

import json
from dataclasses import replace

import streamlit as st

from analysis.common.errors import UserError
from app.views.race.plan import form

_MOST = 2**20  # bytes


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


def read_pattern(content: bytes) -> tuple[tuple[int, int], ...]:
    """Return the entries (i, j) in a JSON file's content.

    Raises:
        UserError: Where it is no list of pairs of whole numbers from 0.
    """
    try:
        pairs = json.loads(content)
        found = tuple((i, j) for i, j in pairs)
        if not found or not all(type(k) is int and k >= 0 for pair in found for k in pair):
            raise ValueError
    except (ValueError, TypeError) as error:
        raise UserError(
            "This is no pattern: a JSON file with a list of entries [i, j] is expected, such as [[0, 0], [0, 1]]."
        ) from error
    return found
