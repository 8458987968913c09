"""Where the energy of two updates lies, whatever their kinds: by left and right direction, and near the diagonal."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.figures.theme import Theme, axis, method_color, new_figure, set_layout
from analysis.figures.two_spectra import DASHES

_PANELS = {"left": (0.74, 1.0), "right": (0.38, 0.64), "distance": (0.0, 0.27)}  # parts of the height
_TITLES = {"left": "left direction i", "right": "right direction j", "distance": "distance d from the diagonal"}


def two_profiles(
    first: pd.DataFrame, second: pd.DataFrame, *, names: tuple[str, str], patterns: tuple[str, str], theme: Theme
) -> go.Figure:
    """Draw the share of ‖M‖² by row, by column and within a distance from the diagonal, for two adapters.

    What to look for: whether both rise in the same directions; thin dots are noise, and a diamond marks directions
    that stand out from it.

    Args:
        first: The table of `analysis.measures.coefficients.energy_profile` of the first.
        second: That of the second.
        names: Of the adapters; the second is dashed.
        patterns: Names of their patterns, for their colours.
        theme: Light or dark.
    """
    reading = _reading((first, second), names)
    figure = new_figure(
        theme,
        alt=f"Three panels of the share of energy of M in {names[0]} and in {names[1]}: by left direction i, by right "
        f"direction j, and within a distance from the diagonal. {reading}.",
        caption=f"Each update’s own ‖M‖², thin dots noise. {reading}.",
        formula=r"\sum_{j} M_{ij}^2 / \lVert M \rVert_F^2,\quad \sum_{i} M_{ij}^2 / \lVert M \rVert_F^2,\quad "
        r"\sum_{|j - i| \le d} M_{ij}^2 / \lVert M \rVert_F^2",
        height=520,
    )
    for number, side in enumerate(_PANELS, start=1):
        on = {"xaxis": f"x{number}", "yaxis": f"y{number}"}
        shape = "linear" if side == "distance" else "hvh"
        for table, name, pattern, dash in zip((first, second), names, patterns, DASHES, strict=True):
            part = table[table["side"] == side]
            x = part["at"] + (side == "distance")  # from 0 on a logarithmic axis: of d + 1
            color = method_color(pattern)
            figure.add_scatter(
                name=f"noise like {name}",
                x=x,
                y=part["noise_share"],
                mode="lines",
                line={"color": color, "width": 1, "dash": "dot", "shape": shape},
                hoverinfo="skip",
                showlegend=False,
                **on,
            )
            figure.add_scatter(
                name=name,
                x=x,
                y=part["share"],
                mode="lines",
                line={"color": color, "width": 2, "dash": dash, "shape": shape},
                customdata=part[["noise_share", "at"]].to_numpy(),
                showlegend=number == 1,
                legendgroup=name,
                hovertemplate=f"{name}<br>{_TITLES[side]} = %{{customdata[1]:.0f}}: %{{y:.2%}} of the energy<br>"
                "noise: %{customdata[0]:.2%}<extra></extra>",
                **on,
            )
            marked = part[part["stands_out"]]
            figure.add_scatter(
                name=f"{name} stands out",
                x=marked["at"],
                y=marked["share"],
                mode="markers",
                marker={"symbol": "diamond", "size": 8, "color": color, "line": {"width": 1, "color": theme.text}},
                hoverinfo="skip",
                showlegend=False,
                **on,
            )
    last = max(float(table["at"].max()) for table in (first, second))
    sides = pd.concat([first, second])
    top = 1.08 * float(sides.loc[sides["side"] != "distance", ["share", "noise_share"]].to_numpy().max() or 1.0)
    layout = {}
    for number, (side, domain) in enumerate(_PANELS.items(), start=1):
        within = side == "distance"
        near = [d for d in (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000) if d <= last]
        across = (
            {
                "type": "log",
                "range": [-0.02, np.log10(last + 1.01)],
                "tickvals": [d + 1 for d in near],
                "ticktext": near,
            }
            if within
            else {"range": [0, 1.01 * max(last, 1)]}
        )
        layout[f"xaxis{number}"] = axis(theme, _TITLES[side], anchor=f"y{number}", **across)
        layout[f"yaxis{number}"] = axis(
            theme,
            "share within d" if within else "share",
            anchor=f"x{number}",
            domain=domain,
            tickformat=".0%",
            range=[0, 1.05 if within else top],
            nticks=4,
        )
    set_layout(figure, margin={"t": 36}, **layout)
    return figure


def _reading(tables: tuple[pd.DataFrame, pd.DataFrame], names: tuple[str, str]) -> str:
    """Say how many directions stand out from noise in each."""
    counts = [
        f"{int(table['stands_out'].sum())} of {int((table['side'] != 'distance').sum())} in {name}"
        for table, name in zip(tables, names, strict=True)
    ]
    return f"Groups of directions that stand out from noise (diamonds, all judged together): {' and '.join(counts)}"
