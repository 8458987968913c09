"""Each method at the size nearest to the budget: parameters by kind of weight, share, file, rank."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from analysis.common.wording import share_text
from analysis.models.architecture import Architecture
from analysis.planning.wording import experts_sentences
from analysis.training.methods import METHODS

_number = st.column_config.NumberColumn
_COLUMNS = {
    "label": st.column_config.TextColumn(
        "Method",
        pinned=True,
        width="medium",
        help="SVFT plain is SVF in other units, and SVFit if it trains leading entries alone: see chapter 7 of Learn.",
    ),
    "count": _number("Trainable", format="localized", help="Parameters, a task head not counted"),
    "share": st.column_config.TextColumn("Of the model"),
    "file": _number("File", format="%.2f MB", help="adapter_model.safetensors, without a head"),
    "rank": _number(
        "Rank of ΔW",
        format="%.0f",
        help="The largest that the update of a matrix can have, mean over matrices: for SVFT the structural rank of Ω "
        "(the expected one if Ω is drawn), for LoRA and most relatives r. DoRA and BOFT scale all rows of W.",
    ),
}


def show(architecture: Architecture, table: pd.DataFrame) -> None:
    """Draw the table, and why a method is missing."""
    kinds = [kind for kind in (*architecture.kinds, *architecture.fused_kinds) if kind in table]
    sized = table[table["note"] == ""]
    shown = sized.assign(
        label=[
            f"{label} ({also})" if (also := METHODS[method].also) else label
            for method, label in zip(sized["method"], sized["label"])
        ],
        file=sized["file_bytes"] / 1e6,
        share=sized["share"].map(share_text),
    )[["label", "count", "share", "file", "rank", *kinds]]
    columns = _COLUMNS | {kind: _number(kind, format="localized") for kind in kinds}
    st.dataframe(shown, hide_index=True, width="stretch", column_config=columns, key="budgets-table")
    for note in [*table.loc[table["note"] != "", "note"], *experts_sentences(architecture, table)]:
        st.caption(note)
