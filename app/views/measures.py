"""Measures: five of the selected matrix in sight, all of all matrices in a table below."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from analysis.common.jobs import Job
from analysis.common.wording import percent
from analysis.measures.coefficients import energy_shares
from analysis.measures.noise import Level, what
from analysis.measures.summary import summary_table
from app import data, figures
from app.selection import Opened
from app.views import progress

_FIVE = {
    "relative_norm": ("‖ΔW‖ / ‖W‖", "{:.1%}".format),
    "stable_rank": ("Stable rank of ΔW", "{:.1f}".format),
    "off_diagonal_share": ("Energy off the diagonal", None),  # with the digits that noise needs
    "largest_change": ("Largest change of a σ", "{:.3f}".format),
    "turned": ("Turned vectors", "{:,.0f}".format),
}

_number = st.column_config.NumberColumn
_COLUMNS = {
    "label": st.column_config.TextColumn("Matrix", pinned=True, width="medium"),
    "pattern_label": st.column_config.TextColumn("Pattern"),
    "k": _number("k", help="Trained entries"),
    "relative_norm": _number("‖ΔW‖/‖W‖", format="percent"),
    "update_norm": _number("‖ΔW‖", format="%.3f", help="Frobenius norm of the update"),
    "update_spectral": _number("‖ΔW‖₂", format="%.3f", help="Spectral norm of the update"),
    "update_nuclear": _number("‖ΔW‖∗", format="%.2f", help="Nuclear norm of the update"),
    "weight_norm": _number("‖W‖", format="%.2f", help="Frobenius norm of the base weight"),
    "stable_rank": _number("Stable rank", format="%.1f", help="‖ΔW‖² / ‖ΔW‖₂²"),
    "effective_rank": _number("Effective rank", format="%.1f", help="exp of the entropy of ΔW’s singular values"),
    "numerical_rank": _number("Numerical rank", help="Singular values of ΔW above max(shape)·eps·σ₁"),
    "structural_rank": _number("Structural rank", help="The most that the pattern allows"),
    "min_k_n": _number("min(k, n)", help="The most that any pattern with k entries allows"),
    "lora_rank": _number("LoRA’s rank", format="%.2f", help="Rank of a LoRA with as many parameters"),
    "off_diagonal_share": _number("Off the diagonal", format="percent", help="Share of energy off the diagonal"),
    "noise_off_diagonal": st.column_config.TextColumn("… in noise", help="95% interval"),
    "leading_share": _number("Leading 10%", format="percent", help="Share of energy in the leading 10% of directions"),
    "noise_leading": st.column_config.TextColumn("… in noise ", help="95% interval"),
    "entries_for_90": _number("Entries for 90%", format="percent", help="Part of the entries with 90% of the energy"),
    "noise_entries_for_90": st.column_config.TextColumn("… in noise  ", help="95% interval"),
    "largest_delta_sigma": _number("Largest Δσ", format="%.3f"),
    "largest_relative_delta_sigma": _number("Largest Δσ/σ", format="percent"),
    "moved": _number("Changed place", help="Directions whose place in the order changed"),
    "turned": _number("Turned", help="Directions whose singular vectors rotated"),
    "intruders": _number("Intruders", help="Of the 10 leading new vectors, those that resemble no old one"),
}


def show_five(chosen: Opened) -> None:
    """Write five measures of the matrix, each beside the same of noise, and whether it lies inside."""
    tables, job = data.spectral_tables(chosen.adapter, chosen.matrix)
    if "summarize" in tables:
        here = tables["summarize"] | {"largest_change": abs(tables["summarize"]["largest_delta_sigma"])}
        levels = _levels(chosen)
        lines = [_line(title, here[name], levels.get(name), form) for name, (title, form) in _FIVE.items()]
        with st.container(key="five"):
            st.markdown("\n".join(["| Measure | this matrix | noise | |", "|:--|--:|--:|:--|", *lines]))
        st.caption(
            f"Noise: {what(data.matrix(chosen.adapter, chosen.matrix))}; mean and 95% interval. Each number by itself "
            "lies outside in 1 of 20 of them."
        )
        progress.await_noise([data.null(chosen.adapter, chosen.matrix)])
    if job is not None:
        progress.follow(
            job,
            "Measuring this matrix",
            key=f"matrix-{chosen.matrix}",
            restart=lambda: data.restart_matrix(chosen.adapter, chosen.matrix),
            seen=len(tables),
        )


def _levels(chosen: Opened) -> dict[str, Level]:
    """Return what noise shows of the five measures, as far as it says something and is drawn."""
    off = data.table(energy_shares, chosen.adapter, chosen.matrix).set_index("part").loc["off_diagonal"]
    levels = dict(data.spectral_null(chosen.adapter, chosen.matrix).levels)
    if off["noise_low"] < off["noise_high"]:
        levels["off_diagonal_share"] = Level(*off[["noise_share", "noise_low", "noise_high"]])
    return levels


def _line(title: str, value: float, level: Level | None, form: Callable[[float], str] | None) -> str:
    """Return a line of the table: the value, mean and interval of noise, and where the value lies."""
    form = form or (level.percent if level else percent)
    noise = f"{form(level.mean)} ({level.words(form)}) | {level.place(value)}" if level else "– | "
    return f"| {title} | **{form(value)}** | {noise} |"


def show_all(chosen: Opened) -> None:
    """Draw the sortable table of every measure of every matrix; it fills while it is computed."""
    job = data.summary_job(chosen.adapter)
    progress.repeat(lambda: _table(chosen, job), lambda: job.running)


def _table(chosen: Opened, job: Job) -> None:
    table = data.summary(chosen.adapter)
    with st.container(horizontal=True, vertical_alignment="center", key="all-head"):
        st.header("All matrices, all measures", anchor=False, width="stretch")
        figures.offer_csv(lambda: summary_table(list(job.results)), key="all", file_name="measures.csv")
    progress.show(job, "Measuring all matrices", key="summary", restart=lambda: data.restart_summary(chosen.adapter))
    st.dataframe(
        table[list(_COLUMNS)],
        column_config=_COLUMNS,
        hide_index=True,
        key="all-measures",
        alt=f"Table of measures of {len(table)} adapted matrices, one row each.",
    )
    st.caption(
        "Sort by any column to find the matrices that stand out, and read each share next to noise: an interval "
        "leaves out 1 of 20 matrices by chance."
    )
