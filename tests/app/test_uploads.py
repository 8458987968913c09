"""What a visitor brought opens in the browser that it came from, on every server, and nowhere else."""

import json
import shutil
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from analysis.adapters import shipped
from analysis.models.packages import DIGITS_BASE, resolve_base
from analysis.training.specification import TrainingSpec
from analysis.trials.study import Trial
from app import selection
from tests.app.jobs_here import compute_nothing
from tests.app.test_base import explore

pytestmark = pytest.mark.usefixtures("no_model")

UPLOAD = """
import streamlit as st
from app import uploads
st.session_state["made"] = str(uploads.new_directory())
"""


@pytest.fixture(autouse=True)
def before_anything_is_computed(monkeypatch):
    compute_nothing(monkeypatch)


@pytest.fixture
def be(monkeypatch):
    """Be another visitor from here on."""

    def become(letter: str) -> None:
        monkeypatch.setattr(type(st.context), "cookies", {"svft-visitor": letter * 32})

    return become


@pytest.fixture
def brought(be):
    """A session of visitor a, and the adapter and the base model that it brought."""
    be("a")
    session = AppTest.from_string(UPLOAD).run()
    made = Path(session.session_state["made"])
    shutil.copytree(shipped.DIRECTORY / "bbc_headlines-plain", made / "my-adapter")
    shutil.copytree(resolve_base(DIGITS_BASE), made / "my-vit")
    return session, made


@pytest.mark.parametrize("public", ["0", "1"])
def test_an_upload_opens_for_its_visitor_alone(brought, be, monkeypatch, public):
    monkeypatch.setenv("SVFT_PUBLIC", public)
    _, made = brought
    own = explore(adapter=str(made / "my-adapter"))  # in a second tab
    assert not own.error
    assert selection.short_name(own.selectbox(key="adapter").value) == "my-adapter"
    assert not explore(model=str(made / "my-vit")).error
    be("b")
    for query in ({"adapter": str(made / "my-adapter")}, {"model": str(made / "my-vit")}):
        stranger = explore(**query)
        assert "uploaded by another visitor" in stranger.error[0].value
        assert str(made) not in stranger.error[0].value
        assert not stranger.get("plotly_chart")
    beside = explore(vs=str(made / "my-adapter"))
    assert "uploaded by another visitor" in beside.error[0].value


def test_the_picker_shows_names_and_no_paths(brought):
    _, made = brought
    for query, name in (
        ({"adapter": str(made / "my-adapter")}, "my-adapter"),
        ({"model": str(made / "my-vit")}, "No adapter: my-vit"),
    ):
        test = explore(**query)
        assert not test.exception
        shown = test.selectbox(key="adapter").options
        assert name in shown
        assert not [option for option in shown if "svft-upload" in option]


def test_an_uploaded_model_is_not_trained_on(brought):
    _, made = brought
    button = explore(model=str(made / "my-vit")).button(key="base-train")
    assert button.disabled
    assert "gone when you leave" in button.help


def test_what_a_study_trained_opens_on_a_public_server_by_the_id_of_the_study(monkeypatch, tmp_path):
    monkeypatch.setenv("SVFT_PUBLIC", "1")
    monkeypatch.setenv("SVFT_DATA_DIR", str(tmp_path))
    trained = shutil.copytree(shipped.DIRECTORY / "bbc_headlines-plain", tmp_path / "adapters" / ("a" * 32) / "0")
    spec = TrainingSpec("bbc_headlines", "plain", seed=2).resolved()
    (trained / "trial.json").write_text(json.dumps(Trial(spec, "SVFT plain", 13_824).to_dict()))
    test = explore(adapter=str(trained))
    assert not test.error
    assert "Topic of a BBC headline · SVFT plain, seed 2" in test.selectbox(key="adapter").options
    for above in (trained.parents[1], tmp_path):  # nobody looks through them
        assert "does not open" in explore(adapter=str(above)).error[0].value
