"""M of two adapters: both pictures, on one colour scale or each on its own, and where the energy of both lies."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from analysis.figures.cells import common_limit
from analysis.figures.coefficient_square import coefficient_square
from analysis.figures.coefficient_strip import coefficient_strip
from analysis.figures.two_profiles import two_profiles
from analysis.measures.brush import both_hold, brushed
from analysis.measures.coefficients import energy_profile, entries
from app import data, figures
from app.views.coefficients.brush import STRIPS
from app.views.compare.pair import Pair

COMMON, OWN = "One colour scale", "Own scales"
_FADES = 10  # times the largest entry: of the smaller matrix little is to be seen


def show(pair: Pair) -> None:
    """Draw M of both."""
    cells = [data.table(entries, *side) for side in pair.both]
    largest = tuple(float(np.abs(table["value"].to_numpy()).max(initial=0)) for table in cells)
    fades = max(largest) >= _FADES * min(largest) > 0
    scale = st.segmented_control(
        "Colour scale",
        [COMMON, OWN],
        default=OWN if fades else COMMON,
        key=f"scale-{'own' if fades else 'common'}",
        required=True,
        label_visibility="collapsed",
    )
    limit = common_limit(*cells) if scale == COMMON else None
    st.caption(scale_sentence(largest, pair.names, common=scale == COMMON))
    if pair.brush is not None:
        held = tuple(data.table(brushed, *side, brush=pair.brush) for side in pair.both)
        st.caption(both_hold(pair.brush, held, pair.names))
    strips = [matrix.pattern in STRIPS for matrix in pair.matrices]
    places = st.columns(2, gap="medium") if not any(strips) else (st.container(), st.container())
    for position, (place, matrix, table, name) in enumerate(
        zip(places, pair.matrices, cells, pair.names, strict=True)
    ):
        with place:
            named = matrix.pattern_label.startswith(name)
            st.subheader(matrix.pattern_label if named else f"{name} · {matrix.pattern_label}", anchor=False)
            draw_M = coefficient_strip if strips[position] else coefficient_square
            figure = figures.build(draw_M, table, n=matrix.m, theme=figures.theme(), limit=limit, brush=pair.brush)
            figures.draw(figure, key=f"coefficients-{position}", height=None if strips[position] else 420)
            if matrix.inside_share < 0.9995:
                st.caption(f"{matrix.inside_share:.0%} of ‖ΔW‖² lie inside the basis; the rest is not drawn.")
            if position == 0:
                st.caption(figures.words(figure)["caption"])
            else:
                both = pd.concat([side.assign(adapter=name) for side, name in zip(cells, pair.names, strict=True)])
                figures.explain(figure, both, key="coefficients-both", file_name="coefficients.csv")


def scale_sentence(largest: tuple[float, float], names: tuple[str, str], *, common: bool) -> str:
    """Compare the largest entries of two matrices, and say what fades on one colour scale.

    Args:
        largest: The largest |Mᵢⱼ| of each.
        names: Of the adapters.
        common: Whether both have one colour scale.
    """
    sentence = f"The largest |Mᵢⱼ| is {largest[0]:.3g} in {names[0]} and {largest[1]:.3g} in {names[1]}"
    (small, name), (large, _) = sorted(zip(largest, names, strict=True))
    if not small or large < _FADES * small:
        return f"{sentence}."
    times = f"{large / small:.0f} times as much" if name == names[0] else f"{large / small:.0f} times less"
    if common:
        return f"{sentence}, {times}: on one scale {name} fades."
    return f"{sentence}, {times}: the same colour is not the same number."


def show_profiles(pair: Pair) -> None:
    """Draw where the energy of both lies, on the same axes whatever their kinds."""
    tables = [data.table(energy_profile, *side) for side in pair.both]
    figure = figures.build(two_profiles, *tables, **pair.look)
    figures.draw(figure, key="two-profiles")
    both = pd.concat([table.assign(adapter=name) for table, name in zip(tables, pair.names, strict=True)])
    figures.explain(figure, both, key="two-profiles", file_name="energy_profiles.csv")
