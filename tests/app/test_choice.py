"""What gradients say of a pattern: before training on Race, and of a chosen pattern on Explore."""

from __future__ import annotations

import json
import time

import pytest
from streamlit.testing.v1 import AppTest

from analysis.cli.train import train_to
from analysis.training.specification import TrainingSpec
from app.views import choice
from app.views.race.plan import diagnosis
from tests.app.explore_page import MAIN, alternatives, explore, words

pytestmark = pytest.mark.usefixtures("no_workers", "no_model")


@pytest.fixture(autouse=True)
def nothing_measured():
    for job in (choice._job, diagnosis._job, diagnosis._found):
        job.clear()


@pytest.fixture(scope="module")
def chosen(tiny_base, tmp_path_factory):
    """An adapter of 40 entries that were chosen from data."""
    directory = tmp_path_factory.mktemp("adapters") / "chosen"
    options = {"budget": 40, "steps": 4, "examples": 24, "batch_size": 8}
    train_to(TrainingSpec("bbc_headlines", "chosen", base=tiny_base, **options), directory)
    return directory


def until(test: AppTest, text: str) -> AppTest:
    """Run the page until a thread has measured what it shows."""
    for _ in range(600):
        if text in words(test):
            return test
        time.sleep(0.1)
        test.run()
    raise AssertionError(f"{text!r} never came")


def test_race_diagnoses_the_patterns_of_its_plan_once_it_is_asked():
    test = AppTest.from_file(str(MAIN), default_timeout=120)
    test.switch_page("race.py").run()
    test.pills(key="plan-task").set_value("digits").run()
    assert "squared gradient" not in words(test)
    test.session_state["open-diagnosis"] = True
    until(test.run(), "Does it predict accuracy?")
    assert not test.exception
    assert "Share of the squared gradient that each pattern can follow" in alternatives(test)
    assert "rank correlation of captured share and accuracy" in words(test)
    assert "154 entries" in words(test)


def test_our_studies_say_nothing_of_another_base(chosen, tiny_base):
    study = diagnosis.Study("bbc_headlines", ("plain",), budgets=(48,), base=tiny_base)
    asked = diagnosis._asked(study)
    assert not asked.is_studied
    assert asked.budgets == (48,)


def test_a_chosen_adapter_says_why_it_has_its_entries(chosen):
    test = explore(adapter=str(chosen))
    assert not test.exception
    assert "squared gradient" not in words(test)
    test.session_state["open-choice"] = True
    until(test.run(), "Before training these entries held")
    assert not test.exception
    assert not test.warning
    assert "Map of 40 entries of M over 12 matrices" in alternatives(test)
    assert "over 40 entries, by chance within" in alternatives(test)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"seed": 5}, "of the adapter’s 40 entries"),
        ({"unheard_of": 1}, "has no field unheard_of"),
        ({"task": "own-0123456789ab"}, "isn’t loaded"),
    ],
)
def test_what_was_chosen_otherwise_or_cannot_be_measured_is_said(chosen, tmp_path, changed, sentence):
    for file in chosen.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    evaluation = json.loads((tmp_path / "evaluation.json").read_text())
    evaluation["spec"] |= changed
    (tmp_path / "evaluation.json").write_text(json.dumps(evaluation))
    test = explore({"open-choice": True}, adapter=str(tmp_path))
    for _ in range(300):
        shown = [*test.warning, *test.error]
        if shown:
            break
        time.sleep(0.1)
        test.run()
    assert not test.exception
    assert any(sentence in element.value for element in shown)
    assert "All matrices, all measures" in [header.value for header in test.header]  # the rest of the page stays
