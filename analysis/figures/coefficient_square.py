"""M of a scattered pattern (random, top_k, custom), drawn so that it can be seen."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.figures.box import outline
from analysis.figures.cells import (
    MAX_POINTS,
    MODE_FORMULAS,
    MODE_TITLES,
    SQUARE_BINS,
    Mode,
    Scale,
    color_scale,
    make_selectable,
    select_points,
    shown_values,
    square_layout,
    strongest,
)
from analysis.figures.theme import Theme, axis, colorbar, new_figure, set_layout
from analysis.measures.brush import Brush

_HEIGHT = 520
_SIDE = 400  # pixels of the plot area, about
_GROUND = 40  # points along one side that answer to a box in which no entry lies: without any, Plotly is silent
_COVER = 0.3  # share of the area that the squares of few entries fill, before they overlap


def coefficient_square(
    entries: pd.DataFrame,
    *,
    n: int,
    theme: Theme,
    mode: Mode = "signed",
    limit: float | None = None,
    brush: Brush | None = None,
) -> go.Figure:
    """Draw the entries of M at their places, each as a square of at least 5 pixels.

    What to look for: rows or columns of strong colour, i.e. single directions that carry much of the update.

    Args:
        entries: The table of `analysis.measures.coefficients.entries`: ``i``, ``j``, ``value``, ``relative``.
        n: Number of singular directions.
        theme: Light or dark.
        mode: "signed" Mᵢⱼ, "magnitude" |Mᵢⱼ|, or "relative" Mᵢⱼ/√(σᵢσⱼ).
        limit: Where the colour scale ends, for figures that share one; else the 99th percentile.
        brush: The box to outline.

    Returns:
        A figure whose "select" points carry ``customdata = [i, j, value]``, value as `mode` shows it; a box
        drawn in it goes to `brush_from_square`. Up to 5,000 entries each is one square; beyond that they are
        binned and a bin shows the strongest. The axes end with the trained directions if `rank`
        restricts them.
    """
    i, j = entries["i"].to_numpy(), entries["j"].to_numpy()
    values = shown_values(entries, mode)
    scale = color_scale(values, signed=mode != "magnitude", theme=theme, limit=limit)
    side = int(max(i.max(), j.max())) + 1
    side = n if side > 0.9 * n else side
    energy = entries["value"].to_numpy() ** 2
    by_row = np.bincount(i, energy, minlength=side)
    share = by_row.max() / max(energy.sum(), 1e-300)
    binned = len(entries) > MAX_POINTS
    figure = new_figure(
        theme,
        alt=(
            f"{len(entries):,} entries of M scattered over {side} rows and {side} columns, showing "
            f"{MODE_TITLES[mode]} up to {np.abs(values).max(initial=0):.3g}. Row {by_row.argmax()} holds the most "
            f"energy, {share:.1%}."
        ),
        caption=(
            "Look for rows or columns of strong colour, single directions that carry much of the update; "
            f"the strongest row, i = {by_row.argmax()}, holds {share:.1%} of the energy"
            f"{', and each cell shows the strongest of its entries' if binned else ''}{scale.note}."
        ),
        formula=MODE_FORMULAS[mode],
        height=_HEIGHT,
        limit=scale.limit,
        clipped=scale.clipped,
    )
    hover = f"i = %{{customdata[0]}}, j = %{{customdata[1]}}<br>{MODE_TITLES[mode]} = %{{customdata[2]:.4g}}"
    if binned:
        _add_bins(figure, i, j, values, side, scale, theme, mode, hover)
    else:
        _add_squares(figure, i, j, values, side, scale, theme, mode, hover)
    make_selectable(figure)
    set_layout(
        figure,
        margin={"t": 8},
        plot_bgcolor=theme.absent,
        xaxis=axis(theme, "column j of M", range=[-0.5, side - 0.5], showgrid=False, constrain="domain", nticks=6),
        yaxis=axis(
            theme,
            "row i of M",
            range=[side - 0.5, -0.5],
            showgrid=False,
            scaleanchor="x",
            constrain="domain",
            constraintoward="top",
            nticks=6,
        ),
    )
    if brush is not None:
        figure.add_shape(outline(brush, theme, strip=False))
    return figure


def _add_squares(
    figure: go.Figure,
    i: np.ndarray,
    j: np.ndarray,
    values: np.ndarray,
    side: int,
    scale: Scale,
    theme: Theme,
    mode: Mode,
    hover: str,
) -> None:
    """Add one visible square for each entry, the strongest on top, over a ground on which a box can be drawn."""
    ground = np.linspace(0, side - 1, min(side, _GROUND))
    x, y = (part.ravel() for part in np.meshgrid(ground, ground))
    points = select_points(x, y, [], "")
    figure.add_trace(points.update(name="ground", hovertemplate=None, hoverinfo="skip"))
    order = np.argsort(np.abs(values), kind="stable")
    points = select_points(j[order], i[order], _data(i, j, values, order), hover)
    size = float(np.clip(np.sqrt(_COVER / len(i)) * _SIDE, 5, 24))
    as_drawn = {"marker": {"opacity": 1}}  # a selection elsewhere must not dim the entries
    points.update(
        marker={
            "opacity": 1,
            "size": size,
            "color": values[order],
            "colorscale": scale.colors,
            "cmin": scale.low,
            "cmax": scale.limit,
            "colorbar": colorbar(theme, MODE_TITLES[mode], above=True),
            "line": {"width": 0},
        },
        selected=as_drawn,
        unselected=as_drawn,
    )
    figure.add_trace(points)


def _add_bins(
    figure: go.Figure,
    i: np.ndarray,
    j: np.ndarray,
    values: np.ndarray,
    side: int,
    scale: Scale,
    theme: Theme,
    mode: Mode,
    hover: str,
) -> None:
    """Add a heatmap of bins, and its points that can be clicked."""
    layout = square_layout(i, j, side, SQUARE_BINS)
    figure.add_heatmap(
        name="M",
        z=layout.cells(values),
        **layout.place,
        **scale.heat(),
        colorbar=colorbar(theme, MODE_TITLES[mode], above=True),
        hoverinfo="skip",
    )
    keep = strongest(layout.row, layout.col, values)
    x, y = (layout.place["x0"] + layout.place["dx"] * part[keep] for part in (layout.col, layout.row))
    figure.add_trace(select_points(x, y, _data(i, j, values, keep), hover))


def _data(i: np.ndarray, j: np.ndarray, values: np.ndarray, keep: np.ndarray) -> list[tuple[int, int, float]]:
    """Return what the points of the entries at `keep` carry."""
    return list(zip(*(part[keep].tolist() for part in (i, j, values))))
