"""The view Edit: a guess, its outcome, edits of one's own, and the adapter that comes of it."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from analysis.adapters import shipped
from analysis.adapters.opening import open_adapter
from analysis.measures.edits import Edit, cards
from analysis.running.edit_effects import effect
from app import selection
from app.views.edit import edited, evaluations
from app.views.edit.outcome import beside_elsewhere, beside_random, sentence
from tests.analysis.synthetic import write_adapter
from tests.app.explore_page import alternatives, explore

pytestmark = pytest.mark.usefixtures("no_model")

PLAIN = shipped.DIRECTORY / "bbc_headlines-plain"


class Worker:
    """In the place of the job that evaluates edits: as many of 800 right as the line's place in its list says."""

    started: ClassVar[list[tuple[str, ...]]] = []

    def __init__(self, work: str, path: str, *lines: str) -> None:
        Worker.started.append(lines)
        self.lines = lines
        self.results = [(line, np.arange(800) < right(line)) for line in lines]
        self.total, self.error, self.stopped, self.running, self.complete = len(lines), None, False, False, True

    def stop(self) -> None:
        self.stopped, self.running, self.complete = True, False, False


class SlowWorker(Worker):
    """The same while it works: the first line alone is there."""

    def __init__(self, *args: str) -> None:
        super().__init__(*args)
        self.results, self.running, self.complete = self.results[:1], True, False


def right(line: str) -> int:
    """How many examples are right: 664 as trained, 400 with M off, 200 to 599 after another edit."""
    if line == "":
        return 664
    edit = Edit.from_json(line)
    if edit == Edit("scaled", {"alpha": 0.0}):
        return 400
    return 200 + sum(line.encode()) % 400


@pytest.fixture
def worker(monkeypatch):
    Worker.started = []
    evaluations._evaluations.clear()
    monkeypatch.setattr(evaluations, "Job", Worker)
    yield Worker
    evaluations._evaluations.clear()


def edit_view(path: Path | str = "BBC headlines · plain", brush: str = "", **state) -> AppTest:
    query = {"adapter": str(path), "matrix": "Layer 2 · value", "view": selection.EDIT, "brush": brush}
    test = explore(state, **query)
    assert not test.exception
    return test


def press(test: AppTest, key: str) -> AppTest:
    test.button(key=key).click().run()
    assert not test.exception
    return test


# ---- cards


def test_nothing_is_evaluated_before_a_guess(worker):
    test = edit_view()
    assert worker.started == []
    assert "Accuracy on the test split" not in alternatives(test)
    assert test.slider(key="guess-Shuffle M").label == "Your guess: accuracy after this edit (as trained 83%)"


def test_a_guess_reveals_the_outcome_beside_as_trained_and_m_off(worker):
    test = edit_view(card="Signs only")
    test.slider(key="guess-Signs only").set_value(70)
    press(test, "reveal")
    line = next(card.edit.to_json() for card in cards(open_adapter(PLAIN)) if card.title == "Signs only")
    drawn = alternatives(test)
    assert "As trained: 83.0%" in drawn
    assert "M off: 50.0%" in drawn
    assert f"Signs only: {right(line) / 800:.1%}" in drawn
    text = " ".join(markdown.value for markdown in test.markdown)
    assert "You guessed 70%." in text
    assert f"83.0% → {right(line) / 800:.1%}" in text


def test_the_first_guess_has_all_cards_evaluated_its_own_first(worker):
    press(edit_view(card="Largest 30% only"), "reveal")
    (lines,) = worker.started
    assert len(lines) == 9  # as trained, M off, the card and as many values at random, five cards
    assert lines[0] == ""
    assert [Edit.from_json(line).operation for line in lines[2:4]] == ["largest_only", "random_only"]


def test_an_edit_that_zeroes_values_stands_beside_as_many_at_random(worker):
    test = press(edit_view(card="Largest 30% only"), "reveal")
    assert "Random 30%: " in alternatives(test)
    assert any("As many values at random (30%, one draw) give" in caption.value for caption in test.caption)


def test_what_was_evaluated_is_not_evaluated_again(worker):
    press(edit_view(card="Largest 30% only"), "reveal")
    another = edit_view(card="Shuffle M")
    assert "keep" not in [button.key for button in another.button]  # nor shown to whoever has not guessed yet
    test = press(another, "reveal")
    assert "keep" in [button.key for button in test.button]
    assert len(worker.started) == 1
    assert "Shuffle M" in alternatives(test)


def test_outcomes_of_all_guesses_stand_together(worker):
    test = edit_view()
    titles = [card.title for card in cards(open_adapter(PLAIN))]
    assert len(titles) == 6
    for title in titles:
        test.session_state["card"] = title
        press(test.run(), "reveal")
        assert title in alternatives(test)
    assert all(title in alternatives(test) for title in titles)


def test_while_the_worker_is_at_it_the_page_shows_how_far_it_is_and_can_be_stopped(worker, monkeypatch):
    monkeypatch.setattr(evaluations, "Job", SlowWorker)
    test = press(edit_view(), "reveal")
    assert "Accuracy on the test split" not in alternatives(test)
    job = evaluations.running(open_adapter(PLAIN))
    press(test, "stop-edits")
    assert job.stopped
    assert evaluations.running(open_adapter(PLAIN)) is None
    monkeypatch.setattr(evaluations, "Job", Worker)
    press(test, "restart-edits")
    assert "Accuracy on the test split" in alternatives(test.run())


