"""Figures are built once for all visitors, and never for other numbers."""

import gc

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from streamlit.testing.v1 import AppTest

from analysis.figures.theme import LIGHT, new_figure
from app import figures


@pytest.fixture
def made():
    """What was built: its table and options."""
    figures._built.clear()
    yield []
    figures._built.clear()


def scatter(y, name="") -> go.Figure:
    figure = new_figure(LIGHT, alt=f"A figure of {name}.", caption="Look.", formula="y", height=100)
    figure.add_scatter(y=list(y))
    return figure


def drawn(built: figures.Built) -> list[float]:
    return built.to_dict()["data"][0]["y"]


def test_the_same_figure_of_the_same_table_is_built_once(made):
    def figure(table, *, name):
        made.append(name)
        return scatter(table["y"], name)

    table, other = pd.DataFrame({"y": [1, 2]}), pd.DataFrame({"y": [3, 4]})
    first = figures.build(figure, table, name="a")
    assert figures.build(figure, table, name="a") is first
    assert figures.build(figure, table, name="b") is not first
    assert drawn(figures.build(figure, other, name="a")) == [3, 4]
    assert made == ["a", "b", "a"]


def test_a_table_that_takes_the_place_of_another_in_memory_is_not_taken_for_it(made):
    def figure(table):
        return scatter(table["y"])

    for value in range(figures._MOST_BUILT + 50):
        table = pd.DataFrame({"y": [value]})
        assert drawn(figures.build(figure, table)) == [value]
        del table
        if value % 50 == 0:
            gc.collect()
    assert len(figures._built) == figures._MOST_BUILT


def test_words_are_read_without_plotlys_checks(made):
    figure = scatter([1.0, 2.0], "one")
    assert figures.words(figure)["alt"] == "A figure of one."
    assert figure.plain_layout is not None
    assert figures.words(go.Figure(figure))["alt"] == "A figure of one."
    built = figures.build(scatter, np.array([1.0]), name="another")
    assert figures.words(built)["alt"] == built.layout.meta["alt"] == "A figure of another."


def test_a_built_figure_reaches_the_page_as_it_is():
    def page():
        from app import figures
        from tests.app.test_figures import scatter

        figures.draw(figures.build(scatter, (1, 2), name="it"), key="it")

    test = AppTest.from_function(page).run()
    assert not test.exception
    [chart] = test.get("plotly_chart")
    assert '"y":[1,2]' in chart.proto.spec
    assert chart.proto.alt == "A figure of it."
