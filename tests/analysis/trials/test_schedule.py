"""What the engine decides, without processes: by table, and played to the end in any order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.trials.schedule import Assignment, RunningTrial, StudyRun, assign


def study(id="a", *, cost=False, to_measure=None, **trials):
    """A run whose trials are (turns taken, holder, worker of the turn under way, whether the state is kept)."""
    run = StudyRun(id, study=None, data=None, to_measure=to_measure, cost_worker="w1" if cost else None)
    for name, values in trials.items():
        turns, holder, worker, kept = (*values, *(0, None, None, False)[len(values) :])
        number = int(name[1:])
        run.trials[number] = RunningTrial(id, number, None, turns=turns, holder=holder, worker=worker, state_kept=kept)
    return run


WORKERS = ["w1", "w2"]
TABLE = {
    "nothing to do": ([], WORKERS, []),
    "nobody is idle": ([study(t0=(0,))], [], []),
    "each idle worker takes one trial": (
        [study(t0=(0,), t1=(0,), t2=(0,))],
        WORKERS,
        [("a", 0, "w1"), ("a", 1, "w2")],
    ),
    "a trial stays with the worker that holds it": (
        [study(t0=(1, "w2", None, True), t1=(1, "w1", None, True))],
        WORKERS,
        [("a", 0, "w2"), ("a", 1, "w1")],
    ),
    "none runs ahead: the next turn waits for the slowest": ([study(t0=(1, "w1"), t1=(0, "w2", "w2"))], ["w1"], []),
    "the slowest goes first": ([study(t0=(2, "w1"), t1=(1, "w2"))], WORKERS, [("a", 1, "w2")]),
    "a new trial goes to the worker that holds the fewest": (
        [study(t0=(1, "w1"), t1=(1, "w1"), t2=(0,))],
        WORKERS,
        [("a", 2, "w2")],
    ),
    "one whose worker is gone goes anywhere": ([study(t0=(3, "w9", None, True))], WORKERS, [("a", 0, "w1")]),
    "the next turn of a busy worker is left to it": (
        [study(t0=(1, "w1", None, True), t1=(1, "w1", "w1"))],
        ["w2"],
        [],
    ),
    "what is more than the next is taken over": (
        [study(t0=(1, "w1", None, True), t1=(1, "w1", "w1"), t2=(1, "w1", None, True))],
        ["w2"],
        [("a", 2, "w2")],
    ),
    "but not without its state": (
        [study(t0=(1, "w1", None, True), t1=(1, "w1", "w1"), t2=(1, "w1", None, False))],
        ["w2"],
        [],
    ),
    "the first study that came goes first": (
        [study("a", t0=(4, "w2"), t1=(4, "w1")), study("b", t0=(0,))],
        WORKERS,
        [("a", 0, "w2"), ("a", 1, "w1")],
    ),
    "what it leaves idle goes to the next": (
        [study("a", t0=(4, "w2")), study("b", t0=(0,))],
        WORKERS,
        [("a", 0, "w2"), ("b", 0, "w1")],
    ),
    "nothing runs beside a measurement of cost": ([study("a", cost=True), study("b", t0=(0,))], ["w2"], []),
    "a measurement of cost waits for the turns under way": (
        [study("a", to_measure={"x": {}}), study("b", t0=(0, "w1", "w1"), t1=(0,))],
        ["w2"],
        [],
    ),
    "and then begins, alone": (
        [study("a", to_measure={"x": {}}), study("b", t0=(0,))],
        WORKERS,
        [("a", None, "w1")],
    ),
    "no worker is left": ([study("a", to_measure={"x": {}})], [], []),
}


@pytest.mark.parametrize(("runs", "idle", "expected"), TABLE.values(), ids=TABLE.keys())
def test_who_does_what_next(runs, idle, expected):
    assert assign(runs, WORKERS, idle) == [Assignment(*assignment) for assignment in expected]


@given(st.lists(st.integers(1, 5), min_size=1, max_size=3), st.integers(1, 4), st.data())
def test_all_trials_advance_together_to_their_end_in_whatever_order_turns_end(sizes, n_workers, data):
    turns_to_take = 4
    workers = [f"w{number}" for number in range(n_workers)]
    runs = [study(str(place), **{f"t{n}": (0,) for n in range(size)}) for place, size in enumerate(sizes)]
    taken = {(run.id, number): 0 for run in runs for number in run.trials}
    under_way: dict[str, RunningTrial] = {}
    while any(run.trials for run in runs):
        for assignment in assign(runs, workers, [worker for worker in workers if worker not in under_way]):
            trial = next(run for run in runs if run.id == assignment.study).trials[assignment.trial]
            assert assignment.worker not in under_way
            assert trial.worker is None
            trial.holder = trial.worker = assignment.worker
            under_way[assignment.worker] = trial
        assert under_way, "nothing is under way, and nothing is done"
        trial = under_way.pop(data.draw(st.sampled_from(sorted(under_way))))
        trial.worker, trial.turns, trial.state_kept = None, trial.turns + 1, True
        taken[trial.study, trial.number] += 1
        if trial.turns == turns_to_take:
            next(run for run in runs if run.id == trial.study).trials.pop(trial.number)
        for run in runs:
            of_study = [count for (id, _), count in taken.items() if id == run.id]
            assert max(of_study) - min(of_study) <= 1
    assert set(taken.values()) == {turns_to_take}
