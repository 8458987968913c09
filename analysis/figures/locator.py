"""Where in the n×n square of M one looks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.figures.box import Box, outline
from analysis.figures.cells import bin_width, grid
from analysis.figures.theme import Theme, axis, fade, method_color, new_figure, set_layout
from analysis.measures.brush import Brush

_BINS = 96


def locator(
    entries: pd.DataFrame,
    *,
    n: int,
    pattern: str,
    theme: Theme,
    box: Box | None = None,
    brush: Brush | None = None,
) -> go.Figure:
    """Draw a small square of M: the place of the pattern, and the box of exact cells.

    What to look for: how little of M is trained, and where the enlarged cells lie.

    Args:
        entries: A table with ``i`` and ``j`` of the trained entries.
        n: Number of singular directions.
        pattern: Name of the pattern, for its colour.
        theme: Light or dark.
        box: The block shown by `exact_cells`.
        brush: A box that was drawn, to shade.
    """
    width = bin_width(n, _BINS)
    bins = -(-n // width)
    i, j = entries["i"].to_numpy(), entries["j"].to_numpy()
    share, projected = len(entries) / n**2, pattern == "projected"
    where = ""
    if box is not None:
        where = (
            f" The box spans rows {box.row_start}–{box.row_stop - 1} and columns {box.col_start}–{box.col_stop - 1}."
        )
    figure = new_figure(
        theme,
        alt=f"The {n}×{n} square of M, of which {share:.2%} {'holds an entry' if projected else 'is trained'}."
        + where,
        caption=f"M as it is, {n}×{n}: a projection has all of its entries."
        if projected
        else f"M as it is, {n}×{n}: only {len(entries):,} entries ({share:.2%}) are trained.",
        formula=r"\Omega \subset \{0, \dots, n-1\}^2",
        height=220,
    )
    color = method_color(pattern)
    figure.add_heatmap(
        name="Ω",
        z=grid(i // width, j // width, np.ones(len(entries)), (bins, bins)),
        x0=(width - 1) / 2,
        dx=width,
        y0=(width - 1) / 2,
        dy=width,
        colorscale=[(0, color), (1, color)],
        zmin=0,
        zmax=1,
        showscale=False,
        hoverinfo="skip",
    )
    ticks = {"tickvals": [0, n - 1], "showgrid": False, "fixedrange": True, "constrain": "domain"}
    set_layout(
        figure,
        margin={"t": 8},
        plot_bgcolor=theme.absent,
        hovermode=False,
        xaxis=axis(theme, "column j", range=[-0.5, n - 0.5], **ticks),
        yaxis=axis(theme, "row i", range=[n - 0.5, -0.5], scaleanchor="x", **ticks),
    )
    if brush is not None:
        shade = {"fillcolor": fade(theme.text, 0.2), "line": {"width": 0}}
        figure.add_shape(outline(brush, theme, strip=False) | shade)
    if box is not None:
        figure.add_shape(
            type="rect",
            **{"x0": box.col_start - 0.5, "x1": box.col_stop - 0.5},
            **{"y0": box.row_start - 0.5, "y1": box.row_stop - 0.5},
            line={"color": theme.text, "width": 2},
        )
    return figure
