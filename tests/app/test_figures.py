"""Figures are built once for all visitors, and never for other numbers."""

import gc

import pandas as pd
import plotly.graph_objects as go
import pytest

from app import figures


@pytest.fixture
def made():
    """What was built: its table and options."""
    figures._built.clear()
    yield []
    figures._built.clear()


def test_the_same_figure_of_the_same_table_is_built_once(made):
    def figure(table, *, name):
        made.append(name)
        return go.Figure(go.Scatter(y=table["y"]))

    table, other = pd.DataFrame({"y": [1, 2]}), pd.DataFrame({"y": [3, 4]})
    first = figures.build(figure, table, name="a")
    assert figures.build(figure, table, name="a") is first
    assert figures.build(figure, table, name="b") is not first
    assert list(figures.build(figure, other, name="a").data[0].y) == [3, 4]
    assert made == ["a", "b", "a"]


def test_a_table_that_takes_the_place_of_another_in_memory_is_not_taken_for_it(made):
    def figure(table):
        return go.Figure(go.Scatter(y=table["y"]))

    for value in range(figures._MOST_BUILT + 50):
        table = pd.DataFrame({"y": [value]})
        assert figures.build(figure, table).data[0].y[0] == value
        del table
        if value % 50 == 0:
            gc.collect()
    assert len(figures._built) == figures._MOST_BUILT
