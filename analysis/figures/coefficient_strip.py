"""M of a plain or banded pattern, unrolled along its diagonals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.figures.box import outline
from analysis.figures.cells import (
    MAX_POINTS,
    MODE_FORMULAS,
    MODE_TITLES,
    Mode,
    bin_width,
    color_scale,
    make_selectable,
    select_points,
    shown_values,
    strip_layout,
    strongest,
)
from analysis.figures.theme import Theme, axis, colorbar, new_figure, set_layout
from analysis.measures.brush import Brush


def coefficient_strip(
    entries: pd.DataFrame,
    *,
    n: int,
    theme: Theme,
    mode: Mode = "signed",
    limit: float | None = None,
    brush: Brush | None = None,
) -> go.Figure:
    """Draw the band of M as a strip: x is the row i, y the diagonal offset j − i.

    What to look for: runs of one colour, and whether the middle row (the diagonal) stands out.

    Args:
        entries: The table of `analysis.measures.coefficients.entries`: ``i``, ``j``, ``offset``, ``value``,
            ``relative``.
        n: Number of singular directions.
        theme: Light or dark.
        mode: "signed" Mᵢⱼ, "magnitude" |Mᵢⱼ|, or "relative" Mᵢⱼ/√(σᵢσⱼ).
        limit: Where the colour scale ends, for figures that share one; else the 99th percentile.
        brush: The box to outline.

    Returns:
        A figure whose "select" points carry ``customdata = [i, j, value]``, value as `mode` shows it; a box
        drawn in it goes to `brush_from_strip`. Beyond 512 columns (and offsets) neighbours share a cell, which
        shows the strongest. The axis ends with the trained directions if `rank` restricts them.
    """
    i, offset = entries["i"].to_numpy(), entries["offset"].to_numpy()
    values = shown_values(entries, mode)
    scale = color_scale(values, signed=mode != "magnitude", theme=theme, limit=limit)
    width, reach = int(max(i.max(), entries["j"].max())) + 1, int(np.abs(offset).max())
    layout = strip_layout(i, entries["j"].to_numpy())
    rows, columns = layout.shape

    on_diagonal = float((entries.loc[offset == 0, "value"] ** 2).sum() / max((entries["value"] ** 2).sum(), 1e-300))
    if reach:
        caption = (
            "Look for runs of one colour and for a middle row (the diagonal) that stands out; here the diagonal "
            f"is {(offset == 0).mean():.0%} of the entries and holds {on_diagonal:.0%} of the energy{scale.note}."
        )
    else:
        caption = f"Each cell is one trained number: how much one singular value was changed{scale.note}."
    figure = new_figure(
        theme,
        alt=(
            f"Strip of the {len(entries):,} trained entries of the {n}×{n} matrix M: rows i from 0 to {width - 1} "
            f"across, offsets j − i from {-reach} to {reach} down, {MODE_TITLES[mode]} up to "
            f"{np.abs(values).max(initial=0):.3g}. The diagonal holds {on_diagonal:.0%} of the energy."
        ),
        caption=caption,
        formula=MODE_FORMULAS[mode],
        height=min(120 + 20 * rows, 420) if reach else 150,
        limit=scale.limit,
        clipped=scale.clipped,
    )
    figure.add_heatmap(
        name="M",
        z=layout.cells(values),
        **layout.place,
        **scale.heat(),
        colorbar=colorbar(theme, MODE_TITLES[mode]) | {"nticks": 3},
        hoverinfo="skip",
    )
    group = layout.place["dx"] * bin_width(columns, max(MAX_POINTS // rows, 1))
    keep = strongest(layout.row, i // group, values)
    data = list(zip(*(part[keep].tolist() for part in (i, entries["j"].to_numpy(), values))))
    hover = f"i = %{{customdata[0]}}, j = %{{customdata[1]}}<br>{MODE_TITLES[mode]} = %{{customdata[2]:.4g}}"
    x = (i[keep] // group + 0.5) * group - 0.5
    y = layout.place["y0"] + layout.place["dy"] * layout.row[keep]
    ticks: dict[str, Any] = {"tickvals": list(range(-reach, reach + 1))} if reach <= 3 else {"nticks": 9}
    figure.add_trace(select_points(x, y, data, hover))
    make_selectable(figure)
    set_layout(
        figure,
        margin={"t": 8},
        plot_bgcolor=theme.absent,
        xaxis=axis(theme, "row i of M", range=[-0.5, width - 0.5], showgrid=False),
        yaxis=axis(
            theme,
            "offset j − i",
            range=[reach + 0.5, -reach - 0.5],
            showgrid=False,
            **ticks,
        ),
    )
    if brush is not None:
        figure.add_shape(outline(brush, theme, strip=True))
    return figure
