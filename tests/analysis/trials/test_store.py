"""Everything is written as it happens, and comes back as it was."""

from __future__ import annotations

import io
import json
import sys
import zipfile
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis.common.errors import UserError
from analysis.training.forgetting import MEASURES, Forgetting
from analysis.trials.files import command, committed_studies, export_study, read_study
from analysis.trials.messages import Layout, Outcome, Report
from analysis.trials.store import Store, data_directory
from analysis.trials.study import Study

STUDY = Study("bbc_headlines", ("head_only", "plain"), steps=4).resolved()


@pytest.fixture
def store(tmp_path):
    opened = Store(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def id(store):
    return store.add_study(STUDY, STUDY.plan()[0], engine="me", owner="ada", name="first")


def report(step, **more):
    return Report(step, [1.0, 3.0] if step else [], 0.5, 0.75, 0.7, 2.0, **more)


def outcome(**more):
    adapter = io.BytesIO()
    with zipfile.ZipFile(adapter, "w") as archive:
        archive.writestr("adapter_config.json", "{}")
    values = {
        "predicted": np.array([0, 4, 2], dtype=np.int16), "accuracy": 0.8, "macro_f1": 0.7, "loss": 0.6,
        "parameters": 13_824, "file_bytes": 99, "rank": 3.0, "stable_rank": 2.0, "effective_rank": 2.5,
        "adapter": adapter.getvalue(),
    }  # fmt: skip
    return Outcome(**{**values, **more})


def test_a_new_study_waits_with_all_its_trials(store, id):
    record = store.study(id)
    assert (record.name, record.owner, record.state, record.study) == ("first", "ada", "queued", STUDY)
    assert [(trial.number, trial.state, trial.step, trial.turns) for trial in store.trials(id)] == [
        (0, "waiting", 0, 0),
        (1, "waiting", 0, 0),
    ]
    assert [trial.trial for trial in store.trials(id)] == STUDY.plan()[0]


def test_a_point_is_there_as_soon_as_it_is_reported(store, id):
    store.add_report(id, 1, report(0))
    store.add_report(id, 1, report(2))
    points = store.points(id)
    assert points[["trial", "step"]].values.tolist() == [[1, 0], [1, 2]]
    assert np.isnan(points["train_loss"][0])
    assert points["train_loss"][1] == 2.0
    assert points.loc[1, ["loss", "accuracy", "macro_f1", "seconds"]].tolist() == [0.5, 0.75, 0.7, 2.0]
    assert (store.trials(id)[1].step, store.trials(id)[1].turns) == (2, 2)


def test_a_point_reported_twice_stands_once(store, id):
    store.add_report(id, 0, report(0))
    store.add_report(id, 0, report(0))
    assert len(store.points(id)) == 1
    assert store.trials(id)[0].turns == 1


def test_another_process_sees_what_is_written(store, id, tmp_path):
    store.add_report(id, 0, report(0))
    other = Store(tmp_path)
    assert len(other.points(id)) == 1
    other.close()


def test_coefficients_come_back_with_their_places(store, id):
    layout = Layout(["a", "b"], [3, 2], [np.array([0, 4, 8], np.int32), np.array([0, 3], np.int32)])
    values = np.arange(5, dtype=np.float16)
    store.add_report(id, 1, report(0, layout=layout, coefficients=0 * values))
    store.add_report(id, 1, report(2, coefficients=values))
    actual, by_step = store.coefficients(id, 1)
    assert (actual.names, actual.n) == (layout.names, layout.n)
    assert [indices.tolist() for indices in actual.indices] == [[0, 4, 8], [0, 3]]
    assert by_step.index.tolist() == [0, 2]
    assert by_step[2].tolist() == values.tolist()
    assert store.coefficients(id, 0) is None


def test_a_layout_says_where_the_entries_of_one_matrix_are():
    layout = Layout(["a", "b"], [3, 2], [np.array([0, 4, 8], np.int32), np.array([1, 2], np.int32)])
    i, j, place = layout.entries("b")
    assert (i.tolist(), j.tolist()) == ([0, 1], [1, 0])
    assert np.arange(5)[place].tolist() == [3, 4]


def test_the_state_of_a_trial_is_kept_until_it_is_done(store, id):
    assert store.state(id, 1) is None
    store.add_report(id, 1, report(2, state=b"abc"))
    assert store.state(id, 1) == (2, b"abc")
    store.add_report(id, 1, report(4, outcome=outcome()))
    assert store.state(id, 1) is None


def test_an_outcome_ends_the_trial_and_unpacks_the_adapter(store, id):
    store.add_report(id, 1, report(4, outcome=outcome()))
    assert store.trials(id)[1].state == "done"
    (row,) = store.results(id).to_dict("records")
    assert (row["trial"], row["label"], row["seed"], row["parameters"]) == (1, "SVFT plain", 0, 13_824)
    assert (row["accuracy"], row["rank"], row["predicted"].tolist()) == (0.8, 3.0, [0, 4, 2])
    assert (store.adapter_directory(id, 1) / "adapter_config.json").read_text() == "{}"


def test_an_outcome_without_an_adapter_has_no_directory(store, id):
    store.add_report(id, 0, report(4, outcome=outcome(adapter=None)))
    assert not store.adapter_directory(id, 0).exists()


def test_an_adapter_can_be_deleted_without_its_results(store, id):
    store.add_report(id, 1, report(4, outcome=outcome()))
    store.delete_adapter(id, 1)
    assert not store.adapter_directory(id, 1).exists()
    assert store.results(id)["trial"].tolist() == [1]


def test_a_trial_that_begins_again_has_no_points(store, id):
    store.add_report(id, 1, report(2, state=b"abc"))
    store.begin_again(id, 1)
    assert store.points(id).empty
    assert store.state(id, 1) is None
    assert store.trials(id)[1].turns == 0


def test_an_extended_study_has_its_old_trials_and_the_new_ones(store, id):
    store.add_report(id, 0, report(4, outcome=outcome()))
    more = replace(STUDY, seeds=(0, 1))
    store.extend_study(id, more, more.plan()[0], "me")
    assert [trial.state for trial in store.trials(id)] == ["done", "waiting", "waiting", "waiting"]
    assert store.study(id).study == more


def test_people_see_their_own_studies_and_everyones(store, id):
    shared = store.add_study(STUDY, [], engine="me")
    other = store.add_study(STUDY, [], engine="me", owner="bob")
    assert [record.id for record in store.studies("ada")] == [shared, id]
    assert [record.id for record in store.studies("bob")] == [other, shared]
    assert len(store.studies()) == 3


def test_a_deleted_study_leaves_nothing(store, id):
    store.add_report(id, 1, report(2, state=b"abc"))
    store.add_report(id, 1, report(4, outcome=outcome()))
    store.delete(id)
    store.purge()
    assert store.study(id) is None
    assert store.trials(id) == []
    assert store.points(id).empty
    assert not store.adapter_directory(id, 1).exists()


def test_a_deletion_can_be_taken_back_until_it_is_purged(store, id):
    store.add_report(id, 1, report(4, outcome=outcome()))
    before, results = store.study(id), store.results(id)
    store.delete(id)
    store.delete(id)  # a second click changes nothing
    assert store.study(id) is None
    assert id not in [record.id for record in store.studies()]
    store.restore(id)
    assert store.study(id) == before
    assert store.results(id).drop(columns="predicted").equals(results.drop(columns="predicted"))
    store.purge()
    assert store.study(id) == before


def test_a_study_can_be_renamed(store, id):
    store.rename(id, "second")
    assert store.study(id).name == "second"


def test_costs_are_kept(store, id):
    cost = pd.DataFrame({"label": ["SVFT plain"], "seconds": [0.5], "time_ratio": [1.0]})
    store.set_cost(id, cost)
    pd.testing.assert_frame_equal(store.study(id).cost, cost)


# ---- a study's file


def test_a_study_and_its_results_come_back_from_their_file(store, id):
    store.add_report(id, 0, report(4, outcome=outcome(adapter=None)))
    store.add_report(id, 1, report(4, outcome=outcome()))
    store.set_cost(id, pd.DataFrame({"label": ["SVFT plain"], "seconds": [0.5]}))
    file = read_study(export_study(store, id))
    assert file.study == STUDY
    assert file.cost.to_dict("records") == [{"label": "SVFT plain", "seconds": 0.5}]
    expected = store.results(id)
    assert file.results.drop(columns="predicted").equals(expected.drop(columns="predicted"))
    assert [p.tolist() for p in file.results["predicted"]] == [p.tolist() for p in expected["predicted"]]
    assert file.command == "svft trial --task bbc_headlines --methods head_only,plain --seeds 0 --steps 4"


def test_the_command_of_a_study_has_all_that_differs_from_the_defaults():
    study = Study("bbc_headlines", ("lora", "random"), (900,), {"lora": (1, 8)}, (0, 3), target_modules=("query",))
    assert command(study) == (
        "svft trial --task bbc_headlines --methods lora=1,lora=8,random --budgets 900 --seeds 0,3"
        " --target-modules query"
    )
    swept = replace(study, learning_rates={"lora": (1e-4, 1e-3)})
    assert command(swept, "my study.json") == "svft trial --study 'my study.json'"


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"study": 3}', '{"study": {"task": "x"}}', b"\xff\xfe"])
def test_what_is_no_studys_file_is_refused_with_a_sentence(content):
    with pytest.raises(UserError):
        read_study(content)


