"""The paper's numbers: what it publishes beside what the settings that it states give."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from analysis.planning.paper import EQUAL, paper_table

_COLUMNS = {
    "model": "Model",
    "label": "Method",
    "matrices": st.column_config.TextColumn("Matrices", help="Q K V O attention; G U D the MLP’s gate, up, down"),
    "published": "Published",
    "count": st.column_config.NumberColumn("Of that setting", format="localized"),
    "verdict": "Verdict",
    "explanation": st.column_config.TextColumn("It …", width="large"),
}


def show() -> None:
    """Draw the table behind one click."""
    with st.expander("The paper’s own numbers", key="budgets-paper"):
        table = _table()
        equal = int((table["verdict"] == EQUAL).sum())
        st.caption(
            f"{equal} of {len(table)} published counts follow from the setting that is stated with them, rounded or "
            "truncated; look for the others, and for what they turn out to be. They are counted by the same code as "
            "your model above."
        )
        st.dataframe(table, hide_index=True, width="stretch", column_config=_COLUMNS, key="budgets-paper-table")


@st.cache_data(show_spinner="Building the paper’s models from their configurations …")
def _table() -> pd.DataFrame:
    return paper_table()
