"""Trials advance together, survive each other's accidents, and are written down as they happen."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import psutil
import pytest
from distributed import KilledWorker

from analysis.common.errors import BaseModelError, UserError
from analysis.training.session import TrainingSession
from analysis.trials.engine import Engine
from analysis.trials.store import Store
from analysis.trials.study import Study
from analysis.trials.workers import reason
from tests.analysis.trials.processes import run_engine_until_killed
from tests.analysis.trials.workers_here import WorkersHere

PATIENCE = 240


@pytest.fixture
def store(tmp_path):
    opened = Store(tmp_path / "data")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory):
    """The address of a scheduler with a worker that was started by hand, in a directory of its own."""
    from distributed import LocalCluster

    with LocalCluster(n_workers=0, dashboard_address=None) as cluster:
        command = [sys.executable, "-m", "distributed.cli.dask_worker", cluster.scheduler_address, "--nthreads", "1"]
        # It knows neither the repository's directory nor where the app keeps its data.
        environment = {key: value for key, value in os.environ.items() if not key.startswith("SVFT_")}
        elsewhere = tmp_path_factory.mktemp("worker")
        worker = subprocess.Popen([*command, "--no-dashboard"], cwd=elsewhere, env=environment)
        yield cluster.scheduler_address
        worker.terminate()
        worker.wait(20)


@pytest.fixture
def engine(store, monkeypatch):
    """An engine whose two workers are threads of this process."""
    monkeypatch.setattr("analysis.trials.engine.Workers", WorkersHere)
    opened = Engine(store)
    yield opened
    opened.close()


@pytest.fixture
def study(tiny_base):
    return Study(
        "bbc_headlines",
        ("head_only", "plain", "lora"),
        sizes={"lora": (1,)},
        base=tiny_base,
        steps=6,
        batch_size=4,
        examples=16,
        evaluate_every=2,
    )


def wait_until(condition, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)


def states(store, id):
    return [trial.state for trial in store.trials(id)]


# ---- a study


@pytest.mark.slow
@pytest.mark.enable_socket  # the scheduler and its workers, in processes of their own, speak TCP
def test_a_study_runs_to_its_end_and_everything_is_recorded(store, study, scheduler):
    engine = Engine(store, scheduler=scheduler)
    try:
        id = engine.start(study, owner="ada", name="mine", bet={"winner": "plain"})
        assert engine.wait(id, PATIENCE)
    finally:
        engine.close()
    record = store.study(id)
    assert (record.state, record.owner, record.name, record.bet) == ("done", "ada", "mine", {"winner": "plain"})
    assert states(store, id) == ["done"] * 3
    points = store.points(id)
    for number, curve in points.groupby("trial"):
        assert curve["step"].tolist() == [0, 2, 4, 6]
        assert np.isnan(curve["train_loss"].iloc[0])
        assert curve[["loss", "accuracy", "macro_f1"]].notna().all(axis=None)
        assert curve["train_loss"].tolist()[1:] == losses_alone(store.trials(id)[number], 6, every=2)
    results = store.results(id)
    assert results["label"].tolist() == [trial.trial.label for trial in store.trials(id)]
    assert results["parameters"].tolist() == [trial.trial.parameters for trial in store.trials(id)]
    assert all(len(predicted) == 800 for predicted in results["predicted"])
    assert results["rank"].tolist()[0] == 0
    assert (results["rank"][1:] > 0).all()
    assert set(record.cost["label"]) == set(results["label"][1:])  # head only adapts nothing


def losses_alone(record, steps, every):
    """What a trial's curve is if it is trained by itself, without an engine."""
    session = TrainingSession(record.trial.spec)
    losses = np.array([session.train_step().loss for _ in range(steps)])
    return pytest.approx(losses.reshape(-1, every).mean(axis=1).tolist(), rel=1e-6)


def test_the_values_of_m_are_recorded_at_every_evaluation(engine, store, study):
    id = engine.start(study)
    assert engine.wait(id, PATIENCE)
    assert store.coefficients(id, 0) is None  # head only
    layout, values = store.coefficients(id, 1)
    assert values.index.tolist() == [0, 2, 4, 6]
    assert len(layout.names) == 12  # two blocks of six
    assert sum(map(len, layout.indices)) == len(values[0])
    assert not values[0].any()
    from safetensors.numpy import load_file

    saved = load_file(store.adapter_directory(id, 1) / "adapter_model.safetensors")
    first = saved[next(key for key in saved if layout.names[0] in key and "svft_coefficients" in key)]
    assert values[6][: len(first)].tolist() == first.astype(np.float16).tolist()


def test_two_studies_at_once_both_end(engine, store, study):
    ids = [engine.start(replace(study, seeds=(seed,))) for seed in (0, 1)]
    assert engine.queue_length(ids[1]) == 1
    assert all(engine.wait(id, PATIENCE) for id in ids)
    assert [states(store, id) for id in ids] == [["done"] * 3] * 2


