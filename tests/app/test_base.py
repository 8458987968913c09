"""A base model alone on the page Explore: its weights, and the ways on to a race and to a budget."""

import json
import shutil
import time
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from analysis.models.packages import DEFAULT_BASE, DIGITS_BASE, resolve_base
from app import selection
from app.data import base_models
from app.views.base import page
from tests.app.jobs_here import compute_nothing

pytestmark = pytest.mark.usefixtures("no_workers", "no_model")

MAIN = Path(__file__).parents[2] / "app" / "entry.py"


@pytest.fixture(autouse=True)
def known_speed(monkeypatch):
    """This machine decomposes any model in two hours."""
    base_models._decomposing_seconds.clear()
    monkeypatch.setattr("analysis.planning.svd_speed.measure_svd_speed", lambda: None)
    monkeypatch.setattr("analysis.planning.svd_speed.svd_seconds", lambda shapes, speed: 7200.0)
    yield
    base_models._decomposing_seconds.clear()


@pytest.fixture
def copy(tmp_path) -> Path:
    """The small image model in a directory of one's own."""
    return Path(shutil.copytree(resolve_base(DIGITS_BASE), tmp_path / "my-vit"))


def explore(**query: str) -> AppTest:
    test = AppTest.from_file(str(MAIN), default_timeout=120)
    test.query_params.update(query)
    test.switch_page("explore.py")  # before the first run, which would draw Start
    return test.run()


def computed(test: AppTest) -> AppTest:
    """Run the page until the singular values are there; another thread computes them."""
    for _ in range(600):
        if len(test.get("plotly_chart")) == 2 and not any(b.key == "stop-weights" for b in test.button):
            return test
        time.sleep(0.1)
        test.run()
    raise AssertionError("the singular values never came")


def words(test: AppTest) -> str:
    return " ".join(element.value for element in (*test.caption, *test.markdown, *test.header, *test.subheader))


def test_a_base_model_is_shown_without_an_adapter():
    test = computed(explore(model=DIGITS_BASE, matrix="Layer 2 · MLP up"))
    assert not test.exception
    assert not test.error
    assert test.selectbox(key="adapter").value == selection.NO_ADAPTER + DIGITS_BASE
    assert "digits-vit: 24 weights" in words(test)
    assert "Layer 2 · MLP up · 256 × 64" in words(test)
    assert "a Gaussian matrix like it" in words(test)
    test.button_group(key="base-measure").set_value("condition").run()
    assert "Condition number, from" in words(test)
    test.selectbox(key="matrix").set_value("Layer 0 · key").run()
    assert test.query_params["matrix"] == "Layer 0 · key"
    assert "Layer 0 · key · 64 × 64" in words(test)


def test_the_cost_is_said_when_it_is_asked_for():
    test = computed(explore(model=DIGITS_BASE))
    test.session_state["open-base-cost"] = True
    test.run()
    assert "about **2.0 h**" in words(test)
    assert "**1.18 MB** in float32" in words(test)  # 4 layers of 4 × 128 · 64 and 2 × 320 · 64 numbers


def test_a_large_model_waits_for_its_button(monkeypatch):
    monkeypatch.setattr(page, "_AT_ONCE", 1)
    test = explore(model=DIGITS_BASE)
    assert "about **2.0 h**" in words(test)
    assert not test.get("plotly_chart")
    test.button(key="base-start").click().run()
    computed(test)


def test_the_pickers_lead_to_a_base_and_back_to_its_adapters(monkeypatch):
    compute_nothing(monkeypatch)
    test = explore()
    for model in (DEFAULT_BASE, DIGITS_BASE):
        test.selectbox(key="adapter").set_value(selection.NO_ADAPTER + model).run()
        assert test.query_params["model"] == model
    assert "No adapter: digits-vit" in test.selectbox(key="adapter").options
    test.selectbox(key="adapter").set_value("BBC headlines · banded").run()
    assert "model" not in test.query_params
    assert not test.exception


def test_a_race_on_the_model_is_one_click_away():
    test = explore(model=DIGITS_BASE)
    test.button(key="base-train").click().run()
    assert not test.exception
    assert not test.error
    assert test.session_state["plan"].base == DIGITS_BASE
    assert not test.button(key="start").disabled


def test_a_model_of_ones_own_is_named_on_the_plan_and_can_be_left(copy):
    test = explore(model=str(copy))
    test.button(key="base-train").click().run()
    assert not test.exception
    assert "On the base model **my-vit**" in words(test)
    assert test.session_state["plan"].base == str(copy)
    test.button(key="forget-base").click().run()
    assert test.session_state["plan"].base == DIGITS_BASE


def test_its_costs_are_one_click_away(copy):
    test = explore(model=str(copy))
    test.button(key="base-budgets").click().run()
    assert not test.exception
    assert test.selectbox(key="budgets-model").value == str(copy)
    assert "24 linear layers" in words(test)


def test_a_model_that_cannot_be_trained_here_says_why(copy):
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"image_size": 224}))
    button = explore(model=str(copy)).button(key="base-train")
    assert button.disabled
    assert "images of size 224" in button.help


def test_a_model_that_is_not_here_is_a_sentence():
    test = explore(model="no/such-model")
    assert not test.exception
    assert "not on this machine" in test.error[0].value


def test_a_public_server_opens_no_model_outside_its_roots(copy, monkeypatch):
    monkeypatch.setenv("SVFT_PUBLIC", "1")
    test = explore(model=str(copy))
    assert "does not open" in test.error[0].value
    assert not test.get("plotly_chart")
