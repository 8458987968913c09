"""What new singular vectors are made of."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from analysis.figures.theme import SMALL_FONT_SIZE, Theme, axis, diverging_scale, new_figure, number, set_layout

_NOTHING = 0.005  # below it, a cell has no number


def mixing(left: np.ndarray, turned: np.ndarray, *, theme: Theme) -> go.Figure:
    """Draw the cosines between the leading old left singular vectors and the new ones.

    What to look for: on the diagonal alone, every direction stays; a cell beside it is a direction mixed in.

    Args:
        left: Cosines, old vectors in rows and new ones in columns, (m, m).
        turned: Degrees by which each old vector was turned, (m,).
        theme: Light or dark.
    """
    m = len(left)
    names = [str(k + 1) for k in range(m)]
    most = int(turned.argmax())
    still = turned[most] < 0.05
    figure = new_figure(
        theme,
        alt=(
            f"Cosines between the {m} leading old left singular vectors and the new ones. "
            + ("Every vector stays." if still else f"u{most + 1} turned by {turned[most]:.0f} degrees.")
        ),
        caption=(
            "Only the diagonal is filled: every singular vector stays, and only its weight can change."
            if still
            else f"Look off the diagonal: the new vectors are mixtures of old ones; u{most + 1} turned by "
            f"{turned[most]:.0f}°."
        ),
        formula=r"\Sigma + \alpha M = P \Lambda Q^\top,\quad u_i^\top u^{\text{new}}_j = P_{ij}",
        height=300,
    )
    figure.add_heatmap(
        name="cosine",
        z=left,
        x=names,
        y=names,
        colorscale=diverging_scale(theme),
        zmin=-1,
        zmax=1,
        showscale=False,  # the numbers stand in the cells
        text=[[number(value, ".2f") if abs(value) >= _NOTHING else "" for value in row] for row in left],
        texttemplate="%{text}",
        textfont={"size": SMALL_FONT_SIZE},
        xgap=1,
        ygap=1,
        hovertemplate="old u<sub>%{y}</sub>, new u<sub>%{x}</sub>: %{z:.3f}<extra></extra>",
    )
    fixed = {"fixedrange": True, "showgrid": False, "type": "category"}
    set_layout(
        figure,
        margin={"t": 8},
        xaxis=axis(theme, "new vector", **fixed),
        yaxis=axis(theme, "old vector", autorange="reversed", **fixed),
    )
    return figure
