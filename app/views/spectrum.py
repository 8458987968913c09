"""The view of what M did to the singular values and vectors of W, and of the rank of the update."""

import pandas as pd
import streamlit as st

from analysis.figures.cumulative_energy import cumulative_energy
from analysis.figures.intruders import intruders
from analysis.figures.overlap import overlap
from analysis.figures.spectrum import spectrum
from analysis.measures.noise import Level, what
from analysis.measures.ranks import rank_bounds, ranks
from app import data, figures
from app.compat import fragment
from app.selection import Opened
from app.views.coefficients import brush


def show(chosen: Opened) -> None:
    """Draw σ with Δσ, overlap, intruders, cumulative energy, and the table of norms and ranks."""
    matrix = data.matrix(chosen.adapter, chosen.matrix)
    theme = figures.theme()
    look = {"pattern": matrix.pattern, "theme": theme}
    st.header(f"{matrix.label} · {matrix.pattern_label}", anchor=False)
    tables, _ = data.spectral_tables(chosen.adapter, chosen.matrix)
    null = data.spectral_null(chosen.adapter, chosen.matrix)
    levels = null.levels
    if "spectrum" in tables:
        table = tables["spectrum"]
        figure = figures.build(spectrum, table, brush=chosen.brush, **look)
        figures.draw(figure, key="spectrum", height=380)
        figures.explain(figure, table, key="spectrum", file_name="spectrum.csv")
        if chosen.brush is not None:
            brush.show_held(chosen)
    else:
        st.caption("Decomposing a large matrix: the progress bar next to this shows how far it is.")

    left, right = st.columns(2, gap="medium")
    if "subspace_overlap" in tables:
        with left:
            table = tables["subspace_overlap"]
            st.subheader("How much of the leading subspace is kept", anchor=False)
            figure = figures.build(overlap, table, **look)
            figures.draw(figure, key="overlap")
            figures.explain(figure, table, key="overlap", file_name="overlap.csv")
    if "intruders" in tables:
        with right:
            table = tables["intruders"]
            count = int(table["intruder"].sum())
            kind = "intruder" if count == 1 else "intruders"
            beside = f", {levels['intruders'].count(count, '{:.0f}'.format)}" if "intruders" in levels else ""
            st.subheader(f"{count} {kind} among {len(table)} vectors{beside}", anchor=False)
            figure = figures.build(intruders, table, **look)
            figures.draw(figure, key="intruders")
            figures.explain(figure, table, key="intruders", file_name="intruders.csv")

    left, right = st.columns(2, gap="medium")
    if "cumulative_energy" in tables:
        with left:
            table = tables["cumulative_energy"]
            bounds = data.table(rank_bounds, chosen.adapter, chosen.matrix)
            st.subheader("How many directions the update needs", anchor=False)
            figure = figures.build(
                cumulative_energy,
                table,
                null.curve,
                structural_rank=int(bounds["structural_rank"]),
                lora_rank=float(bounds["lora_rank"]),
                **look,
            )
            figures.draw(figure, key="energy")
            figures.explain(figure, table, key="energy", file_name="cumulative_energy.csv")
    if "ranks" in tables:
        with right:
            st.subheader("Norms and ranks", anchor=False)
            show_ranks(chosen, tables, levels)


@fragment
def show_ranks(chosen: Opened, tables: dict[str, pd.DataFrame], levels: dict[str, Level]) -> None:
    """Write norms and ranks of W, W+ΔW and ΔW; the tolerance of the numerical rank can be turned."""
    tolerance = st.select_slider(
        "Tolerance of the numerical rank, as a part of σ₁",
        [None, *(10.0**power for power in range(-8, 0))],
        format_func=lambda value: "that of float32" if value is None else f"{value:.0e}",
        key="tolerance",
    )
    # The job has computed the ranks at the default tolerance: only another one is worth computing here.
    chosen_ranks = (
        tables["ranks"] if tolerance is None else data.table(ranks, chosen.adapter, chosen.matrix, tolerance=tolerance)
    )
    columns = tables["norms"].merge(chosen_ranks, on="of").set_index("of")
    lines = ["| Measure | " + " | ".join(columns.index) + " |", "|:--" + "|--:" * len(columns) + "|"]
    for name, (title, form) in _RANK_ROWS.items():
        cells = [form.format(value) if pd.notna(value) else "–" for value in columns[name]]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    st.markdown("\n".join(lines))
    of = data.matrix(chosen.adapter, chosen.matrix)
    beside = [
        f"{title.lower()} {form.format(levels[name].mean)} ({levels[name].words(form.format)}): ΔW’s is "
        f"{levels[name].place(columns.at['ΔW', name])}"
        for name, (title, form) in _RANK_ROWS.items()
        if name in levels
    ]
    if beside:
        st.caption(f"Noise has {'; '.join(beside)}. It is {what(of)}; mean and 95% interval, each leaves out 1 of 20.")
    elif of.projected:
        st.caption(f"Noise, {what(of)}, has the ranks that ΔW has: there is nothing to compare.")


_RANK_ROWS = {
    "spectral": ("Spectral norm", "{:.3f}"),
    "frobenius": ("Frobenius norm", "{:.3f}"),
    "nuclear": ("Nuclear norm", "{:.1f}"),
    "stable_rank": ("Stable rank", "{:.1f}"),
    "effective_rank": ("Effective rank", "{:.1f}"),
    "numerical_rank": ("Numerical rank", "{:,}"),
}
