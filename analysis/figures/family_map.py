"""The regions of the family side by side: where each may change a weight, seen in the basis of its SVD."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go

from analysis.figures.theme import FONT_SIZE, Theme, new_figure, sequential_scale, set_layout

_COLUMNS = 5
_GAP, _TITLE = 4, 11  # cells between two squares, and above one for its two lines


def family_map(
    masks: Mapping[str, np.ndarray], *, titles: Mapping[str, tuple[str, str]], n: int, chosen: str, theme: Theme
) -> go.Figure:
    """Draw one square of M for each region, and mark the chosen one.

    What to look for: the coloured cells may change, grey ground never does. Beyond the line lie directions that W
    does not use, of which M has none.

    Args:
        masks: Region -> bool (out, in), all of one shape: `analysis.lessons.family.regions.Region.mask`.
        titles: Region -> its title in two lines.
        n: Singular directions, the side of M.
        chosen: The region to mark.
        theme: Light or dark.
    """
    rows, cols = next(iter(masks.values())).shape
    lines = -(-len(masks) // _COLUMNS)
    high, wide = rows + _TITLE + _GAP, cols + _GAP
    cells = np.full((lines * high, _COLUMNS * wide - _GAP), np.nan, dtype=np.float32)
    figure = new_figure(
        theme,
        alt=(
            f"{len(masks)} squares of {rows}×{cols} cells, one for each region; M is the leading {n}×{n}. "
            f"Marked is {_said(titles[chosen])}, {masks[chosen].mean():.0%} of the cells."
        ),
        caption=(
            f"Marked: {_said(titles[chosen])}, {masks[chosen][:n, :n].mean():.0%} of M. Cells in colour may change, "
            "the ground stays as it is"
            + ("." if rows == cols else "; beyond the line lie directions that W itself does not use.")
        ),
        formula=r"[U, U_\perp]^\top\,\Delta W\,[V, V_\perp]",
        height=330 if rows <= cols else 400,
    )
    for place, (region, mask) in enumerate(masks.items()):
        top, left = place // _COLUMNS * high + _TITLE, place % _COLUMNS * wide
        cells[top : top + rows, left : left + cols] = np.where(mask, 2.0 if region == chosen else 1.0, np.nan)
        _frame(figure, top, left, (rows, cols), n, theme, marked=region == chosen)
        figure.add_annotation(
            x=left + cols / 2 - 0.5,
            y=top - 1,
            yanchor="bottom",
            text="<br>".join(titles[region]),
            showarrow=False,
            font={"size": FONT_SIZE, "color": theme.text if region == chosen else theme.muted},
        )
    figure.add_heatmap(
        name="may change",
        z=cells,
        colorscale=[(0, theme.muted), (0.75, theme.muted), (0.75, _marked(theme)), (1, _marked(theme))],
        zmin=0,
        zmax=2,
        showscale=False,
        hoverinfo="skip",
    )
    hidden = {"visible": False, "fixedrange": True}
    set_layout(
        figure,
        margin={"t": 4, "b": 4, "l": 4, "r": 4},
        hovermode=False,
        xaxis={"range": [-1.5, cells.shape[1] + 0.5], "constrain": "domain", **hidden},
        yaxis={
            "range": [cells.shape[0] - 0.5, -0.5],
            "scaleanchor": "x",
            "constrain": "domain",
            "constraintoward": "top",
            **hidden,
        },
    )
    return figure


def _marked(theme: Theme) -> str:
    return sequential_scale(theme)[-2][1]


def _said(title: tuple[str, str]) -> str:
    return " ".join(title).replace("- ", "")


def _frame(
    figure: go.Figure, top: int, left: int, shape: tuple[int, int], n: int, theme: Theme, *, marked: bool
) -> None:
    """Draw the ground and the outline of one square, and a line around its M if that is not all."""
    rows, cols = shape
    box = {"x0": left - 0.5, "x1": left + cols - 0.5, "y0": top - 0.5, "y1": top + rows - 0.5}
    figure.add_shape(type="rect", **box, line={"width": 0}, fillcolor=theme.absent, layer="below")
    line = {"color": _marked(theme) if marked else theme.muted, "width": 2.5 if marked else 1}
    figure.add_shape(type="rect", **box, line=line)
    if rows != cols:
        box |= {"x1": left + n - 0.5, "y1": top + n - 0.5}
        figure.add_shape(type="rect", **box, line={"color": theme.text, "width": 1, "dash": "dot"})