def test_the_spectrum_follows_the_edit(worker):
    shuffled, off = (alternatives(edit_view(card=card)) for card in ("Shuffle M", "Leading 10% only"))
    assert "Singular values of W" in shuffled
    assert shuffled != off


# ---- edits of one's own


def test_an_amount_is_measured_and_drawn_as_a_curve(worker):
    test = press(edit_view(card="Custom"), "draw-the-curve")
    assert "Accuracy over part of the values that stay, 8 of 8 places measured" in alternatives(test)
    lines = [Edit.from_json(line) for line in worker.started[0][2:]]
    assert {edit.options["share"] for edit in lines} == {0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0}


def test_one_measurement_is_no_curve(worker):
    test = press(edit_view(card="Custom"), "measure")
    assert len(worker.started[0]) == 3
    assert "Accuracy over" not in alternatives(test)
    assert "Largest 30% only: 83.0% →" in " ".join(markdown.value for markdown in test.markdown)


def test_an_edit_can_be_of_one_matrix_alone(worker):
    test = edit_view(card="Custom", **{"custom-edit": "Scale by α", "scope-All matrices": "This matrix"})
    press(test, "measure")
    assert Edit.from_json(worker.started[0][2]).names == (test.selectbox(key="matrix").value,)


def test_a_band_is_zeroed(worker):
    press(edit_view(card="Custom", **{"custom-edit": "Zero a band"}), "measure")
    assert Edit.from_json(worker.started[0][2]).options == {"first": 0, "last": 0}


def test_a_box_is_zeroed_beside_as_many_entries_elsewhere(worker):
    box = "i0..99_o0..0"
    test = press(edit_view(card="Zero a box", brush=box), "measure")
    zeroed, control = (Edit.from_json(line) for line in worker.started[0][2:])
    name = test.selectbox(key="matrix").value
    assert zeroed == Edit("without_brushed", {"box": box}, (name,))
    assert control == Edit("without_as_many", {"box": box}, (name,))
    text = " ".join(markdown.value for markdown in test.markdown)
    assert "Rows 0–99, offsets 0 to 0 zeroed in Layer 2 · value: 83.0% →" in text
    expected = f"As many entries zeroed elsewhere (one draw) give {right(control.to_json()) / 800:.1%}"
    assert any(expected in caption.value for caption in test.caption)
    assert "Singular values of W" in alternatives(test)


def test_the_control_of_a_box_is_waited_for(worker, monkeypatch):
    class AlmostDone(Worker):
        def __init__(self, *args: str) -> None:
            super().__init__(*args)
            self.results, self.running, self.complete = self.results[:3], True, False

    monkeypatch.setattr(evaluations, "Job", AlmostDone)
    test = press(edit_view(card="Zero a box", brush="i0..99_o0..0"), "measure")
    assert "zeroed in Layer 2 · value: 83.0% →" in " ".join(markdown.value for markdown in test.markdown)
    assert "stop-edits" in [button.key for button in test.button]


def test_without_a_box_there_is_m_to_drag_one_over(worker):
    test = edit_view(card="Zero a box")
    assert "Strip of the 384 trained entries" in alternatives(test)
    assert "measure" not in [button.key for button in test.button]
    assert any("Drag a box over M" in caption.value for caption in test.caption)


def test_every_layer_can_be_switched_off_and_is_drawn(worker):
    test = press(edit_view(card="Custom", **{"custom-edit": "Switch a layer off"}), "draw-the-curve")
    assert "Accuracy over layer switched off, 6 of 6 places measured" in alternatives(test)


# ---- the new adapter


def test_the_download_is_an_adapter_that_opens(tmp_path):
    adapter = open_adapter(PLAIN)
    edit = Edit("signs_only")
    packed = edited._zipped(adapter, edit, "Signs only", np.arange(800) < 500, "new")
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        archive.extractall(tmp_path)
    again = open_adapter(tmp_path / "new")
    name = adapter.names[0]
    expected = edit.apply(adapter.matrix(name)).values
    np.testing.assert_allclose(again.matrix(name).values, expected, rtol=1e-6)


def test_save_and_open_makes_it_the_open_adapter(worker, tmp_path, monkeypatch):
    monkeypatch.setenv("SVFT_DATA_DIR", str(tmp_path))
    test = press(edit_view(card="Signs only"), "reveal")
    press(test, "keep")
    path = tmp_path / "edited" / "bbc_headlines-plain-signs-only"
    assert test.selectbox(key="adapter").value == str(path)
    assert len(open_adapter(path).names) == 36


# ---- what cannot be edited


def test_an_adapter_without_a_task_gets_a_sentence(tmp_path):
    test = edit_view(write_adapter(tmp_path / "bare"))
    assert "no readable evaluation.json" in test.info[0].value


# ---- words


def test_an_edit_is_compared_with_as_many_values_at_random():
    half, less = np.arange(800) < 400, np.arange(800) < 200
    assert "(30%, one draw) give 50.0%: this edit differs from that by −25.0 points" in (
        beside_random(0.3, effect(half, less))
    )
    assert "the two cannot be told apart" in beside_random(0.3, effect(half, half))
    assert beside_elsewhere(effect(half, less)).startswith("As many entries zeroed elsewhere (one draw) give 50.0%")


def test_a_change_that_cannot_be_told_from_none_is_said_so():
    right = np.arange(800) < 600
    other = right.copy()
    other[599:601] = [False, True]
    assert sentence("Signs only", effect(right, other)).endswith("That cannot be told apart from no change.")
    fallen = sentence("Signs only", effect(right, np.arange(800) < 400))
    assert fallen.startswith("Signs only: 75.0% → 50.0% (−25.0 points, 95% interval −")
