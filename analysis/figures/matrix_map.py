"""The ground of every map of an adapter: layers down, kinds across, one number per cell, each cell clickable."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from analysis.figures.cells import grid, make_selectable, select_points, strongest
from analysis.figures.theme import SMALL_FONT_SIZE, Theme, axis, ink_on, set_layout
from analysis.models.naming import KINDS

_ROW = 34  # pixels


class Places(NamedTuple):
    """Which cell of the map each matrix has.

    Attributes:
        row, col: Of each matrix, (matrices,).
        layers, kinds: What rows and columns stand for.
    """

    row: np.ndarray
    col: np.ndarray
    layers: list[str]
    kinds: list[str]

    @property
    def height(self) -> int:
        """The figure's height in pixels."""
        return max(_ROW * len(self.layers), 100) + 130


def map_places(table: pd.DataFrame) -> Places:
    """Return the cells of a table with ``label`` and ``kind``."""
    places = table["label"].str.split(" · ", n=1).str[0].str.removeprefix("Layer ")
    layers = list(places.unique())
    kinds = [kind for kind in KINDS if kind in set(table["kind"])]
    kinds += [kind for kind in table["kind"].unique() if kind not in KINDS]
    return Places(pd.Index(layers).get_indexer(places), pd.Index(kinds).get_indexer(table["kind"]), layers, kinds)


def add_map(
    figure: go.Figure,
    table: pd.DataFrame,
    values: np.ndarray,
    places: Places,
    *,
    name: str,
    heat: dict,
    text: list[str],
    hover: str,
    customdata: list[list],
    theme: Theme,
    selected: str | None,
) -> None:
    """Add the cells, their numbers, their "select" points and the outline of the selected one to `figure`.

    Args:
        figure: From `new_figure`.
        table: One row per matrix: ``name``.
        values: The number of each, (matrices,); NaN leaves a cell empty that can still be selected.
        places: From `map_places`.
        name: Of the heatmap.
        heat: ``colorscale``, ``zmin`` and ``zmax``.
        text: What stands in each cell.
        hover: Template over `customdata`.
        customdata: ``[name, label, …]`` of each matrix.
        theme: Light or dark.
        selected: ``name`` of the matrix to outline.
    """
    row, col, layers, kinds = places
    keep = strongest(row, col, np.nan_to_num(values))
    figure.add_heatmap(
        name=name,
        z=grid(row, col, values, (len(layers), len(kinds))),
        **heat,
        showscale=False,  # the numbers stand in the cells
        xgap=1,
        ygap=1,
        hoverinfo="skip",
    )
    shown = keep[np.isfinite(values[keep])]
    shades = np.clip((values[shown] - heat["zmin"]) / (heat["zmax"] - heat["zmin"]), 0, 1)
    colors = sample_colorscale([color for _, color in heat["colorscale"]], shades) if len(shown) else []
    figure.add_scatter(
        name="values",
        x=col[shown],
        y=row[shown],
        mode="text",
        text=[text[place] for place in shown],
        textfont={"size": SMALL_FONT_SIZE, "color": [ink_on(color) for color in colors]},
        hoverinfo="skip",
        showlegend=False,
    )
    figure.add_trace(select_points(col[keep], row[keep], [customdata[place] for place in keep], hover))
    make_selectable(figure)
    set_layout(
        figure,
        margin={"t": 8},
        plot_bgcolor=theme.absent,
        xaxis=axis(
            theme,
            "kind of matrix",
            tickvals=list(range(len(kinds))),
            ticktext=kinds,
            tickangle=-60,
            showgrid=False,
            fixedrange=True,
            range=[-0.5, len(kinds) - 0.5],
        ),
        yaxis=axis(
            theme,
            "layer",
            tickvals=list(range(len(layers))),
            ticktext=layers,
            showgrid=False,
            fixedrange=True,
            range=[len(layers) - 0.5, -0.5],
        ),
    )
    for place in np.flatnonzero(table["name"] == selected):
        figure.add_shape(
            type="rect",
            **{"x0": col[place] - 0.5, "x1": col[place] + 0.5, "y0": row[place] - 0.5, "y1": row[place] + 0.5},
            line={"color": theme.text, "width": 3},
        )
