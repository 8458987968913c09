"""What finished trials say, from `analysis`: computed once for each set of finished trials."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import pandas as pd
import streamlit as st

from analysis.training.methods import svft_patterns
from analysis.training.tasks import OWN_PREFIX, Examples, Task, get_task
from analysis.trials.bets import BetScore, score_bet
from analysis.trials.files import StudyFile
from analysis.trials.records import StudyRecord, TrialRecord
from analysis.trials.results import confusion, disagreements, front, paired_differences, summarize
from analysis.trials.verdict import Verdict, claim, claim_sentence, verdict
from app import trials as studies


class Results:
    """Finished trials of one study, and what follows from them, computed when it is first asked for.

    Attributes:
        trials: As `analysis.trials.results` has them.
        task: What they were trained for.
        examples: What they were judged on.
    """

    def __init__(self, trials: pd.DataFrame, task: Task, split: str) -> None:
        self.trials = trials
        self.task = task
        self.examples: Examples = getattr(task.load(), split)
        self._differences: dict[str, pd.DataFrame] = {}

    @property
    def labels(self) -> list[str]:
        """The configurations, by ascending number of parameters."""
        return self.summary["label"].tolist()

    @cached_property
    def summary(self) -> pd.DataFrame:
        """`analysis.trials.results.summarize`."""
        return summarize(self.trials, self.examples.labels)

    @cached_property
    def front(self) -> list[str]:
        """`analysis.trials.results.front`."""
        return front(self.trials, self.examples.labels)

    @cached_property
    def verdict(self) -> Verdict:
        """`analysis.trials.verdict.verdict`."""
        return verdict(self.summary, self.trials, self.examples.labels)

    @cached_property
    def claim(self) -> str:
        """`analysis.trials.verdict.claim`, in words."""
        return claim_sentence(claim(self.trials, self.examples.labels))

    @property
    def best_svft(self) -> int | None:
        """The most accurate trial of the most accurate SVFT configuration: its number, None if there is none."""
        means = self.summary[self.summary["method"].isin(svft_patterns())].set_index("label")["accuracy"]
        if means.empty:
            return None
        of_best = self.trials[self.trials["label"] == means.idxmax()]
        return int(of_best.loc[of_best["accuracy"].idxmax(), "trial"])

    @property
    def pair(self) -> tuple[str, str]:
        """Two configurations to begin a comparison with: those of the verdict, else the most accurate two."""
        ranked = self.summary.sort_values("accuracy", ascending=False, kind="stable")["label"].tolist()
        return self.verdict.pair or (ranked[0], ranked[min(1, len(ranked) - 1)])

    def differences(self, reference: str) -> pd.DataFrame:
        """`analysis.trials.results.paired_differences`."""
        if reference not in self._differences:
            self._differences[reference] = paired_differences(self.trials, self.examples.labels, reference)
        return self._differences[reference]

    def confusion(self, label: str) -> pd.DataFrame:
        """`analysis.trials.results.confusion`."""
        return confusion(self.trials, self.examples.labels, label)

    def disagreements(self, a: str, b: str) -> pd.DataFrame:
        """`analysis.trials.results.disagreements`."""
        return disagreements(self.trials, self.examples.labels, a, b, self.examples.inputs)

    def score(self, bet: dict) -> BetScore:
        """`analysis.trials.bets.score_bet`."""
        return score_bet(bet, self.trials, self.examples.labels)


def of_study(record: StudyRecord, of: Sequence[TrialRecord]) -> Results:
    """Return the results of a study as far as its trials have finished.

    Raises:
        TaskError: If the task's data is not here.
    """
    return _of_study(record.id, tuple(trial.number for trial in of if trial.state == "done"), record)


def committed(record: StudyRecord) -> Results | None:
    """Return the study that ships with this project on the same task, base and split.

    None if there is none, and if it is the one on screen.
    """
    file, study = studies.committed().get(record.study.task), record.study
    if file is None or file.study == study:
        return None
    same = (file.study.base, file.study.final_split) == (study.base, study.final_split)
    return _committed(study.task, file) if same else None


def shipped(task: str) -> Results | None:
    """Return the study on a task that comes with this project, None if there is none."""
    file = studies.committed().get(task)
    return None if file is None else _committed(task, file)


@st.cache_resource(max_entries=32, show_spinner="Comparing the trials …")
def _of_study(id: str, finished: tuple[int, ...], _record: StudyRecord) -> Results:
    study = _record.study
    if study.task.startswith(OWN_PREFIX):
        from analysis.training.data.own_data import OwnData, register

        register(OwnData.from_bytes(studies.store().data(id)))
    return Results(studies.store().results(id), get_task(study.task), study.final_split)


@st.cache_resource(show_spinner="Comparing the trials …")
def _committed(task: str, _file: StudyFile) -> Results:
    return Results(_file.results, get_task(task), _file.study.final_split)
