"""Every trained number of an adapter in one picture."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from analysis.figures.theme import Theme


def coefficient_wall(
    wall: pd.DataFrame, *, signed: bool, theme: Theme, selected: str | None = None, height: int = 320
) -> go.Figure:
    """Draw all adapted matrices as the rows of one heatmap.

    What to look for: matrices (rows) and directions (columns) that moved more than the others.

    Args:
        wall: One row a cell: ``name``, ``label``, ``layer``, ``index`` (i, the left singular direction) and
            ``value``. Matrices are drawn from top to bottom in the order in which they come.
        signed: True where each value is one coefficient (the plain pattern: Mᵢᵢ), drawn on the diverging scale.
            False where it sums up a row of M (other patterns: √Σⱼ Mᵢⱼ²), drawn from zero.
        theme: Light or dark.
        selected: ``name`` of the matrix to outline.
        height: In pixels. Where it gives every row at least 13 pixels each is labelled, else each layer.

    Returns:
        A figure whose "select" points carry ``customdata = [name, label, i of the largest value near by, value]``.
        Beyond 512 directions neighbours share a column, which shows the largest in magnitude.
    """
    raise NotImplementedError
