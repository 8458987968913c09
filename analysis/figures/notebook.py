"""Figures in a notebook."""

from __future__ import annotations

import plotly.graph_objects as go

from analysis.figures.theme import LIGHT

WIDTH = 800  # pixels


def show(figure: go.Figure) -> None:
    """Show a figure of `analysis.figures`, made for `LIGHT`, in a cell's output, and print its caption under it.

    It gets a width, and an opaque ground: the page of a notebook may be of any colour.
    """
    go.Figure(figure).update_layout(width=WIDTH, paper_bgcolor=LIGHT.background).show()
    print(figure.layout.meta["caption"])
