"""Every trained number of an adapter in one picture."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.figures.cells import (
    MAX_POINTS,
    bin_width,
    color_scale,
    grid,
    make_selectable,
    select_points,
    strongest,
)
from analysis.figures.theme import SMALL_FONT_SIZE, Theme, axis, colorbar, new_figure, set_layout

_ROW = 6  # pixels: the least height of a row, so that the pointer can meet it
_CLICKABLE_COLUMNS = 64


def coefficient_wall(
    wall: pd.DataFrame, *, signed: bool, theme: Theme, selected: str | None = None, height: int = 320
) -> go.Figure:
    """Draw all adapted matrices as the rows of one heatmap.

    What to look for: matrices (rows) and directions (columns) that moved more than the others.

    Args:
        wall: The table of `measures.overview.wall`: one row per cell, with ``name``, ``label``, ``index`` (i, the left
            singular direction) and ``value``. Matrices are drawn from top to bottom in the order in which they come.
        signed: True if each value is one coefficient (the plain pattern: Mᵢᵢ), drawn on the diverging scale. False
            if it sums up a row of M (other patterns: √Σⱼ Mᵢⱼ²), drawn from zero.
        theme: Light or dark.
        selected: ``name`` of the matrix to outline.
        height: In pixels, more if there are many matrices. If a row gets at least 13 pixels each is
            labelled, else each layer.

    Returns:
        A figure whose "select" points carry ``customdata = [name, label, i, value]`` of the strongest value
        near by. Beyond 512 directions neighbours share a column, which shows the strongest.
    """
    matrices = wall.drop_duplicates("name")[["name", "label"]].reset_index(drop=True)
    index, values = wall["index"].to_numpy(), wall["value"].to_numpy(float)
    rows, n = len(matrices), int(index.max()) + 1
    row = pd.Index(matrices["name"]).get_indexer(wall["name"])
    width = bin_width(n)
    cells = grid(row, index // width, values, (rows, -(-n // width)))
    scale = color_scale(values, signed=signed, theme=theme)

    quantity = "Mᵢᵢ" if signed else "√Σⱼ Mᵢⱼ²"
    top = matrices["label"][int(np.bincount(row, values**2).argmax())]
    caption = (
        "Look for rows (matrices) and columns (singular directions) that moved more than the others; "
        f"the largest ‖ΔW‖, as it stands, is that of {top}{scale.note}."
    )
    figure = new_figure(
        theme,
        alt=(
            f"Heatmap of {quantity} for {rows} adapted matrices (rows) and {n} singular directions (columns). "
            f"Values reach {np.abs(values).max(initial=0):.3g}; the row with the most energy is {top}."
        ),
        caption=caption,
        formula=r"M_{ii}" if signed else r"\sqrt{\sum_j M_{ij}^2}",
        height=max(height, _ROW * rows + 80),
        limit=scale.limit,
        clipped=scale.clipped,
    )
    figure.add_heatmap(
        name="M",
        z=cells,
        x0=(width - 1) / 2,
        dx=width,
        **scale.heat(),
        colorbar=colorbar(theme, quantity),
        hoverinfo="skip",
    )

    # One point per row and group of columns; it lies at the group's middle, so that its row is always the nearest.
    group = max(bin_width(n, _CLICKABLE_COLUMNS), bin_width(n, max(MAX_POINTS // rows, 1)))
    keep = strongest(row, index // group, values)
    middle = np.minimum((index[keep] // group + 0.5) * group, n) - 0.5
    who = list(zip(matrices["name"], matrices["label"]))
    where = zip(row[keep].tolist(), index[keep].tolist(), values[keep].tolist())
    data = [[*who[r], i, value] for r, i, value in where]
    hover = f"%{{customdata[1]}}<br>strongest near here: i = %{{customdata[2]}}, {quantity} = %{{customdata[3]:.4g}}"
    figure.add_trace(select_points(middle, row[keep], data, hover))
    make_selectable(figure)

    tick_rows, tick_texts, title = _row_ticks(matrices, max(height / rows - 80 / rows, _ROW))
    set_layout(
        figure,
        plot_bgcolor=theme.absent,
        xaxis=axis(theme, "singular direction i", range=[-0.5, n - 0.5], showgrid=False),
        yaxis=axis(
            theme,
            title,
            range=[rows - 0.5, -0.5],
            showgrid=False,
            tickvals=tick_rows,
            ticktext=tick_texts,
        ),
    )
    edges = np.flatnonzero(np.diff(pd.factorize(_layer_names(matrices))[0])) + 0.5
    across = {"xref": "paper", "x0": 0, "x1": 1}
    shapes = [{"type": "line", "y0": y, "y1": y, "line": {"color": theme.grid, "width": 1}, **across} for y in edges]
    shapes += [
        {"type": "rect", "y0": y - 0.5, "y1": y + 0.5, "line": {"color": theme.text, "width": 2}, **across}
        for y in matrices.index[matrices["name"] == selected]
    ]
    set_layout(figure, shapes=shapes)
    return figure


def _row_ticks(matrices: pd.DataFrame, row_height: float) -> tuple[list[float], list[str], str]:
    """Return where the rows are labelled, with what, and the axis title: each row if it fits, else layers."""
    if row_height > SMALL_FONT_SIZE:
        return list(matrices.index), list(matrices["label"]), "matrix"
    layers = _layer_names(matrices)
    middles = matrices.index.to_series().groupby(layers, sort=False).mean()
    step = int(np.ceil((SMALL_FONT_SIZE + 2) / (row_height * len(matrices) / len(middles))))
    return list(middles)[::step], list(middles.index)[::step], "layer"


def _layer_names(matrices: pd.DataFrame) -> pd.Series:
    """Return what stands before the kind in each label, "2" for "Layer 2 · value"."""
    return matrices["label"].str.rsplit(" · ", n=1).str[0].str.removeprefix("Layer ")
