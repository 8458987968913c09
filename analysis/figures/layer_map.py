"""Where in the model the update is large."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from analysis.figures.theme import Theme


def layer_map(summary: pd.DataFrame, *, theme: Theme, selected: str | None = None) -> go.Figure:
    """Draw ‖ΔW‖/‖W‖ of every adapted matrix, layers down and kinds across.

    What to look for: layers or kinds that the fine-tuning changed most.

    Args:
        summary: One row a matrix: ``name``, ``label``, ``layer``, ``kind``, ``relative_norm``.
        theme: Light or dark.
        selected: ``name`` of the matrix to outline.

    Returns:
        A figure whose "select" points carry ``customdata = [name, label, relative_norm]``.
    """
    raise NotImplementedError