def test_more_seeds_extend_a_study(engine, store, study):
    study = replace(study, methods=("plain",))
    id = engine.start(study)
    assert engine.wait(id, PATIENCE)
    first = store.results(id)["predicted"][0]
    engine.add_seeds(id, 2)
    assert engine.wait(id, PATIENCE)
    results = store.results(id)
    assert results["seed"].tolist() == [0, 1, 2]
    assert np.array_equal(results["predicted"][0], first)
    assert store.study(id).study.seeds == (0, 1, 2)


# ---- stopping, and what goes wrong


def test_one_trial_can_be_stopped_and_the_others_go_on(engine, store, study):
    id = engine.start(study)
    engine.stop(id, 1)
    assert engine.wait(id, PATIENCE)
    assert states(store, id) == ["done", "stopped", "done"]
    assert store.study(id).state == "stopped"


def test_a_stopped_study_keeps_its_points_and_goes_on_where_it_was(engine, store, study):
    study = replace(study, steps=20)
    whole = engine.start(study)
    assert engine.wait(whole, PATIENCE)
    id = engine.start(study)
    wait_until(lambda: len(store.points(id)) >= 5)
    engine.stop(id)
    assert engine.wait(id, 10)
    kept = store.points(id)
    assert set(states(store, id)) <= {"stopped", "done"}
    engine.resume(id)
    wait_until(lambda: store.study(id).state == "running")
    assert "running" in states(store, id)
    assert engine.wait(id, PATIENCE)
    assert states(store, id) == ["done"] * 3
    columns = ["trial", "step", "train_loss", "loss", "accuracy", "macro_f1"]
    assert store.points(id)[columns].equals(store.points(whole)[columns])
    again = store.points(id).set_index(["trial", "step"])["at"]
    assert (again[kept.set_index(["trial", "step"]).index] == kept.set_index(["trial", "step"])["at"]).all()


def test_a_trial_that_cannot_be_trained_says_why_and_the_others_go_on(engine, store, study, tiny_base, tmp_path):
    base = tmp_path / "base"
    shutil.copytree(tiny_base, base)
    id = engine.start(replace(study, base=str(base), target_modules=("query",), methods=("plain",)))
    assert engine.wait(id, PATIENCE)
    shutil.rmtree(base)
    engine.add_seeds(id, 1)
    assert engine.wait(id, PATIENCE)
    assert states(store, id) == ["done", "failed"]
    assert "could not be loaded" in store.trials(id)[1].reason


@pytest.mark.slow
@pytest.mark.enable_socket
def test_a_killed_worker_costs_only_the_trial_that_it_trained(store, study):
    engine = Engine(store, workers=2)
    try:
        id = engine.start(replace(study, steps=20))
        wait_until(lambda: len(store.points(id)) >= 6)
        worker_processes(engine)[0].send_signal(signal.SIGKILL)
        assert engine.wait(id, PATIENCE)
        failed = [trial for trial in store.trials(id) if trial.state == "failed"]
        assert len(failed) <= 1  # none where the worker was idle at that moment
        assert all("worker process died" in trial.reason for trial in failed)
        assert states(store, id).count("done") == 3 - len(failed)
        engine.resume(id)
        assert engine.wait(id, PATIENCE)
        assert states(store, id) == ["done"] * 3
    finally:
        left = worker_processes(engine)
        engine.close()
    assert left
    assert not any(process.is_running() for process in left)


def worker_processes(engine: Engine) -> list[psutil.Process]:
    """The processes that train: each is the child of a nanny, which starts another where it dies."""
    return [
        child
        for nanny in engine._workers.processes
        for child in psutil.Process(nanny.pid).children(recursive=True)
        if "multiprocessing.spawn" in " ".join(child.cmdline())
    ]


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (None, "worker process died"),
        (KilledWorker("turn", None, 0), "worker process died"),
        (MemoryError(), "ran out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "ran out of memory"),
        (BaseModelError("The base model is not there."), "The base model is not there."),
        (UserError("The budget does not fit."), "The budget does not fit."),
        (ValueError("operands could not be broadcast together"), "An unexpected error occurred (id "),
    ],
)
def test_the_reason_of_a_failure_is_a_sentence(error, says):
    assert says in reason(error, "trial 0")


# ---- the server


@pytest.mark.slow
@pytest.mark.enable_socket
def test_a_study_whose_server_is_killed_is_interrupted_and_goes_on(tmp_path, study, scheduler):
    id = run_engine_until_killed(tmp_path / "data", replace(study, steps=20), scheduler, points=6)
    store = Store(tmp_path / "data")
    kept = store.points(id)
    assert len(kept) >= 6
    engine = Engine(store, scheduler=scheduler)  # its worker still holds what it trained for the other
    try:
        assert store.study(id).state == "interrupted"
        assert set(states(store, id)) == {"interrupted"}
        engine.resume(id)
        assert engine.wait(id, PATIENCE)
        assert states(store, id) == ["done"] * 3
        assert (store.points(id)["at"].isin(kept["at"])).sum() == len(kept)
        for trial in store.trials(id):
            curve = store.points(id).query("trial == @trial.number")
            assert curve["train_loss"].tolist()[1:] == losses_alone(trial, 20, every=2)
    finally:
        engine.close()
        store.close()
