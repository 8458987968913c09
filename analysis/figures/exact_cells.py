"""A block of M, cell by cell."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from analysis.figures.box import Box
from analysis.figures.cells import Mode
from analysis.figures.theme import Theme


def exact_cells(
    entries: pd.DataFrame, box: Box, *, theme: Theme, mode: Mode = "signed", limit: float | None = None
) -> go.Figure:
    """Draw at most 64×64 cells of M exactly, with i, j, value, σᵢ and σⱼ on hover.

    What to look for: which directions are coupled. Cells that are not in Ω stay empty, so that a trained entry
    that is zero (the page's background colour) looks different from one that was never trained.

    Args:
        entries: The table of `analysis.coefficients.entries`: ``i``, ``j``, ``value``, ``relative``, ``sigma_i``,
            ``sigma_j``.
        box: The block to draw.
        theme: Light or dark.
        mode: "signed" Mᵢⱼ, "magnitude" |Mᵢⱼ|, or "relative" Mᵢⱼ/√(σᵢσⱼ).
        limit: End of the colour scale; without it that of the whole matrix (its 99th percentile), so that the
            colours equal those of the strip or square beside it.
    """
    raise NotImplementedError
