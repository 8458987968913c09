"""One update that a method of the family can make, in the basis of the SVD of W."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from analysis.figures.cells import color_scale
from analysis.figures.theme import Theme, axis, new_figure, set_layout


def family_update(coefficients: np.ndarray, *, n: int, title: str, theme: Theme) -> go.Figure:
    """Draw the coefficients of an update whose parameters were drawn at random.

    What to look for: which entries differ from zero, and whether they look drawn one by one or follow each other.

    Args:
        coefficients: [U, U⊥]ᵀ ΔW [V, V⊥], (out, in).
        n: Singular directions, the side of M.
        title: Of the method.
        theme: Light or dark.
    """
    rows, cols = coefficients.shape
    values = np.linalg.svd(coefficients, compute_uv=False)
    rank = int((values > 1e-10 * max(values[0], 1e-300)).sum())
    scale = color_scale(coefficients[coefficients != 0], signed=True, theme=theme)
    sentence = (
        f"One ΔW of {title}, its numbers drawn at random: {np.count_nonzero(np.abs(coefficients) > 1e-12):,} of "
        f"{rows * cols:,} entries move, rank {rank}."
    )
    figure = new_figure(
        theme,
        alt=f"Heatmap of an update of {rows}×{cols} in the basis of W. {sentence}",
        caption=sentence,
        formula=r"[U, U_\perp]^\top\,\Delta W\,[V, V_\perp]",
        height=280,
    )
    figure.add_heatmap(
        name="ΔW",
        z=np.where(np.abs(coefficients) > 1e-12, coefficients, np.nan),
        **scale.heat(),
        showscale=False,
        hovertemplate="i = %{y}, j = %{x}: %{z:.3f}<extra></extra>",
    )
    if rows != cols:
        edge = {"x0": -0.5, "x1": n - 0.5, "y0": -0.5, "y1": n - 0.5}
        figure.add_shape(type="rect", **edge, line={"color": theme.text, "width": 1, "dash": "dot"})
    fixed = {"fixedrange": True, "showgrid": False, "constrain": "domain", "nticks": 4}
    set_layout(
        figure,
        margin={"t": 8},
        plot_bgcolor=theme.absent,
        xaxis=axis(theme, "right vector j", range=[-0.5, cols - 0.5], **fixed),
        yaxis=axis(theme, "left vector i", range=[rows - 0.5, -0.5], scaleanchor="x", **fixed),
    )
    return figure
