"""What one pass of gradients says of the patterns, before any of them is trained."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd
import streamlit as st

from analysis.common.jobs import Job
from analysis.common.kept import kept
from analysis.figures.capture_accuracy import capture_accuracy
from analysis.figures.entries_map import entries_map
from analysis.figures.gradient_capture import gradient_capture
from analysis.models.shapes import block_shapes
from analysis.training.data.own_data import OwnData
from analysis.training.specification import TrainingSpec
from analysis.training.tasks import get_task
from analysis.trials.confirmation import agreement, capture_and_accuracy
from analysis.trials.study import Study
from app import figures, trials
from app.views import progress
from app.views.race.past import small_budgets
from app.views.section import section


class _Asked(NamedTuple):
    """What is diagnosed: a task and a base, at budgets; own data, if any; whether our studies are about the same."""

    spec: TrainingSpec
    budgets: tuple[int, ...]
    own: OwnData | None
    is_studied: bool


class _Found(NamedTuple):
    """What patterns capture, how accurate they were, how both agree, and where the fewest chosen entries go."""

    capture: pd.DataFrame
    accuracy: pd.DataFrame | None
    agreement: str
    matrices: pd.DataFrame


def show(study: Study) -> None:
    """Draw a title that opens; what is below it is computed once somebody asks."""
    section("Diagnosis", "diagnosis", lambda: _show(study))


def _show(study: Study) -> None:
    st.caption("What one pass of gradients over the training examples says of each pattern, before it is trained.")
    asked = _asked(study)
    job = _job(asked)
    if not job.complete:
        progress.wait(job, "Measuring gradients", key="diagnosis", restart=lambda: _job.clear(asked))
        return
    diagnosis, look = _found(asked), {"theme": figures.theme()}
    figure = figures.build(gradient_capture, diagnosis.capture, **look)
    figures.draw(figure, key="gradient-capture")
    figures.explain(figure, diagnosis.capture, key="gradient-capture", file_name="gradient.csv")
    if diagnosis.accuracy is not None:
        st.markdown("**Does it predict accuracy?**")
        figure = figures.build(capture_accuracy, diagnosis.accuracy, reading=diagnosis.agreement, **look)
        figures.draw(figure, key="capture-accuracy")
        figures.explain(figure, diagnosis.accuracy, key="capture-accuracy", file_name="capture_accuracy.csv")
    rows = diagnosis.matrices
    st.markdown(f"**Where {asked.budgets[0]:,} chosen entries go**")
    figure = figures.build(entries_map, rows, **look)
    figures.draw(figure, key="entries-map")
    inside = float((rows["inside"] * rows["share"]).sum())
    st.caption(
        f"{inside:.0%} of the squared gradient lies between the thin singular vectors, where M can follow it at all."
    )
    figures.explain(figure, rows, key="entries-map", file_name="entries.csv")


def _asked(study: Study) -> _Asked:
    """Return the task and base of a plan, at its budgets and those of our studies, up to one entry per singular value.

    Our studies are on the task's own base, all of whose matrices they adapt.
    """
    task = get_task(study.task)
    is_studied = study.base in (None, task.base) and not study.target_modules
    measured = small_budgets.summary(study.task) if is_studied else None
    shapes = block_shapes(study.base or task.base, study.target_modules)
    diagonal = sum(min(shape) for shape in shapes.values())
    budgets = {budget for budget in study.budgets if budget <= diagonal}
    budgets |= set() if measured is None else set(measured["budget"].tolist())
    spec = TrainingSpec(study.task, "head_only", base=study.base, target_modules=study.target_modules)
    return _Asked(spec, tuple(sorted(budgets)) or (diagonal,), trials.own_data(study.task), is_studied)


@kept(16)
def _job(asked: _Asked) -> Job:
    from analysis.training.diagnosis import diagnose_steps  # torch: not before somebody asks

    return Job(diagnose_steps, asked.spec, asked.budgets, asked.own)


@kept(16)
def _found(asked: _Asked) -> _Found:
    """Return what a complete job found."""
    matrices, *captures = _job(asked).results
    capture = pd.concat(captures, ignore_index=True)
    measured = small_budgets.summary(asked.spec.task) if asked.is_studied else None
    accuracy = None if measured is None else capture_and_accuracy(capture, measured)
    if accuracy is None or accuracy.empty:
        accuracy = None
    fewest = matrices[matrices["budget"] == asked.budgets[0]]
    return _Found(capture, accuracy, "" if accuracy is None else agreement(accuracy), fewest)
