"""What the update did to the singular values."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.figures.cells import bin_width
from analysis.figures.theme import Theme, add_span, axis, method_color, new_figure, number, set_layout
from analysis.measures.brush import Brush

_AXES = {"sigma": (0.56, 1.0), "delta": (0.18, 0.50), "marks": (0.0, 0.13)}  # parts of the height


def spectrum(table: pd.DataFrame, *, pattern: str, theme: Theme, brush: Brush | None = None) -> go.Figure:
    """Draw σ as a thin curve, and Δσ as bars about zero under it, paired by matched vector.

    What to look for: whether large or small singular values moved. A tick "changed place" means that the same
    vector now has another rank in the order; a tick "turned" that the vector itself rotated.

    Args:
        table: The table of `analysis.measures.spectrum.spectrum`: ``index``, ``sigma``, ``delta``, ``moved``,
            ``turned``. Beyond 512 directions neighbours share a bar, which shows the largest |Δσ|, and a
            tick, which says that at least one of them moved or turned.
        pattern: Name of the pattern, for its colour.
        theme: Light or dark.
        brush: The box whose rows and columns are shaded, darker where a direction is both.
    """
    table = table.sort_values("index")
    index, sigma, delta = (table[name].to_numpy() for name in ("index", "sigma", "delta"))
    # Below a truncated basis the order is unknown (NA).
    moved, turned = (table[name].fillna(False).to_numpy(bool) for name in ("moved", "turned"))
    largest = int(np.abs(delta).argmax())
    change = number(delta[largest], "+.3g")
    figure = new_figure(
        theme,
        alt=(
            f"Singular values of W, from {sigma.max():.3g} down to {sigma.min():.3g}, and below them their changes. "
            f"The largest change is {change} at i = {index[largest]}. {moved.sum():,} of {len(table):,} vectors "
            f"changed place, {turned.sum():,} turned."
        ),
        caption=(
            f"The largest change is {change} at i = {index[largest]} (σ = {sigma[largest]:.3g}); {moved.sum():,} of "
            f"{len(table):,} vectors changed place in the order, {turned.sum():,} turned"
            f"{'' if brush is None else '; the directions of the box are shaded'}."
        ),
        formula=r"\Sigma + M = P \Lambda Q^\top,\quad \Delta\sigma_i = \lambda_{\pi(i)} - \sigma_i",
        height=400,
    )
    figure.add_scatter(
        name="σ of W",
        x=index,
        y=sigma,
        mode="lines",
        line={"color": theme.text, "width": 1.5},
        hovertemplate="i = %{x}: σ = %{y:.4g}<extra></extra>",
    )
    width = bin_width(len(table))
    bins = pd.DataFrame({"size": np.abs(delta), "moved": moved, "turned": turned}).groupby(index // width)
    keep = bins["size"].idxmax().to_numpy()
    x = (np.unique(index // width) + 0.5) * width - 0.5
    figure.add_bar(
        name="Δσ",
        x=x,
        y=delta[keep],
        width=width,
        marker={"color": method_color(pattern), "line": {"width": 0}},
        customdata=index[keep],
        hovertemplate="i = %{customdata}: Δσ = %{y:+.4g}<extra></extra>",
        yaxis="y2",
    )
    for place, (column, title, color) in enumerate(
        (("moved", "changed place", theme.muted), ("turned", "turned", method_color(pattern)))
    ):
        ticked = x[bins[column].any().to_numpy()]
        figure.add_scatter(
            name=title,
            x=ticked,
            y=np.full(len(ticked), 1 - place),
            mode="markers",
            marker={"symbol": "line-ns", "size": 9, "line": {"width": 1, "color": color}},
            hovertemplate=f"i = %{{x}}: {title}<extra></extra>",
            yaxis="y3",
        )
    reach = 1.05 * float(np.abs(delta).max()) or 1.0
    common = {"anchor": "x", "automargin": True}
    set_layout(
        figure,
        margin={"t": 32},
        bargap=0,
        xaxis=axis(theme, "singular direction i", anchor="y3", range=[-1, len(table)], showgrid=False),
        yaxis=axis(theme, "σ", domain=_AXES["sigma"], rangemode="tozero", nticks=4, **common),
        yaxis2=axis(
            theme,
            "Δσ",
            domain=_AXES["delta"],
            range=[-reach, reach],
            nticks=4,
            **common | {"zeroline": True, "zerolinecolor": theme.muted},
        ),
        yaxis3=axis(
            theme,
            "vectors",
            domain=_AXES["marks"],
            range=[-0.6, 1.6],
            tickvals=[],
            fixedrange=True,
            **common,
        ),
    )
    if brush is not None:
        for first, last in (brush.rows, brush.columns(len(table))):
            add_span(figure, first - 0.5, last + 0.5, theme)
    return figure
