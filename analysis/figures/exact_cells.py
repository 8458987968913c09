"""A block of M, cell by cell."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.figures.box import Box
from analysis.figures.cells import MODE_FORMULAS, MODE_TITLES, Mode, color_scale, grid, shown_values
from analysis.figures.theme import Theme, axis, colorbar, new_figure, set_layout


def exact_cells(entries: pd.DataFrame, box: Box, *, theme: Theme, mode: Mode = "signed") -> go.Figure:
    """Draw at most 64×64 cells of M exactly, with i, j, value, σᵢ and σⱼ on hover.

    What to look for: which directions are coupled. Cells that are not in Ω stay empty, so that a trained entry
    that is zero (the page's background colour) looks different from one that was never trained.

    Args:
        entries: The table of `analysis.measures.coefficients.entries` of the whole matrix, which sets the colours:
            ``i``, ``j``, ``value``, ``relative``, ``sigma_i``, ``sigma_j``.
        box: The block to draw.
        theme: Light or dark.
        mode: "signed" Mᵢⱼ, "magnitude" |Mᵢⱼ|, or "relative" Mᵢⱼ/√(σᵢσⱼ).
    """
    # The scale is that of the whole matrix, so that colours equal those of the strip or square beside it.
    scale = color_scale(shown_values(entries, mode), signed=mode != "magnitude", theme=theme)
    rows, cols = box.row_stop - box.row_start, box.col_stop - box.col_start
    inside = entries[
        entries["i"].between(box.row_start, box.row_stop - 1) & entries["j"].between(box.col_start, box.col_stop - 1)
    ]
    row, col = (inside["i"] - box.row_start).to_numpy(), (inside["j"] - box.col_start).to_numpy()
    details = np.full((rows, cols, 3), np.nan, dtype=np.float32)
    details[row, col] = inside[["value", "sigma_i", "sigma_j"]].to_numpy(np.float32)
    place = f"rows {box.row_start}–{box.row_stop - 1}, columns {box.col_start}–{box.col_stop - 1}"
    figure = new_figure(
        theme,
        alt=f"{len(inside):,} entries of M in {place}, of {rows * cols:,} cells, showing {MODE_TITLES[mode]}.",
        caption="Row i couples left vector uᵢ with right vector vⱼ"
        + (
            "."
            if len(inside) == rows * cols
            else f": {len(inside):,} of these {rows * cols:,} cells are trained, and the grey ones are not in Ω."
        ),
        formula=MODE_FORMULAS[mode],
        height=480,
        limit=scale.limit,
        clipped=scale.clipped,
    )
    figure.add_heatmap(
        name="M",
        z=grid(row, col, shown_values(inside, mode), (rows, cols)),
        x0=box.col_start,
        y0=box.row_start,
        **scale.heat(),
        colorbar=colorbar(theme, MODE_TITLES[mode], above=True),
        xgap=1,
        ygap=1,
        hoverongaps=False,
        customdata=details,
        hovertemplate=(
            "i = %{y}, j = %{x}<br>Mᵢⱼ = %{customdata[0]:.5g}<br>"
            "σᵢ = %{customdata[1]:.4g}, σⱼ = %{customdata[2]:.4g}<extra></extra>"
        ),
    )
    set_layout(
        figure,
        margin={"t": 8},
        plot_bgcolor=theme.absent,
        xaxis=axis(
            theme,
            "column j of M",
            range=[box.col_start - 0.5, box.col_stop - 0.5],
            showgrid=False,
            constrain="domain",
            nticks=6,
        ),
        yaxis=axis(
            theme,
            "row i of M",
            range=[box.row_stop - 0.5, box.row_start - 0.5],
            showgrid=False,
            scaleanchor="x",
            constrain="domain",
            constraintoward="top",
            nticks=6,
        ),
    )
    # Plotly sets the title at the bottom of the undistorted square: keep it clear of the tick labels.
    set_layout(figure, xaxis={"title": {"standoff": 24}})
    return figure
