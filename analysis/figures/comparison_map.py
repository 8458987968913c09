"""Where in the model two updates are alike."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.figures.matrix_map import add_map, map_places
from analysis.figures.theme import Theme, diverging_scale, new_figure, number, sequential_scale
from analysis.measures.comparison import average

Likeness = Literal["cosine", "overlap_left", "overlap_right"]

LIKENESSES: dict[Likeness, str] = {
    "cosine": "Cosine",
    "overlap_left": "Left overlap",
    "overlap_right": "Right overlap",
}
_FORMULAS: dict[Likeness, str] = {
    "cosine": r"\langle M, M' \rangle / (\lVert M \rVert_F \lVert M' \rVert_F)",
    "overlap_left": r"\lVert P_r^\top P'_r \rVert_F^2 / r,\quad M = P \Lambda Q^\top",
    "overlap_right": r"\lVert Q_r^\top Q'_r \rVert_F^2 / r,\quad M = P \Lambda Q^\top",
}


def comparison_map(
    table: pd.DataFrame, *, theme: Theme, likeness: Likeness = "cosine", selected: str | None = None
) -> go.Figure:
    """Draw how alike two updates are in every matrix that both adapt, layers down and kinds across.

    What to look for: cells beyond what noise in place of the second update has; the caption judges their mean.

    Args:
        table: The table of `analysis.measures.comparison.compare_adapters`.
        theme: Light or dark.
        likeness: "cosine" of the updates, or the overlap of their leading left or right subspaces.
        selected: ``name`` of the matrix to outline.

    Returns:
        A figure whose "select" points carry ``customdata = [name, label, value, low, high]``.
    """
    places = map_places(table)
    values = table[likeness].to_numpy(float)
    signed = likeness == "cosine"
    if signed:
        ends = {"low": -table["chance_cosine"], "high": table["chance_cosine"]}
    else:
        ends = {end: table[f"{likeness.replace('overlap', 'chance')}_{end}"] for end in ("low", "high")}
    figure = new_figure(
        theme,
        alt=(
            f"Map of the {_noun(likeness)} of two updates, {len(places.layers)} layers by {len(places.kinds)} kinds "
            f"of matrix; {_reading(table, likeness)}."
        ),
        caption=_sentence(values, table, likeness),
        formula=_FORMULAS[likeness],
        height=places.height,
    )
    add_map(
        figure,
        table,
        values,
        places,
        name=LIKENESSES[likeness],
        heat={
            "colorscale": diverging_scale(theme) if signed else sequential_scale(theme),
            "zmin": -1 if signed else 0,
            "zmax": 1,
        },
        text=[number(value, ".2f") if signed else f"{100 * value:.0f}" for value in values],
        hover=f"%{{customdata[1]}}<br>{LIKENESSES[likeness]} = %{{customdata[2]:.3f}}<br>"
        "noise: %{customdata[3]:.3f} to %{customdata[4]:.3f}",
        customdata=table[["name", "label"]].assign(value=values, **ends).values.tolist(),
        theme=theme,
        selected=selected,
    )
    return figure


def _noun(likeness: Likeness) -> str:
    if likeness == "cosine":
        return "cosine"
    return f"overlap of the leading {likeness.removeprefix('overlap_')} subspaces"


def _reading(table: pd.DataFrame, likeness: Likeness) -> str:
    if not table[likeness].notna().any():
        return "none is defined"
    mean, noise = average(table, likeness)
    form = noise.percent if likeness != "cosine" else lambda value: number(value, ".3f")
    compared = {"inside": "as in noise", "above": "more than in noise", "below": "less than in noise"}
    return f"on average {form(mean)}, {compared[noise.place(mean)]} ({noise.words(form)})"


def _sentence(values: np.ndarray, table: pd.DataFrame, likeness: Likeness) -> str:
    what = "Cosine of the two updates"
    if likeness != "cosine":
        r = int(table["directions"].max()) if table["directions"].notna().any() else 0
        what = f"Overlap in per cent of the {r} leading {likeness.removeprefix('overlap_')} directions"
    missing = int((~np.isfinite(values)).sum())
    left_out = f"; {missing} are not defined (a zero update, or singular vectors that do not match)" if missing else ""
    return f"{what}: {_reading(table, likeness)}{left_out}."
