"""Every measure of one matrix in two adapters, and the likeness of all matrices that they share."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from analysis.common.jobs import Job
from analysis.measures.comparison import comparison_table, differences, overlap_words
from analysis.measures.summary import MEASURES
from app import data, figures
from app.views import progress
from app.views.compare.pair import Pair

_number = st.column_config.NumberColumn


def show_measures(pair: Pair) -> None:
    """Write every measure of the matrix in both adapters, and the difference."""
    follow(pair)
    if not all("summarize" in measured for measured in pair.tables):
        return
    table = differences(*(measured["summarize"] for measured in pair.tables))
    lines = [f"| Measure | {pair.names[0]} | {pair.names[1]} | Difference |", "|:--|--:|--:|--:|"]
    lines += [measure_line(*row) for row in table.itertuples(index=False)]
    with st.container(key="measures"):
        st.markdown("\n".join(lines))
    figures.offer_csv(lambda: table, key="measures", file_name="measures.csv")


def measure_line(measure: str, first: float, second: float, difference: float) -> str:
    """Return a line of the table: the measure in words, its values and their difference as it is written."""
    title, form = MEASURES[measure]
    signed = f"+{form.removeprefix('+')}"
    of = [format(value, form) if pd.notna(value) else "–" for value in (first, second)]
    change = "–" if pd.isna(difference) else format(difference, signed if difference else form)
    if form.endswith("%"):
        change = f"{change.removesuffix('%')} points"
    return f"| {title} | {' | '.join([*of, change])} |".replace("-", "−")


def follow(pair: Pair) -> None:
    """Show how far the measures of a large matrix are, of whichever adapter they are computed."""
    for position, (adapter, matrix) in enumerate(pair.both):
        measured, job = data.spectral_tables(adapter, matrix)
        if job is not None:
            progress.follow(
                job,
                f"Measuring {pair.names[position]}",
                key=f"matrix-{position}-{matrix}",
                restart=lambda adapter=adapter, matrix=matrix: data.restart_matrix(adapter, matrix),
                seen=len(measured),
            )


def await_noise(pair: Pair) -> None:
    """Say that the noise of both is being drawn for as long as it is."""
    progress.await_noise([data.null(*chosen) for chosen in pair.both])


def show_all(job: Job, names: tuple[str, str]) -> None:
    """Draw the table of all shared matrices; it fills while they are compared."""
    progress.repeat(lambda: _table(job, names), lambda: job.running)


def _table(job: Job, names: tuple[str, str]) -> None:
    table = comparison_table(job.results)
    columns = {
        "label": st.column_config.TextColumn("Matrix", pinned=True, width="medium"),
        "relative_norm_a": _number(f"‖ΔW‖/‖W‖ {names[0]}", format="percent"),
        "relative_norm_b": _number(f"‖ΔW‖/‖W‖ {names[1]}", format="percent"),
        "norm_ratio": _number("second / first", format="%.2f"),
        "cosine": _number("Cosine", format="%.3f"),
        "chance_cosine": _number("noise ±", format="%.3f", help="95% of noise in place of the second"),
        "overlap_left": _number("Left overlap", format="percent"),
        "noise_left": st.column_config.TextColumn("in noise", help="95% interval"),
        "overlap_right": _number("Right overlap", format="percent"),
        "noise_right": st.column_config.TextColumn("in noise ", help="95% interval"),
    }
    for side in ("left", "right"):
        table[f"noise_{side}"] = overlap_words(table, side)
    st.dataframe(
        table[list(columns)],
        column_config=columns,
        hide_index=True,
        key="all-comparison",
        alt=f"Table of the likeness of two adapters in {len(table)} matrices, one row each.",
    )
    st.caption(
        "Noise in place of the second adapter’s update: an interval leaves out 1 of 20 matrices by chance. A cosine "
        "or an overlap inside says nothing."
    )
    figures.offer_csv(lambda: table, key="comparison", file_name="comparison.csv")
