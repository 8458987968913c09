"""A figure that is written down as dicts is the figure that Plotly makes of them with all its checks."""

import copy
import json
import pickle
from concurrent.futures import ThreadPoolExecutor

import plotly.graph_objects as go
import plotly.io
import pytest

from analysis.figures.plain import PlainFigure, PlainTrace
from analysis.figures.theme import LIGHT, new_figure, set_layout
from tests.analysis.figures.every_figure import FIGURES

WHERE = {"xanchor": "left", "yanchor": "top", "showarrow": False}
ANIMATED = "coefficient_film"  # frames are Plotly's own


@pytest.fixture
def figure() -> PlainFigure:
    return new_figure(LIGHT, alt="A figure.", caption="Look here.", formula="x", height=100)


def sent(figure: go.Figure) -> dict:
    return json.loads(plotly.io.to_json(figure.to_dict(), validate=False))


@pytest.mark.parametrize("name", FIGURES)
def test_what_is_sent_of_a_figure_is_what_plotly_sends_of_it_checked(name):
    plain, checked = FIGURES[name](LIGHT), FIGURES[name](LIGHT)
    _ = checked.data  # who asks for its traces makes it Plotly's own
    assert checked.plain_layout is None
    assert (plain.plain_layout is None) == name.startswith(ANIMATED)
    assert sent(plain) == sent(checked)


@pytest.mark.parametrize(
    ("method", "given"),
    [
        ("add_hline", {"y": 1, "line": {"width": 2}}),
        ("add_vline", {"x": 1, "line_width": 2, "line_dash": "dot"}),
        ("add_hrect", {"y0": 1, "y1": 2, "fillcolor": "#123456", "line_width": 0}),
        ("add_vrect", {"x0": 1, "x1": 2, "layer": "below"}),
        ("add_hline", {"y": 1, "annotation": WHERE | {"text": "here", "x": 0}}),
        ("add_vline", {"x": 1, "annotation": WHERE | {"text": "here", "y": 1, "font": {"size": 12}}}),
        ("add_hline", {"y": 1, "annotation": {"text": "Plotly says where"}}),
        ("add_vline", {"x": 1, "annotation_text": "a short form"}),
        ("add_annotation", {"x": 1, "y": 2, "text": "here", "font_color": "#123456", "font_size": 12}),
        ("add_shape", {"type": "rect", "x0": 0, "x1": 1, "y0": 0, "y1": 1, "line_color": "#123456"}),
        ("add_scatter", {"x": [1, 2], "y": [3, None], "text": None, "marker": {"size": 5, "symbol": None}}),
    ],
)
def test_each_way_to_add_something_adds_what_plotly_adds(figure, method, given):
    checked = go.Figure(figure.to_dict())
    for drawn in (figure, checked):
        drawn.add_scatter(x=[0, 3], y=[0, 3])
        getattr(drawn, method)(**copy.deepcopy(given))  # Plotly writes into what it is given
        set_layout(drawn, margin={"t": 5}, xaxis={"range": [0, 1]})
    assert sent(figure) == sent(checked)


def test_a_property_that_plotly_does_not_know_is_found_by_its_checks(figure):
    figure.add_scatter(x=[1], y=[2], colour="red")
    with pytest.raises(ValueError, match="colour"):
        figure.data  # noqa: B018


def test_once_it_is_plotly_s_own_it_goes_on_as_such(figure):
    figure.add_scatter(name="before", x=[1], y=[2])
    assert figure.layout.meta["caption"] == "Look here."
    figure.add_scatter(name="after", x=[1], y=[2])
    figure.add_hline(y=1)
    set_layout(figure, xaxis={"title": {"text": "x"}})
    assert [trace.name for trace in figure.data] == ["before", "after"]
    assert (figure.layout.shapes[0].y0, figure.layout.xaxis.title.text) == (1, "x")
    assert [trace["name"] for trace in sent(figure)["data"]] == ["before", "after"]


def test_a_copy_of_a_figure_is_the_same_figure(figure):
    figure.add_bar(x=["a", "b"], y=[1, 2])
    for drawn in (copy.deepcopy(figure), pickle.loads(pickle.dumps(figure)), go.Figure(figure)):
        assert sent(drawn) == sent(figure)


def test_what_was_sent_does_not_change_with_the_figure(figure):
    figure.add_bar(x=["a"], y=[1])
    before = figure.to_dict()
    figure.add_bar(x=["b"], y=[2])
    set_layout(figure, height=500)
    assert (len(before["data"]), before["layout"]["height"]) == (1, 100)


def test_a_trace_is_changed_by_merging():
    trace = PlainTrace(type="scatter", marker={"size": 5, "opacity": 0}, name="points")
    assert trace.update(marker={"opacity": 1}, name=None) is trace
    assert trace == {"type": "scatter", "marker": {"size": 5, "opacity": 1}, "name": None}


def test_many_may_ask_for_the_same_figure_at_once():
    for _ in range(20):
        shared = FIGURES["spectrum"](LIGHT)
        with ThreadPoolExecutor(8) as pool:
            seen = list(pool.map(lambda _, shared=shared: (len(shared.data), len(sent(shared)["data"])), range(8)))
        assert set(seen) == {(4, 4)}
