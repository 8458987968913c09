"""Where in the model the update is large."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from analysis.figures.cells import grid, make_selectable, select_points, strongest
from analysis.figures.theme import SMALL_FONT_SIZE, Theme, axis, ink_on, new_figure, sequential_scale
from analysis.naming import KINDS


def layer_map(summary: pd.DataFrame, *, theme: Theme, selected: str | None = None) -> go.Figure:
    """Draw ‖ΔW‖/‖W‖ of every adapted matrix in per cent, layers down and kinds across.

    What to look for: layers or kinds that the fine-tuning changed most.

    Args:
        summary: The table of `analysis.summary.summarize_adapter`: ``name``, ``label``, ``kind``,
            ``relative_norm`` (NaN where it is unknown: an empty cell that can still be selected).
        theme: Light or dark.
        selected: ``name`` of the matrix to outline.

    Returns:
        A figure whose "select" points carry ``customdata = [name, label, relative_norm]``. Where matrices
        share layer and kind (decoders with cross attention), the cell shows the strongest.
    """
    places = summary["label"].str.rsplit(" · ", n=1).str[0].str.removeprefix("Layer ")
    layers = list(places.unique())
    kinds = [kind for kind in KINDS if kind in set(summary["kind"])]
    kinds += [kind for kind in summary["kind"].unique() if kind not in KINDS]
    row, col = pd.Index(layers).get_indexer(places), pd.Index(kinds).get_indexer(summary["kind"])
    norms = summary["relative_norm"].to_numpy(float)
    percent = grid(row, col, 100 * norms, (len(layers), len(kinds)))
    keep = strongest(row, col, np.nan_to_num(norms))
    largest = float(np.nanmax(percent, initial=0))
    most = summary["label"].iloc[int(np.nan_to_num(norms).argmax())]
    reading = f"the largest change is in {most} ({largest:.2g} %)" if largest else "no change is known"
    figure = new_figure(
        theme,
        alt=f"Map of ‖ΔW‖ in per cent of ‖W‖, {len(layers)} layers by {len(kinds)} kinds of matrix; {reading}.",
        caption=f"‖ΔW‖ in per cent of ‖W‖: look for layers or kinds that changed most; {reading}.",
        formula=r"\lVert \Delta W \rVert_F / \lVert W \rVert_F = \lVert M \rVert_F / \lVert \Sigma \rVert_F",
        height=max(34 * len(layers), 100) + 130,
    )
    scale = sequential_scale(theme)
    figure.add_heatmap(
        name="‖ΔW‖ / ‖W‖",
        z=percent,
        colorscale=scale,
        zmin=0,
        zmax=largest or 1.0,
        showscale=False,  # the numbers stand in the cells
        xgap=1,
        ygap=1,
        hoverinfo="skip",
    )
    shown = keep[np.isfinite(norms[keep])]
    shades = np.clip(100 * norms[shown] / (largest or 1.0), 0, 1)
    figure.add_scatter(
        name="values",
        x=col[shown],
        y=row[shown],
        mode="text",
        text=[_short(100 * norm) for norm in norms[shown]],
        textfont={
            "size": SMALL_FONT_SIZE,
            "color": [ink_on(color) for color in sample_colorscale([color for _, color in scale], shades)],
        },
        hoverinfo="skip",
        showlegend=False,
    )
    data = summary[["name", "label", "relative_norm"]].iloc[keep].values.tolist()
    hover = "%{customdata[1]}<br>‖ΔW‖/‖W‖ = %{customdata[2]:.3%}<br>%{customdata[0]}"
    figure.add_trace(select_points(col[keep], row[keep], data, hover))
    make_selectable(figure)
    figure.update_layout(
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
    for place in np.flatnonzero(summary["name"] == selected):
        figure.add_shape(
            type="rect",
            **{"x0": col[place] - 0.5, "x1": col[place] + 0.5, "y0": row[place] - 0.5, "y1": row[place] + 0.5},
            line={"color": theme.text, "width": 3},
        )
    return figure


def _short(percent: float) -> str:
    """Return a percentage in at most four characters."""
    return f"{percent:.0f}" if percent >= 9.95 else f"{percent:.1f}" if percent >= 0.995 else f"{percent:.2f}"
