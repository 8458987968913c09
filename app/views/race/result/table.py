"""Every measure in a table: of each configuration, and of each trial."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from analysis.training.forgetting import MEASURES
from analysis.trials.records import StudyRecord, TrialRecord
from app.compat import fragment
from app.views.race.results import Results

_number = st.column_config.NumberColumn
_COLUMNS = {
    "label": st.column_config.TextColumn("Configuration", pinned=True, width="medium"),
    "seed": _number("Seed"),
    "state": st.column_config.TextColumn("State"),
    "reason": st.column_config.TextColumn("Reason"),
    "parameters": _number("Parameters", format="localized", help="Trained, excluding the head"),
    "seeds": _number("Seeds"),
    "accuracy": _number("Accuracy", format="percent"),
    "low": _number("… from", format="percent", help="95% interval"),
    "high": _number("… to", format="percent", help="95% interval"),
    "recovered": _number(
        "Recovered", format="percent", help="(method − head only) / (full − head only), if it is defined"
    ),
    "recovered_low": _number("… from ", format="percent", help="95% interval"),
    "recovered_high": _number("… to ", format="percent", help="95% interval"),
    "macro_f1": _number("Macro F1", format="percent"),
    "loss": _number("Loss", format="%.3f", help="Mean cross-entropy"),
    "rank": _number("Rank of ΔW", format="%.0f", help="Mean over the adapted matrices"),
    "effective_rank": _number("Effective rank", format="%.1f", help="exp of the entropy of ΔW’s singular values"),
    "stable_rank": _number("Stable rank", format="%.1f", help="‖ΔW‖² / ‖ΔW‖₂²"),
    "file_bytes": _number("File", format="bytes", help="The adapter’s weights; full fine-tuning: the whole model"),
    "drift": _number(
        "Drift elsewhere", format="%.4f", help="Mean cosine distance of embeddings that are not the task’s"
    ),
    "drift_low": _number("… from  ", format="%.4f", help="95% interval over seeds"),
    "drift_high": _number("… to  ", format="%.4f", help="95% interval over seeds"),
    "neighbours_changed": _number("Neighbours changed", format="percent", help="Elsewhere: another nearest neighbour"),
    "retrieval": _number("Retrieval", format="percent", help="Elsewhere: accuracy of the nearest neighbour’s label"),
    "retrieval_before": _number("… before", format="percent", help="The same by the base model as it was"),
    "seconds": _number("Step, s", format="%.3f", help="Median time of a training step"),
    "time_ratio": _number("Step, ×", format="%.2f", help="Of the smallest LoRA’s"),
    "peak_bytes": _number("Peak memory", format="bytes"),
    "memory_ratio": _number("Memory, ×", format="%.2f", help="Of the smallest LoRA’s"),
}
_WHOLE = 20  # rows: a longer table scrolls
_ROWS = ("Configurations", "Trials")


@fragment
def show(record: StudyRecord, of: Sequence[TrialRecord], results: Results) -> None:
    """Draw the sortable table with its CSV."""
    with st.container(horizontal=True, vertical_alignment="center", key="race-section-table"):
        rows = st.segmented_control(
            "Rows", _ROWS, default=_ROWS[0], key="table-rows", required=True, label_visibility="collapsed"
        )
        table = _configurations(record, results) if rows == _ROWS[0] else _trials(of, results)
        st.download_button(
            "CSV",
            lambda: table.to_csv(index=False),
            file_name=f"{rows.lower()}.csv",
            mime="text/csv",
            icon=":material/download:",
            type="tertiary",
            on_click="ignore",
            key="table-csv",
        )
    st.dataframe(
        table,
        column_config=_COLUMNS,
        hide_index=True,
        height="content" if len(table) <= _WHOLE else 36 * _WHOLE,
        key=f"table-{rows}",
        alt=f"Table of every measure of {len(table)} {rows.lower()}, one row each.",
    )


def _configurations(record: StudyRecord, results: Results) -> pd.DataFrame:
    table = results.summary
    if record.cost is not None:
        table = table.merge(record.cost.drop(columns="trainable"), on="label", how="left")
    return _measured(table[[name for name in _COLUMNS if name in table]])


def _trials(of: Sequence[TrialRecord], results: Results) -> pd.DataFrame:
    rows = [
        {
            "trial": trial.number,
            "label": trial.trial.label,
            "seed": trial.trial.spec.seed,
            "state": trial.state,
            "reason": trial.reason,
            "parameters": trial.trial.parameters,
        }
        for trial in of
    ]
    measured = results.trials[
        ["trial", *(name for name in _COLUMNS if name in results.trials and name not in rows[0])]
    ]
    return _measured(pd.DataFrame(rows).merge(measured, on="trial", how="left").drop(columns="trial"))


def _measured(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table without what was forgotten if no trial measured that: the section about it says so."""
    forgotten = [name for name in table if name in (*MEASURES, "drift_low", "drift_high")]
    return table if table[forgotten].notna().any(axis=None) else table.drop(columns=forgotten)
