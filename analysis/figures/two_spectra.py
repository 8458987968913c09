"""The singular values of two updates of one weight, overlaid."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from analysis.figures.cells import MAX_CELLS
from analysis.figures.theme import Theme, axis, method_color, new_figure, set_layout

DASHES = ("solid", "dash")  # of the first and the second adapter
_FLOOR = 1e-6  # of the largest value: smaller ones are left out of a logarithmic axis


def two_spectra(
    first: np.ndarray, second: np.ndarray, *, names: tuple[str, str], patterns: tuple[str, str], theme: Theme
) -> go.Figure:
    """Draw the singular values of ΔW of two adapters, on a logarithmic axis.

    What to look for: how large each update is, and how quickly its values fall.

    Args:
        first: Singular values of the first update, descending: (m,).
        second: Those of the second.
        names: Of the adapters; the second is dashed.
        patterns: Names of their patterns, for their colours.
        theme: Light or dark.
    """
    largest = [float(values.max(initial=0)) for values in (first, second)]
    if all(largest):
        times = max(largest) / min(largest)
        more, less = names if largest[0] >= largest[1] else names[::-1]
        reading = f"the largest value of {more} is {times:.2g} times that of {less}"
    else:
        reading = "an update is zero"
    figure = new_figure(
        theme,
        alt=f"Singular values of the update in {names[0]} and in {names[1]}; {reading}.",
        caption=f"Compare how large each update is and how quickly its values fall: {reading}.",
        formula=r"\sigma_l(\Delta W) = \sigma_l(M)",
        height=300,
    )
    floor = _FLOOR * max(*largest, 1e-300)
    for name, pattern, values, dash in zip(names, patterns, (first, second), DASHES, strict=True):
        place = np.unique(np.linspace(0, len(values) - 1, min(len(values), MAX_CELLS)).astype(int))
        place = place[values[place] > floor]
        figure.add_scatter(
            name=name,
            x=place + 1,
            y=values[place],
            mode="lines" if len(place) > 1 else "markers",
            line={"color": method_color(pattern), "width": 2.5, "dash": dash},
            marker={"color": method_color(pattern)},
            hovertemplate=f"{name}<br>value %{{x}}: %{{y:.3g}}<extra></extra>",
        )
    set_layout(
        figure,
        margin={"t": 56},
        xaxis=axis(theme, "singular direction of ΔW", range=[0, 1.02 * max(len(first), len(second))]),
        yaxis=axis(theme, "singular value", type="log", exponentformat="power", nticks=6),
    )
    return figure
