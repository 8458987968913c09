"""How the singular values of a base model's weight decay, beside those of chance."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.figures.cells import MAX_CELLS
from analysis.figures.theme import Theme, axis, method_color, new_figure, set_layout


def weight_decay(
    curve: pd.DataFrame, others: Mapping[str, np.ndarray] | None = None, *, label: str, theme: Theme
) -> go.Figure:
    """Draw σ over its place in the order, the weights of the same kind in other layers, and chance.

    What to look for: where σ leaves the dotted curve. Above it, on the left, is what training put into few directions.

    Args:
        curve: The table of `analysis.measures.weights.weight_curve`: ``index``, ``sigma``, ``chance``.
        others: Label -> singular values of the weights beside it, descending.
        label: Of the weight.
        theme: Light or dark.
    """
    sigma, chance = curve["sigma"].to_numpy(), curve["chance"].to_numpy()
    above = int(np.argmin(sigma > chance)) if (sigma <= chance).any() else len(sigma)
    if not sigma.any():
        reading = "all are zero"
    elif above:
        reading = (
            f"its largest is {sigma[0] / chance[0]:.1f} times that of a Gaussian matrix of the same shape and norm, "
            f"and the leading {above:,} of {len(sigma):,} lie above"
        )
    else:
        reading = "the largest does not exceed that of a Gaussian matrix of the same shape and norm"
    figure = new_figure(
        theme,
        alt=f"Singular values of {label}, descending, beside those of chance: {reading}.",
        caption=f"Singular values of {label}: {reading}.",
        formula=(
            r"f(\lambda) = \frac{\sqrt{(\lambda_+ - \lambda)(\lambda - \lambda_-)}}{2\pi\gamma\lambda},\quad "
            r"\lambda_\pm = (1 \pm \sqrt\gamma)^2,\quad \gamma = \frac{n}{\max(\text{out}, \text{in})},\quad "
            r"\sigma^2 = \lambda\,\frac{\lVert W \rVert_F^2}{n}"
        ),
        height=340,
    )
    for place, (name, values) in enumerate((others or {}).items()):
        shown = _thinned(len(values))
        figure.add_scatter(
            name="same kind, other layers",
            legendgroup="others",
            showlegend=not place,
            x=shown,
            y=values[shown],
            mode="lines",
            line={"color": theme.grid, "width": 1},
            hovertemplate=f"{name}, i = %{{x}}: σ = %{{y:.4g}}<extra></extra>",
        )
    shown = _thinned(len(sigma))
    for name, values, line in (
        ("chance: Gaussian", chance, {"color": theme.muted, "width": 2, "dash": "dot"}),
        (label, sigma, {"color": method_color("plain"), "width": 2.5}),
    ):
        figure.add_scatter(
            name=name,
            x=shown,
            y=values[shown],
            mode="lines",
            line=line,
            hovertemplate=f"{name}, i = %{{x}}: σ = %{{y:.4g}}<extra></extra>",
        )
    set_layout(
        figure,
        margin={"t": 48},
        xaxis=axis(theme, "singular direction i"),
        yaxis=axis(theme, "σ", rangemode="tozero", nticks=6),
    )
    return figure


def _thinned(n: int) -> np.ndarray:
    """Return the places that are drawn: all, or as many as a figure may have, closer where values fall fast."""
    if n <= MAX_CELLS:
        return np.arange(n)
    head = MAX_CELLS // 4
    return np.unique(np.concatenate([np.arange(head), np.linspace(head, n - 1, MAX_CELLS - head).astype(int)]))
