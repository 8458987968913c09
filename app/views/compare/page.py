"""The same matrix of two adapters: side by side, spectra overlaid, likeness on the map, every measure."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from analysis.adapters.adapter import Adapter
from analysis.common.jobs import Job
from analysis.figures.cells import common_limit
from analysis.figures.coefficient_square import coefficient_square
from analysis.figures.coefficient_strip import coefficient_strip
from analysis.figures.comparison_map import LIKENESSES, comparison_map
from analysis.figures.two_energies import two_energies
from analysis.figures.two_spectra import two_spectra
from analysis.measures.coefficients import entries
from analysis.measures.comparison import comparison_table, counterparts, differences, overlap_words, shared
from app import data, figures, selection
from app.selection import VIEWS, Opened
from app.views import progress
from app.views.coefficients.brush import STRIPS

OFFERED = 4  # shared matrices that are offered if the selected one is not among them
_FADES = 10  # times the norm: of the smaller matrix little is to be seen
_number = st.column_config.NumberColumn


def show(chosen: Opened, other: Adapter, names: tuple[str, str]) -> None:
    """Draw the page of two adapters.

    Args:
        chosen: The selection; its adapter is the first.
        other: The second adapter.
        names: Of both, for people.
    """
    common = shared(chosen.adapter, other)
    job = data.comparison_job(chosen.adapter, other)
    with st.container(key="compare"):
        aside, stage = st.columns([5, 9], gap="medium")
    with stage:
        if chosen.matrix not in common.names:
            st.info(f"{names[1]} does not adapt this matrix. It does adapt:", icon=":material/info:")
            labels = selection.matrix_labels(chosen.adapter)
            for name in common.names[:OFFERED]:
                st.button(
                    labels[name], key=f"shared-{name}", on_click=selection.select_matrix, args=(chosen.adapter, name)
                )
        elif chosen.view == VIEWS[0]:
            _coefficients(chosen, other, names)
        else:
            _spectra(chosen, other, names)
    with aside:
        if not common.complete:
            st.caption(f":material/info: {common.sentence()}")
        progress.repeat(lambda: _map(chosen, other, job), lambda: job.running)
        if chosen.matrix in common.names:
            _differences(chosen, other, names)
    progress.repeat(lambda: _all(job, names), lambda: job.running)


def _coefficients(chosen: Opened, other: Adapter, names: tuple[str, str]) -> None:
    of = [data.matrix(adapter, matrix) for adapter, matrix in _both(chosen, other)]
    cells = [data.table(entries, adapter, matrix) for adapter, matrix in _both(chosen, other)]
    limit = common_limit(*cells)
    st.header(f"{of[0].label} · one colour scale, ±{limit:.3g}", anchor=False)
    if sentence := _fading(*(matrix.update_norm for matrix in of), names):
        st.caption(sentence)
    strips = all(matrix.pattern in STRIPS for matrix in of)
    places = (st.container(), st.container()) if strips else st.columns(2, gap="medium")
    for position, (place, matrix, table, name) in enumerate(zip(places, of, cells, names, strict=True)):
        with place:
            known = matrix.pattern_label.startswith(name)
            st.subheader(matrix.pattern_label if known else f"{name} · {matrix.pattern_label}", anchor=False)
            if matrix.inside_share < 0.9995:
                st.caption(f"{matrix.inside_share:.0%} of ‖ΔW‖² lie inside the basis; the rest is not drawn.")
            draw_M = coefficient_strip if matrix.pattern in STRIPS else coefficient_square
            figure = draw_M(table, n=matrix.m, theme=figures.theme(), limit=limit)
            figures.draw(figure, key=f"coefficients-{position}", height=None if strips else 420)
            if position == 0:
                st.caption(figure.layout.meta["caption"])
            else:
                both = pd.concat([one.assign(adapter=name) for one, name in zip(cells, names, strict=True)])
                figures.explain(figure, both, key="coefficients-both", file_name="coefficients.csv")


def _fading(first: float, second: float, names: tuple[str, str]) -> str | None:
    """Say why one of two matrices looks empty on their common scale, from their norms; None if it does not."""
    (smaller, name), (larger, other) = sorted(zip((first, second), names, strict=True))
    if not smaller or larger < _FADES * smaller:
        return None
    return f"‖ΔW‖ of {other} is {larger / smaller:.0f} times that of {name}, which fades on one scale."


def _spectra(chosen: Opened, other: Adapter, names: tuple[str, str]) -> None:
    of = [data.matrix(adapter, matrix) for adapter, matrix in _both(chosen, other)]
    look = {"names": names, "patterns": tuple(matrix.pattern for matrix in of), "theme": figures.theme()}
    tables = _tables(chosen, other)
    st.header(of[0].label, anchor=False)
    values = [found.get("update_singular_values") for found in tables]
    if all(one is not None for one in values):
        st.subheader("Singular values of the updates", anchor=False)
        figure = two_spectra(*values, **look)
        figures.draw(figure, key="two-spectra")
        table = pd.DataFrame({name: pd.Series(one) for name, one in zip(("first", "second"), values, strict=True)})
        figures.explain(figure, table, key="two-spectra", file_name="singular_values.csv")
    curves = [found.get("cumulative_energy") for found in tables]
    if all(curve is not None for curve in curves):
        st.subheader("How many directions each update needs", anchor=False)
        noises = [data.spectral_null(*one).curve for one in _both(chosen, other)]
        figure = figures.build(two_energies, *curves, *noises, **look)
        figures.draw(figure, key="two-energies")
        both = curves[0].merge(curves[1], on="directions", how="outer", suffixes=("_first", "_second"))
        figures.explain(figure, both, key="two-energies", file_name="cumulative_energy.csv")


def _tables(chosen: Opened, other: Adapter) -> list[dict]:
    return [data.spectral_tables(adapter, matrix)[0] for adapter, matrix in _both(chosen, other)]


def _both(chosen: Opened, other: Adapter) -> list[tuple[Adapter, str]]:
    """Return both adapters, each with its own name of the selected matrix."""
    return [(chosen.adapter, chosen.matrix), (other, counterparts(chosen.adapter, other)[chosen.matrix])]


def _map(chosen: Opened, other: Adapter, job: Job) -> None:
    if st.session_state.pop("rerun-page", False):  # a click within a fragment runs the fragment alone
        st.rerun()
    likeness = st.segmented_control(
        "Likeness",
        list(LIKENESSES),
        default="cosine",
        format_func=LIKENESSES.get,
        key="likeness",
        required=True,
        label_visibility="collapsed",
    )
    # Containers of their own: a figure whose place changes, as what is above it goes, can be left standing twice.
    with st.container(key="comparing"):
        progress.show(
            job, "Comparing", key="comparison", restart=lambda: data.restart_comparison(chosen.adapter, other)
        )
    with st.container(key="likeness-figure"):
        _draw_map(chosen, job, likeness)


def _draw_map(chosen: Opened, job: Job, likeness: str) -> None:
    rows = job.results
    if not rows:
        return
    table = comparison_table(rows)
    figure = comparison_map(table, theme=figures.theme(), likeness=likeness, selected=chosen.matrix)
    key = f"likeness-map-{likeness}-{chosen.matrix}"

    def clicked() -> None:
        if name := figures.clicked(key):
            selection.select_matrix(chosen.adapter, name)
            st.session_state["rerun-page"] = True

    figures.draw(figure, key=key, on_select=clicked)
    # The table of all shared matrices below has these numbers as CSV.
    st.caption(figure.layout.meta["caption"], help=f"${figure.layout.meta['formula']}$")


def _differences(chosen: Opened, other: Adapter, names: tuple[str, str]) -> None:
    tables = _tables(chosen, other)
    for position, (adapter, matrix) in enumerate(_both(chosen, other)):
        _, job = data.spectral_tables(adapter, matrix)
        if job is not None:
            progress.follow(
                job,
                f"Measuring {names[position]}",
                key=f"matrix-{position}-{matrix}",
                restart=lambda adapter=adapter, matrix=matrix: data.restart_matrix(adapter, matrix),
                seen=len(tables[position]),
            )
    progress.await_noise([data.null(*one) for one in _both(chosen, other)])
    if all("summarize" in found for found in tables):
        st.subheader("Every measure of this matrix", anchor=False)
        table = differences(*(found["summarize"] for found in tables))
        st.dataframe(
            table.assign(measure=table["measure"].map(_words)),
            column_config={
                "measure": st.column_config.TextColumn("Measure", pinned=True),
                "a": _number(names[0], format="%.6g"),
                "b": _number(names[1], format="%.6g"),
                "difference": _number("Difference", format="%+.6g"),
            },
            hide_index=True,
            key="differences",
            alt=f"Table of {len(table)} measures of this matrix in both adapters, and their differences.",
        )


def _words(measure: str) -> str:
    """Return a column's name as words: "noise_stable_rank" → "noise stable rank"."""
    return measure.replace("_", " ")


def _all(job: Job, names: tuple[str, str]) -> None:
    table = comparison_table(job.results)
    with st.container(horizontal=True, vertical_alignment="center", key="all-head"):
        st.header("All shared matrices", anchor=False, width="stretch")
        st.download_button(
            "CSV",
            lambda: table.to_csv(index=False),
            file_name="comparison.csv",
            mime="text/csv",
            icon=":material/download:",
            type="tertiary",
            on_click="ignore",
            key="csv-comparison",
        )
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
