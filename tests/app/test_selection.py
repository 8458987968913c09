"""The selection: a link that was ever made opens the same, and every page's link carries it."""

from dataclasses import FrozenInstanceError, fields
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
from streamlit.testing.v1 import AppTest

from app.selection import EDIT, VIEWS, Selection, short_name

MAIN = Path(__file__).parents[2] / "app" / "entry.py"
EVERYTHING = Selection(
    adapter="runs/mine & yours",
    vs="BBC headlines · full",
    matrix="Layer 2 · value",
    view=EDIT,
    brush="i10..50_o-2..1",
    tab="Budgets",
    study="b5937147e2dc",
    plan="eJyrVkrM",
    chapter=3,
    teacher=True,
    class_code="A 1",
    hide="alpha:0.5,pairs",
    lock="m33:-1",
)

# Links as version 0.1.0 wrote them.
LINKS = {
    "": Selection(),
    "adapter=Airline+tweets+%C2%B7+banded&matrix=Layer+2+%C2%B7+value": Selection(
        adapter="Airline tweets · banded", matrix="Layer 2 · value"
    ),
    "view=Spectrum+and+rank&adapter=BBC+headlines+%C2%B7+banded": Selection(
        adapter="BBC headlines · banded", view=VIEWS[1]
    ),
    "base=digits-vit&adapter=Digits+%C2%B7+plain": Selection(adapter="Digits · plain"),  # an adapter names its base
    "vs=BBC+headlines+%C2%B7+banded": Selection(vs="BBC headlines · banded"),
    "tab=Budgets": Selection(tab="Budgets"),
    "study=b5937147e2dc": Selection(study="b5937147e2dc"),
    "plan=eJyrVkrM&class=7b": Selection(plan="eJyrVkrM", class_code="7b"),
    "chapter=2&teacher=1&lock=alpha:0.5&hide=m33:0": Selection(
        chapter=2, teacher=True, lock="alpha:0.5", hide="m33:0"
    ),
    "class=+7b+": Selection(class_code="7b"),
}


@pytest.mark.parametrize("link", LINKS)
def test_a_link_of_version_0_1_opens_the_same(link):
    assert Selection.from_query(dict(parse_qsl(link))) == LINKS[link]


@pytest.mark.parametrize("selection", [EVERYTHING, *LINKS.values()])
def test_a_link_opens_what_it_was_made_of(selection):
    assert Selection.from_query(selection.to_query()) == selection


def test_everything_is_in_the_link():
    assert len(EVERYTHING.to_query()) == len(fields(Selection))
    assert Selection().to_query() == {}


@pytest.mark.parametrize(
    "wrong",
    [
        {"view": "nonsense"},
        {"brush": "i5..2_j0..1"},
        {"tab": "none"},
        {"chapter": "x"},
        {"chapter": "9" * 5000},
        {"teacher": "yes"},
    ],
)
def test_what_a_link_says_wrongly_is_as_on_a_first_visit(wrong):
    assert Selection.from_query(wrong) == Selection()


def test_a_selection_does_not_change():
    with pytest.raises(FrozenInstanceError):
        Selection().matrix = "Layer 2 · value"


def test_every_link_between_the_pages_carries_the_selection():
    test = AppTest.from_file(str(MAIN), default_timeout=60)
    test.query_params["matrix"] = "Layer 2 · value"
    test.run()
    links = [link.proto for link in test.get("page_link")]
    assert [link.label for link in links] == ["Start", "Explore", "Race", "Learn"]
    for link in links:
        assert dict(parse_qsl(link.query_string)) == {"matrix": "Layer 2 · value"}
    test.selectbox(key="matrix").set_value(test.selectbox(key="matrix").options[0]).run()
    assert test.query_params["matrix"] == "Layer 0 · query"


def test_a_picker_shows_the_name_of_an_adapter_and_not_where_it_lies():
    assert short_name("/uploads/svft-upload-x1/tmpab/my-adapter") == "my-adapter"
    assert short_name("/data/adapters/b5937147e2dc/3") == "b5937147e2dc/3"
    assert short_name("BBC headlines · plain") == "BBC headlines · plain"
