"""Where in the model the update is large."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.common.wording import share_text
from analysis.figures.matrix_map import add_map, map_places
from analysis.figures.theme import Theme, new_figure, sequential_scale


def layer_map(summary: pd.DataFrame, *, theme: Theme, selected: str | None = None) -> go.Figure:
    """Draw ‖ΔW‖/‖W‖ of every adapted matrix in per cent, layers down and kinds across.

    What to look for: layers or kinds that the fine-tuning changed most.

    Args:
        summary: The table of `analysis.measures.summary.summarize_adapter`: ``name``, ``label``, ``kind``,
            ``relative_norm`` (NaN if it is unknown: an empty cell that can still be selected).
        theme: Light or dark.
        selected: ``name`` of the matrix to outline.

    Returns:
        A figure whose "select" points carry ``customdata = [name, label, relative_norm]``. If matrices
        share layer and kind (decoders with cross attention), the cell shows the strongest.
    """
    places = map_places(summary)
    percent = 100 * summary["relative_norm"].to_numpy(float)
    largest = float(np.nanmax(percent, initial=0))
    most = summary["label"].iloc[int(np.nan_to_num(percent).argmax())]
    reading = (
        f"relative to its weight, {most} changed most ({share_text(largest / 100)})"
        if largest
        else "no change is known"
    )
    figure = new_figure(
        theme,
        alt=(
            f"Map of ‖ΔW‖ in per cent of ‖W‖, {len(places.layers)} layers by {len(places.kinds)} kinds of matrix; "
            f"{reading}."
        ),
        caption=f"‖ΔW‖ in per cent of ‖W‖: look for layers or kinds that changed most; {reading}.",
        formula=r"\lVert \Delta W \rVert_F / \lVert W \rVert_F = \lVert M \rVert_F / \lVert \Sigma \rVert_F",
        height=places.height,
    )
    add_map(
        figure,
        summary,
        percent,
        places,
        name="‖ΔW‖ / ‖W‖",
        heat={"colorscale": sequential_scale(theme), "zmin": 0, "zmax": largest or 1.0},
        text=[_short(number) for number in percent],
        hover="%{customdata[1]}<br>‖ΔW‖/‖W‖ = %{customdata[2]:.3%}<br>%{customdata[0]}",
        customdata=summary[["name", "label", "relative_norm"]].values.tolist(),
        theme=theme,
        selected=selected,
    )
    return figure


def _short(percent: float) -> str:
    """Return a percentage in at most four characters."""
    return f"{percent:.0f}" if percent >= 9.95 else f"{percent:.1f}" if percent >= 0.995 else f"{percent:.2f}"
