"""Studies on the page Race: the open one, past ones, those from a file and the one that comes with the project."""

from dataclasses import replace

import pytest

from analysis.training.methods import METHODS
from analysis.trials.engine import Engine
from analysis.trials.files import export_study
from analysis.trials.study import Study
from app import trials
from app.views.race.past import studies as past
from app.views.race.plan import form
from tests.app.race_page import SMALL, add, captions, methods, start, the_study, upload

pytestmark = pytest.mark.usefixtures("no_workers")


# ---- an open study


def test_a_study_can_be_stopped_continued_renamed_and_deleted(race):
    test = start(race())
    id = the_study().id
    assert test.button(key=f"delete-{id}").disabled
    test.button(key="stop").click().run()
    assert the_study().state == "stopped"
    test.button(key="resume").click().run()
    assert the_study().state == "queued"
    test.button(key="stop").click().run()
    test.text_input(key=f"name-{id}").set_value("my first").run()
    assert test.title[0].value == "my first"
    test.button(key=f"delete-{id}").click().run()
    assert trials.store().studies() == []
    assert not test.exception
    assert test.button(key="start")
    test.button(key="undo-delete").click().run()
    assert not test.exception
    assert the_study().name == "my first"
    assert "undo-delete" not in [button.key for button in test.button]


def test_the_length_of_the_queue_is_shown(race, monkeypatch):
    monkeypatch.setattr(Engine, "ready", True)
    monkeypatch.setattr(Engine, "workers", 2)
    start(race())
    start(race())
    third = start(race())
    assert "2 studies ahead of yours" in captions(third)
    third.button(key="again").click().run()
    assert "queued, 2 ahead of it" in captions(third)


def test_a_new_study_has_the_same_settings(race):
    test = race(plan=Study("airline_tweets", ("plain", "lora"), budgets=(82_944,), seeds=(0, 1)).to_link())
    start(test)
    test.button(key="again").click().run()
    assert "study" not in test.query_params
    assert methods(test) == ["plain", "lora"]
    assert test.slider(key="plan-seeds").value == 2


def test_a_study_with_a_method_that_is_not_here_is_named_and_hides_no_other(race, monkeypatch):
    monkeypatch.setitem(METHODS, "corner", replace(METHODS["random"], name="corner"))
    add(study=Study("bbc_headlines", ("corner",), budgets=(1382,)).resolved())
    other = add()
    monkeypatch.delitem(METHODS, "corner")
    test = race()
    assert not test.error
    assert test.button(key=f"open-{other}")
    assert "1 study cannot be shown here. There is no method 'corner'" in captions(test)


def test_a_study_that_is_not_here_is_a_sentence_above_the_plan(race):
    test = race(study="0123456789ab")
    assert "not here" in test.warning[0].value
    assert test.button(key="start")


def test_a_stranger_sees_a_study_by_its_link_but_changes_nothing(race):
    id = add(owner="ada", state="interrupted")
    test = race(study=id)
    assert test.title[0].value == "of old"
    assert {button.key for button in test.button} == {"again"}


def test_a_study_is_shared_as_a_link_to_its_plan_or_to_itself(race):
    id = add()
    test = race(study=id)
    plan, results = [code.value for code in test.code]
    assert Study.from_link(plan.partition("?plan=")[2]) == SMALL
    assert results.partition("?study=")[2] == id
    assert len(id) == 32  # it opens the study, so nobody may guess it


# ---- past studies


def test_past_studies_are_ones_own_and_everyones(race):
    add(owner="ada")
    everyones = add(head_only=0.4, plain=0.8)
    test = race()
    assert [button.key for button in test.button if button.key.startswith("open-")] == [f"open-{everyones}"]
    assert "done · best: SVFT plain, 80.0%" in captions(test)
    assert f"delete-{everyones}" not in {button.key for button in test.button}
    test.button(key=f"open-{everyones}").click().run()
    assert test.query_params["study"] == everyones


def test_a_long_list_of_studies_is_shown_in_part(race):
    for _ in range(past.SHOWN + 2):
        add()
    test = race()
    assert sum(button.key.startswith("open-") for button in test.button) == past.SHOWN
    test.toggle(key="past-all").set_value(True).run()
    assert sum(button.key.startswith("open-") for button in test.button) == past.SHOWN + 2


def test_a_studys_file_shows_its_results_here(race):
    id = add(owner="ada", head_only=0.4, plain=0.8)
    test = upload(race(), "study-file", export_study(trials.store(), id).encode())
    record = trials.store().study(test.query_params["study"])
    assert (record.name, record.state, record.owner) == ("mine", "done", test.session_state["visitor"])
    assert len(trials.store().results(record.id)) == 2


def test_a_studys_file_without_results_fills_the_plan(race):
    test = upload(race(), "study-file", {"study": SMALL.to_dict(), "results": []})
    assert not test.error
    assert methods(test) == ["head_only", "plain"]
    assert test.number_input(key="plan-steps").value == 4


@pytest.mark.parametrize("content", [b"\x00", b"[]", {"study": {"task": "magic", "methods": ["plain"]}}])
def test_what_is_no_studys_file_is_a_sentence(race, content):
    test = upload(race(), "study-file", content)
    assert len(test.error) == 1
    assert methods(test) == list(form.MAIN)


def test_a_study_that_comes_with_the_project_opens_and_is_kept_once(race):
    test = race()
    test.button(key="measured-study").click().run()
    assert not test.exception
    record = the_study()
    assert (record.state, record.study) == ("done", trials.committed()["bbc_headlines"].study)
    assert not trials.owns(record)
    again = race()
    assert not [button.key for button in again.button if button.key.startswith("open-")]
    again.button(key="measured-study").click().run()
    assert the_study().id == record.id
