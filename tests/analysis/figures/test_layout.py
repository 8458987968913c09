"""Layouts are changed the quick way, with the outcome of Plotly's own."""

from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
import pytest

from analysis import figures
from analysis.figures.overlap import overlap
from analysis.figures.theme import LIGHT, axis, new_figure, set_layout

PARTS = {
    "a value": {"height": 300},
    "part of a dict": {"legend": {"y": 1.2, "font": {"color": "#123456"}}},
    "an axis": {"xaxis": axis(LIGHT, "step", range=[0, 1])},
    "another axis": {"xaxis2": {"matches": "x"}, "yaxis2": {"domain": [0, 0.5]}},
    "a list": {"shapes": [{"type": "line", "x0": 0, "x1": 1, "y0": 0, "y1": 1}]},
    "nothing": {"dragmode": None},
}


def figure() -> go.Figure:
    return new_figure(LIGHT, alt="A figure.", caption="Look.", formula="x", height=200)


@pytest.mark.parametrize("parts", PARTS.values(), ids=PARTS)
def test_a_layout_is_changed_as_plotly_would(parts):
    ours, plotlys = figure(), figure()
    set_layout(ours, **parts)
    plotlys.update_layout(**parts)
    assert ours.to_plotly_json() == plotlys.to_plotly_json()


def test_an_unknown_part_is_refused():
    set_layout(changed := figure(), nonsense=1)
    with pytest.raises(ValueError, match="nonsense"):
        changed.data  # noqa: B018  # Plotly's checks come with the first question to it


def test_no_figure_waits_for_plotlys_update():
    sources = {path.name: path.read_text(encoding="utf-8") for path in Path(figures.__path__[0]).glob("*.py")}
    slow = [name for name, source in sources.items() if ".update_layout(" in source and name != "notebook.py"]
    assert not slow, "eight milliseconds a call: use analysis.figures.theme.set_layout"


def test_a_plain_matrix_is_said_to_turn_nothing():
    table = pd.DataFrame({"r": [1, 2], "overlap_left": [0.0, 1.0], "overlap_right": [0.0, 1.0], "chance": [0.1, 0.2]})
    drawn = {pattern: overlap(table, pattern=pattern, theme=LIGHT) for pattern in ("plain", "banded")}
    shown = {pattern: figure.layout.meta["caption"] for pattern, figure in drawn.items()}
    assert "turns no vector" in shown["plain"]
    assert "turns no vector" not in shown["banded"]
