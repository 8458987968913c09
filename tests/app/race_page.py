"""What tests do on the page Race, and the studies that they find there."""

import json

import numpy as np
import pandas as pd
from streamlit.testing.v1 import AppTest

from analysis.trials.store import OUTCOME_COLUMNS
from analysis.trials.study import Study
from app import trials
from app.views.race.plan import form

SMALL = Study("bbc_headlines", ("head_only", "plain"), steps=4, examples=16).resolved()


def methods(test: AppTest) -> list[str]:
    return [method for method in (*form.MAIN, *form.more()) if test.checkbox(key=f"plan-use-{method}").value]


def lanes(test: AppTest) -> str:
    return " ".join(html.value for html in test.html if 'class="lane' in html.value)


def captions(test: AppTest) -> str:
    return " ".join(caption.value for caption in test.caption)


def start(test: AppTest) -> AppTest:
    return test.button(key="start").click().run()


def the_study():
    (record,) = trials.store().studies()
    return record


def add(owner="", study=SMALL, state="done", **accuracies: float) -> str:
    """Add a study of which the trials of some methods are done with this accuracy."""
    planned, _ = study.plan()
    id = trials.store().add_study(study, planned, engine="", owner=owner, name="of old")
    rows = [
        {
            "trial": number,
            "parameters": trial.parameters,
            "predicted": np.zeros(800),
            **dict.fromkeys(OUTCOME_COLUMNS, accuracies[trial.spec.method]),
        }
        for number, trial in enumerate(planned)
        if trial.spec.method in accuracies
    ]
    trials.store().add_outcomes(id, pd.DataFrame(rows), None)
    trials.store().set_study_state(id, state)
    return id


def upload(test: AppTest, key: str, content: object) -> AppTest:
    content = content if isinstance(content, bytes) else json.dumps(content).encode()
    return test.file_uploader(key=key).set_value(("mine.json", content, "application/json")).run()
