"""The page Start of an adapter of a language model: both texts, the dial, and what it says without its base."""

import pytest
from streamlit.testing.v1 import AppTest

from analysis.adapters.shipped import DIRECTORY
from analysis.models.packages import ADD_SMOLLM2
from analysis.training.language.evaluation import read_pairs_evaluation
from app.views.start import writing
from tests.app.explore_page import MAIN, explore
from tests.app.jobs_here import compute_nothing
from tests.app.talking import save_talking

PIRATE = "Pirate · banded"


def start(adapter: str) -> AppTest:
    test = AppTest.from_file(str(MAIN), default_timeout=180)
    test.query_params["adapter"] = adapter
    return test.run()


def test_both_texts_are_written_again_wherever_the_dial_is_turned(tmp_path):
    test = start(str(save_talking(tmp_path)))
    test.text_area(key="prompt").set_value("w3 w4").run()
    assert len(test.text) == 0  # until it is asked for
    test.button(key="write").click().run()
    assert not test.exception
    assert not test.warning
    without, with_adapter = (element.value for element in test.text)
    assert without
    assert without != with_adapter
    test.slider(key="alpha").set_value(0.0).run()
    assert [element.value for element in test.text] == [without, without]


def test_without_its_base_the_page_says_how_to_add_it_and_shows_the_rest(monkeypatch):
    monkeypatch.setattr(writing, "packed_file", lambda base: None)
    test = start(PIRATE)
    assert not test.exception
    assert [element.value for element in test.info if ADD_SMOLLM2 in element.value]
    assert "write" not in {button.key for button in test.button}
    measured = read_pairs_evaluation(DIRECTORY / "pirate-banded")
    assert f"{measured.perplexity:.2f}" in [metric.value for metric in test.metric]


@pytest.mark.parametrize("view", ["Coefficients", "Spectrum and rank", "Edit"])
def test_its_matrices_are_explored_without_the_base(view, monkeypatch):
    compute_nothing(monkeypatch)
    test = explore(adapter=PIRATE, view=view)
    assert not test.exception
    assert not test.error
    assert test.selectbox(key="adapter").value == PIRATE
    assert "base" not in {picker.key for picker in test.selectbox}
