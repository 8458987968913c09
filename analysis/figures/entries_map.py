"""Where in the model a budget goes that is chosen from data."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from analysis.figures.matrix_map import add_map, map_places
from analysis.figures.theme import Theme, new_figure, sequential_scale


def entries_map(table: pd.DataFrame, *, theme: Theme) -> go.Figure:
    """Draw the number of entries of each matrix, layers down and kinds across.

    What to look for: cells far from the even share that a budget in proportion to n would give.

    Args:
        table: One row per matrix: ``name``, ``label``, ``kind``, ``entries``, and ``proportional``, what a budget
            spread in proportion to n gives it.
        theme: Light or dark.
    """
    places, entries = map_places(table), table["entries"].to_numpy(float)
    total = int(entries.sum())
    most = table.loc[table["entries"].idxmax()]
    empty = int((entries == 0).sum())
    without = f"; {empty} of {len(table)} matrices get none" if empty else ""
    reading = f"{most['label']} gets {int(most['entries']):,}, an even spread gives it {int(most['proportional']):,}"
    figure = new_figure(
        theme,
        alt=f"Map of {total:,} entries of M over {len(table)} matrices. {reading}{without}.",
        caption=f"Look for matrices that get far more than others: {reading}{without}.",
        formula=r"k_l = |\Omega_l|,\quad \sum_l k_l = k",
        height=places.height,
    )
    add_map(
        figure,
        table,
        entries,
        places,
        name="entries",
        heat={"colorscale": sequential_scale(theme), "zmin": 0, "zmax": max(1.0, float(entries.max()))},
        text=[f"{int(count):,}" for count in entries],
        hover="%{customdata[1]}<br>%{customdata[2]:,} entries, an even spread gives %{customdata[3]:,}",
        customdata=table[["name", "label", "entries", "proportional"]].values.tolist(),
        theme=theme,
        selected=None,
    )
    return figure
