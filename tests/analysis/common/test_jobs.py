"""Jobs: what others see of them while they run."""

from __future__ import annotations

import re
import sys
import threading

import pandas as pd
import pytest

from analysis.common import jobs
from analysis.common.jobs import Job
from tests.analysis.common.work import break_down, count, go_on_for_ever, refuse

ROWS = 300


@pytest.fixture
def often_switching():
    """Threads take turns so often that what they share without care breaks at once."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_results_are_a_snapshot():
    job = Job(count, 3)
    before = job.results
    assert job.wait(60)
    assert job.complete
    assert [row["number"] for row in job.results] == [0, 1, 2]
    assert len(before) <= 3
    assert not hasattr(before, "append")


def test_results_can_be_tabulated_while_they_come(often_switching):
    job = Job(count, ROWS)
    raised, tables = [], []

    def look():
        try:
            while job.running:
                tables.append(pd.DataFrame(job.results, columns=["number"]))
        except Exception as error:
            raised.append(error)

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not raised
    assert all(table["number"].tolist() == list(range(len(table))) for table in tables)
    assert len(job.results) == ROWS


def test_an_error_for_people_is_its_sentence():
    job = Job(refuse, "banded")
    assert job.wait(60)
    assert job.error == "There is no adapter banded."
    assert not job.complete


def test_an_unexpected_error_is_an_id_whose_traceback_is_in_the_log(caplog):
    job = Job(break_down)
    assert job.wait(60)
    shown = re.fullmatch(r"An unexpected error occurred \(id (\w{8})\)\. The details are in the log\.", job.error)
    assert shown
    (record,) = caplog.records
    assert shown[1] in record.message
    assert "break_down" in record.message
    assert "ValueError: operands could not be broadcast together" in record.message


@pytest.fixture
def one_at_a_time(monkeypatch):
    monkeypatch.setattr(jobs, "_turns", threading.BoundedSemaphore(1))


def test_jobs_wait_for_their_turn(one_at_a_time):
    first = Job(go_on_for_ever)
    second = Job(count, 3)
    assert not second.wait(0.5)
    assert second.running
    assert second.results == ()
    assert not second.complete
    first.stop()
    assert second.wait(60)
    assert [row["number"] for row in second.results] == [0, 1, 2]
    assert first.wait(60)
    assert not first.complete


def test_a_job_that_waits_is_stopped_without_its_turn(one_at_a_time):
    first = Job(go_on_for_ever)
    second = Job(count, 3)
    second.stop()
    assert second.wait(60)
    assert (second.complete, second.results, second.error) == (False, (), None)
    assert first.running
    first.stop()
    assert first.wait(60)


def test_a_job_that_cannot_be_started_says_so_and_gives_its_turn_back(one_at_a_time, monkeypatch):
    def refuse(*_, **__):
        raise OSError("too many processes")

    with monkeypatch.context() as patched:
        patched.setattr(jobs.subprocess, "Popen", refuse)
        job = Job(count, 3)
        assert job.wait(60)
    assert "too many processes" in job.error
    assert Job(count, 1).wait(60)
