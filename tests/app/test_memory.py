"""What a visitor set in Learn is there at the next visit: theirs alone, in no link, and gone if they start over."""

import sqlite3

import pytest

from analysis.common.errors import UserError
from app import trials

ME, YOU = "a" * 32, "b" * 32
FIRST_PICTURES = ("A 2×2 matrix", "A photograph")


def facts(test):
    return [metric.value for metric in test.metric]


def test_answers_settings_and_ticks_are_there_after_a_reload(learn):
    test = learn(1)
    test.slider(key="learn-sigma2").set_value(0.5).run()
    test.number_input(key="answer-largest").set_value(6.708).run()
    test.segmented_control(key="learn-step1").set_value(FIRST_PICTURES[1]).run()
    test.number_input(key="answer-pairs").set_value(3.0).run()
    again = learn(1)
    assert again.segmented_control(key="learn-step1").value == FIRST_PICTURES[1]
    assert again.number_input(key="answer-pairs").value == 3.0
    assert "more are needed" in again.info[0].value
    again.segmented_control(key="learn-step1").set_value(FIRST_PICTURES[0]).run()
    assert again.slider(key="learn-sigma2").value == 0.5
    assert again.number_input(key="answer-largest").value == 6.708
    assert "Right" in again.success[0].value
    family = learn(7)
    family.selectbox(key="learn-member").set_value("osf").run()
    family.pills(key="answer-twins").set_value("SVF and SVFT plain").run()
    family = learn(7)
    assert family.selectbox(key="learn-member").value == "osf"
    assert family.pills(key="answer-twins").value == "SVF and SVFT plain"
    assert family.button(key="chapter-7").icon == ":material/check_circle:"
    assert not family.button(key="chapter-1").icon


def test_a_painted_pattern_is_there_after_a_reload(learn):
    test = learn(3)
    test.button(key="preset-One row").click().run()
    assert facts(test) == ["6,144", "16", "8.0"]
    assert facts(learn(3)) == facts(test)
    test.button(key="preset-Clear").click().run()
    assert facts(learn(3))[0] == "0"


def test_a_link_carries_nobodys_answers(learn):
    test = learn(1)
    test.number_input(key="answer-largest").set_value(6.708).run()
    test.slider(key="learn-u").set_value(90).run()
    assert set(test.query_params) <= {"chapter"}
    other = learn(1, YOU)
    assert other.number_input(key="answer-largest").value is None
    assert other.slider(key="learn-u").value == 60


def test_a_link_that_fixes_a_control_wins_and_is_not_kept(learn):
    learn(1).slider(key="learn-u").set_value(90).run()
    assert learn(1, lock="u:-30").slider(key="learn-u").value == -30
    assert learn(1).slider(key="learn-u").value == 90


@pytest.mark.parametrize("kept", ["none", 10**9, [1], None, {"a": 1}])
def test_what_a_control_does_not_take_any_more_is_as_on_a_first_visit(learn, kept):
    learn(1)
    for name in ("learn-step1", "learn-u", "answer-largest"):
        trials.store().set_note(ME, name, kept)
    test = learn(1)
    assert not test.exception
    assert test.segmented_control(key="learn-step1").value == FIRST_PICTURES[0]
    assert test.slider(key="learn-u").value == (180 if kept == 10**9 else 60)
    assert test.number_input(key="answer-largest").value in (None, kept)
    trials.store().set_note(ME, "answer-twins", kept)
    assert learn(7).pills(key="answer-twins").value is None


def test_who_starts_over_finds_a_first_visit(learn):
    test = learn(3)
    assert "learn-clear" not in [button.key for button in test.button]
    test.button(key="preset-One row").click().run()
    test = learn(1)
    test.slider(key="learn-u").set_value(90)
    test.number_input(key="answer-largest").set_value(6.708).run()
    trials.store().set_note(YOU, "learn-u", 0)
    test.button(key="learn-clear").click().run()
    for first in (test, learn(1)):
        assert first.slider(key="learn-u").value == 60
        assert first.number_input(key="answer-largest").value is None
    assert facts(learn(3)) == ["6,144", "384", "8.0"]
    assert trials.store().notes(ME) == {}
    assert trials.store().notes(YOU) == {"learn-u": 0}


@pytest.mark.parametrize("error", [UserError("Studies cannot be kept."), sqlite3.OperationalError("disk is full")])
def test_a_chapter_works_where_nothing_can_be_kept(learn, monkeypatch, error):
    def refuse():
        raise error

    with monkeypatch.context() as broken:
        broken.setattr(trials, "store", refuse)
        test = learn(3)
        test.button(key="preset-One row").click().run()
        assert not test.exception
        assert facts(test) == ["6,144", "16", "8.0"]
        test.button(key="answer-low_rank").click().run()
        assert "Right" in test.success[0].value
        assert test.button(key="chapter-3").icon
    assert facts(learn(3)) == ["6,144", "384", "8.0"]
