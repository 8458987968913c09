"""Paired differences from a reference that one chooses."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from analysis.figures.paired_forest import paired_forest
from app import figures
from app.compat import fragment
from app.views.race.results import Results


@fragment
def show(results: Results, behind: Results | None) -> None:
    """Draw the forest plot."""
    with st.container(horizontal=True, vertical_alignment="center", key="race-section-forest"):
        reference = st.selectbox(
            "Compared with",
            results.labels,
            index=results.labels.index(results.pair[1]),
            key="forest-reference",
            width=320,
        )
    given = behind is not None and reference in behind.labels
    table = results.differences(reference)
    figure = paired_forest(
        _without_head_only(table),
        reference=reference,
        theme=figures.theme(),
        committed=_without_head_only(behind.differences(reference)) if given else None,
    )
    figures.draw(figure, key=f"forest-{reference}")
    figures.explain(figure, table, key="forest", file_name="differences.csv")


def _without_head_only(table: pd.DataFrame) -> pd.DataFrame:
    """Leave out what lies so far below that the others could not be told apart beside it."""
    return table.drop(table.index[table["method"] == "head_only"])
