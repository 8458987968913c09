"""What the weights of a base model are like, layers down and kinds across."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.figures.matrix_map import add_map, map_places
from analysis.figures.theme import Theme, new_figure, sequential_scale
from analysis.measures.weights import MEASURES, Measure

_LOGARITHMIC = ("condition",)  # its values are orders of magnitude apart


def weight_map(weights: pd.DataFrame, *, measure: str, theme: Theme, selected: str | None = None) -> go.Figure:
    """Draw one measure of every weight.

    What to look for: layers or kinds that differ from the rest, and from a Gaussian matrix of the same shape.

    Args:
        weights: The table of `analysis.measures.weights.weight_table`.
        measure: One of its `MEASURES`.
        theme: Light or dark.
        selected: ``name`` of the matrix to outline.

    Returns:
        A figure whose "select" points carry ``customdata = [name, label, value, chance]`` in words. If matrices share
        layer and kind (experts), the cell shows the one with the largest value.
    """
    places = map_places(weights)
    kind = MEASURES[measure]
    values, chance = (weights[name].to_numpy(float) for name in (measure, f"chance_{measure}"))
    # One condition number may be infinite: it is as dark as the largest that is not.
    finite = np.isfinite(values)
    most = float(values[finite].max(initial=0)) or 1.0
    shade = np.where(finite, values, most)
    shade = np.log10(np.maximum(shade, 1)) if measure in _LOGARITHMIC else shade
    in_words, chance_in_words = ([kind.words(value) for value in column] for column in (values, chance))
    low, high = int(np.argmin(values)), int(np.argmax(values))
    reading = (
        f"from {in_words[low]} ({weights['label'].iloc[low]}; a Gaussian matrix like it: {chance_in_words[low]}) "
        f"to {in_words[high]} ({weights['label'].iloc[high]}; {chance_in_words[high]})"
    )
    figure = new_figure(
        theme,
        alt=(
            f"Map of the {kind.title} of the base model's weights, {len(places.layers)} layers by "
            f"{len(places.kinds)} kinds: {reading}."
        ),
        caption=f"{kind.title}, {reading}: {kind.says}.",
        formula=kind.formula,
        height=places.height,
    )
    add_map(
        figure,
        weights,
        shade,
        places,
        name=kind.title,
        heat={"colorscale": sequential_scale(theme), "zmin": 0, "zmax": float(shade.max(initial=0)) or 1.0},
        text=[_short(value, kind) for value in values],
        hover=f"%{{customdata[1]}}<br>{kind.title}: %{{customdata[2]}}<br>Gaussian: %{{customdata[3]}}<br>"
        "%{customdata[0]}",
        customdata=[list(row) for row in zip(weights["name"], weights["label"], in_words, chance_in_words)],
        theme=theme,
        selected=selected,
    )
    return figure


def _short(value: float, measure: Measure) -> str:
    """Return a number in a few characters: 4,580 as 4.6k."""
    if np.isinf(value):
        return "∞"
    if value < 1000:
        return measure.words(value)
    return f"{value / 1000:.2g}k" if value < 9950 else f"{value / 1000:.0f}k" if value < 1e6 else f"{value:.0e}"
