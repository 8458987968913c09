"""The expected time of a study follows from measured turns, and says so where it does not."""

import pandas as pd
import pytest

from analysis.measures.overview import base_parameters
from analysis.models.packages import DEFAULT_BASE, DIGITS_BASE
from analysis.trials.duration import OVERHEAD, Duration, expected_duration, time_left
from analysis.trials.files import StudyFile
from analysis.trials.records import TrialRecord
from analysis.trials.study import Study

STUDY = Study("bbc_headlines", ("head_only", "plain", "full"), steps=30)
TRIALS, _ = STUDY.plan()
COLUMNS = ["study", "trial", "method", "batch_size", "steps", "step", "seconds"]
NONE = pd.DataFrame([], columns=COLUMNS)


def turns(*rows):
    return pd.DataFrame(rows, columns=COLUMNS)


def trial(method, seconds, *, study="a", number=0, steps=30, batch_size=16, every=10):
    return [(study, number, method, batch_size, steps, step * every, second) for step, second in enumerate(seconds)]


def test_the_time_is_that_of_turns_measured_before():
    measured = turns(
        *trial("head_only", [1, 2, 2, 5]), *trial("plain", [2, 4, 4, 9], number=1), *trial("full", [3] * 4, number=2)
    )
    actual = expected_duration(STUDY, TRIALS, measured, 1, None, {})
    assert actual == Duration(1 + 2 + 2 + 5 + 2 + 4 + 4 + 9 + 12, measured=True)


def test_more_steps_take_more_turns():
    measured = turns(*trial("plain", [2, 4, 4, 9]))
    study = Study("bbc_headlines", ("plain",), steps=95)
    assert expected_duration(study, study.plan()[0], measured, 1, None, {}).seconds == 2 + 9 * 4 + 9


def test_a_method_without_turns_is_taken_to_be_like_the_others():
    measured = turns(*trial("plain", [2, 4, 4, 9]))
    assert expected_duration(STUDY, TRIALS, measured, 1, None, {}).seconds == 3 * 19


def test_a_trial_that_was_stopped_counts_as_far_as_it_came():
    measured = turns(*trial("plain", [2, 4, 6]))
    study = Study("bbc_headlines", ("plain",), steps=30)
    assert expected_duration(study, study.plan()[0], measured, 1, None, {}).seconds == 2 + 5 + 5 + 5


@pytest.mark.parametrize("other", [{"batch_size": 8}, {"every": 5}])
def test_turns_of_another_kind_do_not_count(other):
    measured = turns(*trial("plain", [2, 4, 4, 9], **other))
    assert expected_duration(STUDY, TRIALS, measured, 1, None, {}) is None


def test_workers_share_the_trials_but_not_one_trial():
    measured = turns(
        *trial("head_only", [1] * 4), *trial("plain", [1] * 4, number=1), *trial("full", [9] * 4, number=2)
    )
    assert expected_duration(STUDY, TRIALS, measured, 2, None, {}).seconds == 36
    assert expected_duration(STUDY, TRIALS, measured, 1, None, {}).seconds == 44


def test_without_turns_it_follows_from_one_measured_step_and_the_committed_costs():
    results = pd.DataFrame({"label": ["SVFT plain", "full fine-tuning"], "method": ["plain", "full"]})
    cost = pd.DataFrame({"label": ["SVFT plain", "full fine-tuning"], "seconds": [0.2, 0.6]})
    committed = {"bbc_headlines": StudyFile(STUDY, results, cost, "")}
    actual = expected_duration(STUDY, TRIALS, NONE, 1, 0.1, committed)
    assert not actual.measured
    assert actual.seconds == pytest.approx(OVERHEAD * 30 * 0.1 * (1 + 1 + 3))


def test_a_guess_about_another_base_grows_with_its_parameters():
    study = Study("bbc_headlines", ("plain",), base=DIGITS_BASE)  # planned alone, not trained
    guess = expected_duration(study, TRIALS, NONE, 1, 0.1, {}).seconds
    own = expected_duration(Study("bbc_headlines", ("plain",)), TRIALS, NONE, 1, 0.1, {}).seconds
    assert guess / own == pytest.approx(base_parameters(DIGITS_BASE) / base_parameters(DEFAULT_BASE))


def test_nothing_is_said_where_nothing_is_known():
    assert expected_duration(STUDY, TRIALS, NONE, 2, None, {}) is None


def test_what_is_left_are_the_turns_that_trials_have_not_taken():
    measured = turns(*trial("head_only", [1, 2, 2, 5]), *trial("plain", [2, 4, 4, 9], number=1))
    records = [
        TrialRecord(0, TRIALS[0], "running", None, 10, 2),  # 2 + 5 left
        TrialRecord(1, TRIALS[1], "waiting", None, 0, 0),  # 2 + 4 + 4 + 9
        TrialRecord(2, TRIALS[2], "failed", "It broke.", 10, 2),
    ]
    assert time_left(STUDY, records, measured, 1) == Duration(26, measured=True)
    assert time_left(STUDY, records, measured, 2).seconds == 19
    assert time_left(STUDY, records, NONE, 1) is None
    assert time_left(STUDY, records[2:], measured, 1) is None


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(1, "about 5 s"), (33, "about 35 s"), (58, "about 1 min"), (150, "about 2 min"), (9000, "about 2.5 h")],
)
def test_it_is_said_in_round_numbers(seconds, words):
    assert Duration(seconds, measured=True).words == words
