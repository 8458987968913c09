"""A study's file from elsewhere joins the studies here, with its results."""

import base64
import json
import zlib

import numpy as np
import pandas as pd
import pytest

from analysis.common.errors import UserError
from analysis.training.forgetting import MEASURES
from analysis.trials.files import export_study, import_study, read_study
from analysis.trials.store import OUTCOME_COLUMNS, Store
from analysis.trials.study import Study


def packed(predicted):
    return base64.b64encode(zlib.compress(np.array(predicted, dtype="<i2").tobytes())).decode()


STUDY = Study("bbc_headlines", ("head_only", "plain"), steps=4, seeds=(0, 1)).resolved()


@pytest.fixture
def store(tmp_path):
    opened = Store(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def elsewhere(tmp_path):
    """The file of a study of which all but the last trial were done, as JSON."""
    other = Store(tmp_path / "elsewhere")
    trials, _ = STUDY.plan()
    id = other.add_study(STUDY, trials, engine="")
    rows = [
        {
            "trial": number,
            "parameters": trials[number].parameters,
            "predicted": np.full(800, number),
            **{column: number / 10 for column in (*OUTCOME_COLUMNS, *(MEASURES if number else ()))},
        }
        for number in range(3)
    ]
    cost = pd.DataFrame({"label": ["SVFT plain"], "seconds": [0.5]})
    other.add_outcomes(id, pd.DataFrame(rows), cost)
    content = export_study(other, id)
    other.close()
    return content


def test_its_results_are_here_and_what_it_lacks_can_be_continued(store, elsewhere):
    id = import_study(store, read_study(elsewhere), owner="ada", name="from afar")
    record = store.study(id)
    assert (record.owner, record.name, record.state, record.study) == ("ada", "from afar", "interrupted", STUDY)
    assert [trial.state for trial in store.trials(id)] == ["done", "done", "done", "interrupted"]
    assert json.loads(export_study(store, id)) == json.loads(elsewhere)


def test_a_whole_study_is_done(store, elsewhere):
    values = json.loads(elsewhere)
    values["study"]["seeds"] = [0]
    values["results"] = values["results"][:2]
    id = import_study(store, read_study(json.dumps(values)), owner="", name="")
    assert store.study(id).state == "done"


@pytest.mark.parametrize(
    "damage",
    [
        {"label": "LoRA r=1"},
        {"seed": 7},
        {"accuracy": "high"},
        {"accuracy": None},
        {"drift": float("inf")},
        {"predicted": packed([1] * 799)},
        {"predicted": packed([5] * 800)},  # there are five labels, from 0
        {"predicted": packed([-1] * 800)},
    ],
)
def test_results_that_are_not_of_the_study_are_refused(store, elsewhere, damage):
    values = json.loads(elsewhere)
    values["results"][1] |= damage
    with pytest.raises(UserError, match="results in this file"):
        import_study(store, read_study(json.dumps(values)), owner="", name="")
    assert store.studies() == []
