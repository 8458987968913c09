"""The equation W = U(Σ + M)Vᵀ as a picture of its shapes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.figures.cells import bin_width, grid
from analysis.figures.theme import Theme, method_color, new_figure, set_layout

_BINS = (24, 48, 96)  # of the pattern along one side: few, so that a diagonal can be seen; more if Ω is scattered
_GAP = 0.42  # between two shapes, in units of M's side
_LONGEST = 2.5  # a side is drawn at most so many times M's


def shapes_picture(entries: pd.DataFrame, *, shape: tuple[int, int], n: int, pattern: str, theme: Theme) -> go.Figure:
    """Draw W, U, Σ, M and Vᵀ in proportion, with the pattern of trained entries in M.

    What to look for: everything grey is frozen; only the coloured cells of M are trained. Sides longer than
    2.5 times M's are drawn shorter.

    Args:
        entries: A table with ``i`` and ``j`` of the trained entries.
        shape: (out, in) of W.
        n: Number of singular directions.
        pattern: Name of the pattern, for its colour.
        theme: Light or dark.
    """
    rows, cols = shape
    tall, wide = min(rows / n, _LONGEST), min(cols / n, _LONGEST)
    color = method_color(pattern)
    share = len(entries) / (rows * cols)
    sentence = (
        "Another method trained this update; M is what of it lies between the singular vectors of W, all entries."
        if pattern == "projected"
        else f"Grey is frozen; only the {len(entries):,} coloured entries of M are trained, {share:.2%} of the "
        f"{rows * cols:,} in W."
    )
    figure = new_figure(
        theme,
        alt=(
            f"W ({rows}×{cols}) equals U ({rows}×{n}) times the sum of the diagonal Σ and the {pattern} matrix M "
            f"(both {n}×{n}) times V transposed ({n}×{cols}). {sentence}"
        ),
        caption=sentence,
        formula=r"W = U(\Sigma + M)V^\top",
        height=170,
    )
    # (symbol before it, name, width, height), from left to right.
    parts = [
        ("", "W", wide, tall, (rows, cols)),
        ("=", "U", 1.0, tall, (rows, n)),
        ("(", "Σ", 1.0, 1.0, (n, n)),
        ("+", "M", 1.0, 1.0, (n, n)),
        (")", "Vᵀ", wide, 1.0, (n, cols)),
    ]
    left = 0.0
    for symbol, name, width, height, size in parts:
        if symbol:
            figure.add_annotation(
                x=left + _GAP / 2, y=0, text=symbol, showarrow=False, font={"size": 22, "color": theme.text}
            )
            left += _GAP
        outline = {"color": color if name == "M" else theme.muted, "width": 2 if name == "M" else 1}
        fill = theme.background if name in ("M", "Σ") else theme.grid
        figure.add_shape(
            type="rect",
            **{"x0": left, "x1": left + width, "y0": -height / 2, "y1": height / 2},
            line=outline,
            fillcolor=fill,
            layer="below",
        )
        if name == "Σ":
            figure.add_shape(
                type="line",
                **{"x0": left, "x1": left + 1, "y0": 0.5, "y1": -0.5},
                line={"color": theme.muted, "width": 3},
            )
        if name == "M":
            _add_pattern(figure, entries, n, left, color)
        figure.add_annotation(
            x=left + width / 2,
            y=-height / 2,
            text=f"<b>{name}</b><br>{size[0]}<br>×{size[1]}",  # stacked: neighbours keep apart if it is narrow
            showarrow=False,
            yanchor="top",
        )
        left += width
    hidden = {"visible": False, "fixedrange": True}
    set_layout(
        figure,
        margin={"t": 4, "b": 54, "l": 4, "r": 4},
        hovermode=False,
        xaxis={"range": [-0.1, left + 0.1], **hidden},
        yaxis={"range": [-tall / 2 - 0.05, tall / 2 + 0.05], "scaleanchor": "x", **hidden},
    )
    return figure


def _add_pattern(figure: go.Figure, entries: pd.DataFrame, n: int, left: float, color: str) -> None:
    """Draw the places of the trained entries into the square of M that begins at `left`."""
    for at_most in _BINS:
        width = bin_width(n, at_most)
        bins = -(-n // width)
        i, j = entries["i"].to_numpy() // width, entries["j"].to_numpy() // width
        cells = grid(i, j, np.ones(len(entries)), (bins, bins))
        if np.isfinite(cells).mean() < 0.25:
            break
    figure.add_heatmap(
        name="Ω",
        z=cells[::-1],  # row 0 of M is at the top
        x=left + (np.arange(bins) + 0.5) / bins,
        y=(np.arange(bins) + 0.5) / bins - 0.5,
        colorscale=[(0, color), (1, color)],
        zmin=0,
        zmax=1,
        showscale=False,
        hoverinfo="skip",
    )