def test_every_committed_study_can_be_read_and_planned():
    for task, file in committed_studies().items():
        assert file.study.task == task
        planned = {trial.label for trial in file.study.plan()[0]}
        assert set(file.results["label"]) <= planned


def test_each_owner_has_a_seed_of_its_own_in_a_class(store):
    assert [store.join_class("7b", owner) for owner in ("ann", "bob", "ann", "cem")] == [0, 1, 0, 2]
    assert store.join_class("8a", "bob") == 0
    assert (store.class_size("7b"), store.class_size("8a"), store.class_size("none")) == (3, 1, 0)


def test_studies_of_a_class_are_found_until_they_are_deleted(store):
    first, second, other = (store.add_study(STUDY, [], engine="", owner=owner) for owner in ("ann", "bob", "cem"))
    for code, id in (("7b", first), ("7b", second), ("7b", first), ("8a", other)):
        store.add_to_class(code, id)
    assert [record.id for record in store.class_studies("7b")] == [first, second]
    assert [record.owner for record in store.class_studies("7b")] == ["ann", "bob"]
    store.delete(first)
    assert [record.id for record in store.class_studies("7b")] == [second]


def test_studies_are_kept_where_the_environment_says_else_in_the_users_data(monkeypatch, tmp_path):
    monkeypatch.setenv("SVFT_DATA_DIR", "~/studies")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data_directory() == tmp_path / "studies"
    monkeypatch.delenv("SVFT_DATA_DIR")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    if sys.platform == "linux":
        assert data_directory() == tmp_path / ".local" / "share" / "svft-explorer"
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
        assert data_directory() == tmp_path / "xdg" / "svft-explorer"


