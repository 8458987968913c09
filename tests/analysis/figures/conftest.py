"""Every figure in turn."""

from __future__ import annotations

from collections.abc import Callable

import plotly.graph_objects as go
import pytest

from analysis.figures.theme import Theme
from tests.analysis.figures.tables import FIGURES


@pytest.fixture(params=FIGURES)
def draw(request: pytest.FixtureRequest) -> Callable[[Theme], go.Figure]:
    """Return each figure in turn, as a function of the theme."""
    return FIGURES[request.param]
