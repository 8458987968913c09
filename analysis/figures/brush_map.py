"""Where in the model the same box of M holds much of the energy."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.common.wording import percent
from analysis.figures.matrix_map import add_map, map_places
from analysis.figures.theme import Theme, diverging_scale, new_figure
from analysis.measures.brush import Brush

_REACH = 2.0  # of the colours, in powers of two: from a quarter to four times the share by chance


def brush_map(table: pd.DataFrame, brush: Brush, *, theme: Theme, selected: str | None = None) -> go.Figure:
    """Draw the share of energy in the same box of every matrix in per cent, layers down and kinds across.

    What to look for: whether the box is strong everywhere, or in a few matrices; the caption judges all together. A
    cell's colour is the share over that of noise, on a logarithmic scale: what is by chance has the background's.

    Args:
        table: The table of `analysis.measures.brush.brush_table`.
        brush: The box.
        theme: Light or dark.
        selected: ``name`` of the matrix to outline.

    Returns:
        A figure whose "select" points carry ``customdata = [name, label, share, chance, low, high]``.
    """
    places = map_places(table)
    shares = 100 * table["share"].to_numpy(float)
    measured = int(np.isfinite(shares).sum())
    with np.errstate(divide="ignore", invalid="ignore"):  # a box without entries has no share, nor one by chance
        ratio = np.log2(table["share"].to_numpy(float) / table["noise_share"].to_numpy(float))
    ratio = np.clip(ratio, -_REACH, _REACH)
    reading = _reading(table, measured)
    figure = new_figure(
        theme,
        alt=f"Map of the share of energy in {brush.words} of every matrix, in per cent; {reading}.",
        caption=f"Per cent of the energy in {brush.words} of every matrix, red if more than by chance: {reading}.",
        formula=r"\sum_{(i,j) \in \mathrm{box}} M_{ij}^2 \,/\, \lVert \Delta W \rVert_F^2",
        height=places.height,
    )
    add_map(
        figure,
        table,
        ratio,
        places,
        name="share over chance",
        heat={"colorscale": diverging_scale(theme), "zmin": -_REACH, "zmax": _REACH},
        text=[f"{share:.0f}" if share >= 9.95 else f"{share:.1f}" for share in shares],
        hover="%{customdata[1]}<br>%{customdata[2]:.2%} of the energy<br>"
        "noise: %{customdata[3]:.2%} (%{customdata[4]:.2%} to %{customdata[5]:.2%})",
        customdata=table[["name", "label", "share", "noise_share", "noise_low", "noise_high"]].values.tolist(),
        theme=theme,
        selected=selected,
    )
    return figure


def _reading(table: pd.DataFrame, measured: int) -> str:
    if not measured:
        return "none is known yet"
    low, high = (percent(float(end)) for end in (table["noise_share"].min(), table["noise_share"].max()))
    chance = low if low == high else f"{low} to {high}"
    count = int(table["stands_out"].sum())
    verb = "holds" if count == 1 else "hold"
    return f"{count} of {measured} {verb} more than noise would, judged together; {chance} by chance"
