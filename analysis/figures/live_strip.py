"""M of one matrix while it is trained."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import numpy as np
import pandas as pd

from analysis.figures.cells import MAX_POINTS, MODE_TITLES, color_scale, grid
from analysis.figures.live import ZOOM, in_house_style
from analysis.figures.theme import Theme, diverging_scale

_COLUMNS = 384
_ROW = 20  # pixels


def live_strip(
    i: np.ndarray,
    j: np.ndarray,
    values: np.ndarray,
    steps: Sequence[int],
    planned: Sequence[int],
    *,
    theme: Theme,
) -> alt.Chart:
    """Draw the trained entries of M as a row of cells at each evaluation so far; it grows downward.

    Entries stand in the order of their offset j − i, and within one offset of i; neighbours share a cell if there
    are many, which shows the strongest. The colours are symmetric about zero and reach to the 99th percentile of what
    there is so far. The chart can be zoomed and moved along the entries.

    Args:
        i: Rows of the trained entries, (k,).
        j: Their columns, (k,).
        values: M at each evaluation so far, (evaluations, k).
        steps: Of these evaluations.
        planned: Steps of all evaluations that will be.
        theme: Light or dark.
    """
    values = np.asarray(values, dtype=np.float32).reshape(len(steps), len(i))
    order = np.lexsort((i, j - i))
    columns = min(_COLUMNS, len(i), MAX_POINTS // len(planned))
    col = np.arange(len(i)) * columns // len(i)
    row = np.repeat(np.arange(len(steps)), len(i))
    cells = grid(row, np.tile(col, len(steps)), values[:, order].ravel(), (len(steps), columns))
    limit = color_scale(values, signed=True, theme=theme).limit
    edges = np.arange(columns + 1) * len(i) / columns
    data = pd.DataFrame(
        {
            "step": np.repeat(np.asarray(steps, int), columns),
            "left": np.tile(edges[:-1], len(steps)),
            "right": np.tile(edges[1:], len(steps)),
            "value": cells.ravel(),
            "shade": cells.ravel().clip(-limit, limit),
        }
    )
    # Two cells without width hold the ends of the colours: the scale follows the data, the specification stays.
    ends = pd.DataFrame({"step": planned[0], "left": 0.0, "right": 0.0, "value": 0.0, "shade": [-limit, limit]})
    diagonal = not (j - i).any()
    chart = (
        alt.Chart(pd.concat([data, ends], ignore_index=True))
        .mark_rect(clip=True)
        .encode(
            x=alt.X(
                "left:Q",
                title="row i of M" if diagonal else "trained entries, by offset j − i",
                scale=alt.Scale(domain=[0, len(i)], nice=False),
                axis=alt.Axis(grid=False, tickMinStep=1, format=",d"),  # entries are counted
            ),
            x2="right:Q",
            y=alt.Y("step:O", title="step", scale=alt.Scale(domain=list(planned))),
            color=alt.Color(
                "shade:Q",
                title=MODE_TITLES["signed"],
                scale=alt.Scale(
                    range=[color for _, color in diverging_scale(theme)], nice=False, zero=False, interpolate="rgb"
                ),
                legend=alt.Legend(gradientLength=120, gradientThickness=10, tickCount=3, format="~g"),
            ),
            tooltip=[
                alt.Tooltip("step:O", title="step"),
                alt.Tooltip("left:Q", title="i" if diagonal else "from entry", format=".0f"),
                alt.Tooltip("value:Q", title=MODE_TITLES["signed"], format=".4g"),
            ],
        )
        .properties(
            name="cells",  # Altair's own name for it would differ with the data
            width="container",
            height=_ROW * len(planned),
            description="The trained entries of M at each evaluation so far, a row each.",
        )
    )
    return in_house_style(chart.interactive(name=ZOOM, bind_y=False), theme)
