"""A file of studies that an earlier version wrote opens, with everything in it; one of a later version is refused."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from analysis.common.errors import UserError
from analysis.trials import database
from analysis.trials.files import export_study, read_study
from analysis.trials.store import Store

# Made by release 0.1.0: three trials, of which one was interrupted, and a class.
OLD = (Path(__file__).parent / "studies-0.1.0.sql").read_text()
ID = "e5f1c0de0a11"


@pytest.fixture
def old(tmp_path) -> Path:
    """A data directory with a file of release 0.1.0."""
    connection = sqlite3.connect(tmp_path / "studies.sqlite")
    connection.executescript(OLD)
    connection.close()
    return tmp_path


def version(directory: Path) -> int:
    connection = sqlite3.connect(directory / "studies.sqlite")
    (actual,) = connection.execute("PRAGMA user_version").fetchone()
    connection.close()
    return actual


def tables(directory: Path) -> set[str]:
    connection = sqlite3.connect(directory / "studies.sqlite")
    actual = {" ".join(row[0].split()) for row in connection.execute("SELECT sql FROM sqlite_master WHERE sql != ''")}
    connection.close()
    return actual


def test_a_file_of_0_1_0_opens_with_all_that_is_in_it(old):
    store = Store(old)
    (record,) = store.studies("ada")
    assert (record.id, record.name, record.state, record.bet) == (
        ID,
        "An old study",
        "interrupted",
        {"winner": "plain"},
    )
    assert record.study.plan()[0] == [trial.trial for trial in store.trials(ID)]
    assert [trial.state for trial in store.trials(ID)] == ["done", "done", "interrupted"]
    assert store.points(ID)["step"].tolist() == [0, 0, 0, 2, 2, 2, 4, 4]
    assert store.results(ID)["rank"].tolist() == [0.0, 3.0]
    assert store.results(ID)["drift"].isna().all()
    assert store.notes("ada") == {}
    layout, values = store.coefficients(ID, 1)
    assert (layout.names, values[4].tolist()) == (["a", "b"], [0, 4, 8, 12, 16])
    assert record.cost["label"].tolist() == ["SVFT plain", "LoRA r=1"]
    assert [study.id for study in store.class_studies("7b")] == [ID]
    assert read_study(export_study(store, ID)).study == record.study
    store.close()


def test_it_becomes_a_file_of_this_version_and_can_be_written(old, tmp_path_factory):
    store = Store(old)
    store.rename(ID, "Renamed")
    store.close()
    new = tmp_path_factory.mktemp("new")
    Store(new).close()
    assert version(old) == version(new) == len(database._STEPS)
    assert tables(old) == tables(new)
    again = Store(old)
    assert again.study(ID).name == "Renamed"
    again.close()


def test_steps_run_once_whoever_opens_the_file_first(old, monkeypatch):
    monkeypatch.setattr(database, "_STEPS", (*database._STEPS, ("ALTER TABLE studies ADD COLUMN note TEXT",)))
    with ThreadPoolExecutor(4) as people:
        for store in people.map(lambda _: Store(old), range(4)):
            assert store.study(ID) is not None
            store.close()
    assert version(old) == len(database._STEPS)


def test_a_step_that_fails_leaves_the_file_as_it_was(old, monkeypatch):
    before = tables(old)
    with monkeypatch.context() as broken:
        broken.setattr(database, "_STEPS", (("ALTER TABLE studies ADD COLUMN note TEXT", "ALTER TABLE nothing"),))
        with pytest.raises(sqlite3.OperationalError):
            Store(old)
    assert (version(old), tables(old)) == (0, before)
    store = Store(old)
    assert store.study(ID) is not None
    store.close()


def test_a_file_of_a_later_version_is_refused_and_left_alone(old):
    connection = sqlite3.connect(old / "studies.sqlite")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(UserError, match="written by a later version of SVFT Explorer"):
        Store(old)
    assert version(old) == 99
