"""What a projection is: how much of the update it shows, what a pattern could hold of it, and what that is worth."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from analysis.adapters.checkpoint import changed_parts
from analysis.adapters.projected_adapter import ProjectedAdapter
from analysis.figures.coverage import coverage as coverage_figure
from analysis.figures.inside_share import inside_share
from analysis.measures.coefficients import inside_basis
from analysis.measures.coverage import coverage
from analysis.training.evaluation import recovered_by_pattern
from app import data, figures
from app.selection import Opened


def show_inside(chosen: Opened) -> None:
    """Draw the bar of the share of energy inside the basis, with a word that this is a projection."""
    inside = data.table(inside_basis, chosen.adapter, chosen.matrix)
    figure = inside_share(inside, theme=figures.theme())
    table = inside.to_frame().T
    figures.draw(figure, key="inside")
    figures.explain(figure, table, key="inside", file_name="inside_share.csv")


def show_coverage(chosen: Opened) -> None:
    """Draw what each pattern could hold of the update, with recovered performance beside it if it is known."""
    table = data.table(coverage, chosen.adapter, chosen.matrix)
    figure = coverage_figure(table, theme=figures.theme())
    st.subheader("What a pattern could hold of this update", anchor=False)
    figures.draw(figure, key="coverage")
    figures.explain(figure, table, key="coverage", file_name="coverage.csv")
    rows = _beside(table, recovered_by_pattern(chosen.adapter.task))
    if rows:
        head = ["| Pattern | Entries here | Covers | Chance | Recovers |", "|:--|--:|--:|--:|--:|"]
        st.markdown("\n".join([*head, *rows]))
        st.caption(
            "Recovered performance is that of the shipped SVFT adapter of this pattern on the same task: covering "
            "little of what another method did does not mean performing worse."
        )


def show_changed(chosen: Opened) -> None:
    """Draw, for a whole fine-tuned model, how much of its change lies in which part of the model."""
    adapter = chosen.adapter
    if not isinstance(adapter, ProjectedAdapter) or adapter.kind != "full fine-tuning":
        return
    if not st.toggle("What changed outside the matrices", key="changed-parts", help="Reads both models once."):
        return
    rows = [
        f"| {row.part} | {row.share:.2%} | {row.parameters:,} | {row.new:,} |"
        for row in data.adapter_table(changed_parts, adapter).itertuples()
    ]
    st.markdown("\n".join(["| Part | Of the change | Parameters | New |", "|:--|--:|--:|--:|", *rows]))
    st.caption("Shares of the squared norm of all differences; new are those that the base model does not have.")


def _beside(table: pd.DataFrame, recovered: dict[str, tuple[float, int]]) -> list[str]:
    rows = []
    for pattern, (share, off_diag) in recovered.items():
        of = table[table["pattern"] == pattern]
        if of.empty:
            continue
        n = int(table.loc[table["pattern"] == "plain", "k"].iloc[0])
        k = n * (2 * off_diag + 1) - off_diag * (off_diag + 1)
        at = of.iloc[(of["k"] - k).abs().argmin()]
        rows.append(f"| {pattern} | {int(at['k']):,} | {at['share']:.2%} | {at['chance']:.2%} | {share:.0%} |")
    return rows
