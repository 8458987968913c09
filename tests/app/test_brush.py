"""The box over M on Explore: what it says, what is linked to it, and where it stays."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from app import data, selection
from tests.app import explore_page
from tests.app.explore_page import alternatives, words
from tests.app.jobs_here import compute_nothing

pytestmark = pytest.mark.usefixtures("no_model")

BOX = "i10..50_j20..80"
BRUSH_JOB = data._brush_job


@pytest.fixture(autouse=True)
def before_anything_is_computed(monkeypatch):
    compute_nothing(monkeypatch)


def explore(**query: str) -> AppTest:
    test = explore_page.explore(**{"adapter": "BBC headlines · random", "matrix": "Layer 2 · value", **query})
    assert not test.exception
    return test


def test_a_box_has_its_share_beside_chance_and_its_cells_enlarged():
    test = explore(brush=BOX)
    assert "Rows 10–50, columns 20–80 hold **" in words(test)
    assert "by chance" in words(test)
    assert "entries of M in rows 10–50, columns 20–80" in alternatives(test)
    assert "the offsets of the box are shaded" in words(test)


def test_a_box_is_cleared():
    test = explore(brush=BOX)
    test.button(key="brush-clear").click().run()
    assert "brush" not in test.query_params
    assert "Drag a box over M" in words(test)


def test_a_box_can_be_set_by_numbers():
    test = explore()
    test.slider(key="brush-rows-384").set_value((3, 9)).run()
    test.slider(key="brush-across-j-0-383").set_value((100, 200)).run()
    assert test.query_params["brush"] == "i3..9_j100..200"
    assert "Rows 3–9, columns 100–200 hold **" in words(test)


def test_a_box_stays_with_another_matrix_and_another_view():
    test = explore(brush=BOX)
    test.selectbox(key="matrix").set_value(test.selectbox(key="matrix").options[3]).run()
    assert "Rows 10–50, columns 20–80 hold **" in words(test)
    test.button_group(key="view").set_value(selection.VIEWS[1]).run()
    assert not test.exception
    assert "the directions of the box are shaded" in words(test)


@pytest.mark.parametrize("adapter", ["random", "LoRA r=8"])
def test_the_map_shows_the_same_box_in_every_matrix(adapter, monkeypatch):
    monkeypatch.setattr(data, "_brush_job", BRUSH_JOB)
    test = explore(adapter=f"BBC headlines · {adapter}", brush=BOX)
    assert "Map of ‖ΔW‖" in alternatives(test)
    test.button_group(key="shown-on-map").set_value("In the box").run()
    for _ in range(100):  # a projection fills meanwhile
        if "of 36 hold" in alternatives(test):
            break
        test.run()
    assert "Map of the share of energy in rows 10–50, columns 20–80 of every matrix" in alternatives(test)
    assert not test.exception


def test_a_box_beyond_the_matrix_holds_nothing():
    assert "hold none of the trained entries" in words(explore(brush="i5000..5009_j0..9"))


def test_the_box_opens_in_edit():
    test = explore(brush=BOX)
    test.button(key="brush-edit").click().run()
    assert not test.exception
    assert test.query_params["view"] == selection.EDIT
    assert test.button_group(key="card").value == "Zero a box"
    assert "measure" in [button.key for button in test.button]
    assert "brush-edit" not in [
        element.key for element in explore(adapter="BBC headlines · LoRA r=8", brush=BOX).button
    ]