def test_notes_are_an_owners_until_they_are_deleted_or_a_year_old(store, monkeypatch):
    monkeypatch.setattr("analysis.trials.store.time.time", lambda: 1e9)
    store.set_note("ada", "painted", [1])
    store.set_note("ada", "answer", 6.7)
    store.set_note("ada", "painted", [1, 2])
    store.set_note("bob", "painted", [3])
    assert store.notes("ada") == {"painted": [1, 2], "answer": 6.7}
    store.delete_notes("ada")
    assert (store.notes("ada"), store.notes("bob")) == ({}, {"painted": [3]})
    for days, kept in ((364, {"painted": [3]}), (366, {})):
        monkeypatch.setattr("analysis.trials.store.time.time", lambda days=days: 1e9 + days * 24 * 3600)
        store.purge()
        assert store.notes("bob") == kept


def test_what_was_forgotten_is_kept_and_a_trial_without_it_is_not_measured(store, id):
    measured = Forgetting(0.02, 0.25, 0.6, 0.65)
    store.add_report(id, 0, report(4, outcome=outcome()))
    store.add_report(id, 1, report(4, outcome=outcome(forgetting=measured)))
    results = store.results(id)
    assert results.loc[0, list(MEASURES)].isna().all()
    assert results.loc[1, list(MEASURES)].to_dict() == measured.to_dict()
    exported = read_study(export_study(store, id)).results
    pd.testing.assert_frame_equal(exported[list(MEASURES)], results[list(MEASURES)])
    assert set(json.loads(export_study(store, id))["results"][0]).isdisjoint(MEASURES)
