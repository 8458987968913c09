"""What one pass of gradients says of the patterns, before any of them is trained."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from analysis.common.jobs import Job
from analysis.figures.capture_accuracy import capture_accuracy
from analysis.figures.entries_map import entries_map
from analysis.figures.gradient_capture import gradient_capture
from analysis.models.shapes import block_shapes
from analysis.training.own_data import OwnData
from analysis.training.specification import TrainingSpec
from analysis.training.tasks import get_task
from analysis.trials.confirmation import agreement, capture_and_accuracy
from analysis.trials.study import Study
from app import figures, trials
from app.views import progress
from app.views.race.past import small_budgets
from app.views.section import section


def show(study: Study) -> None:
    """Draw a title that opens; what is below it is computed once somebody asks."""
    section("Diagnosis", "diagnosis", lambda: _show(study))


def _show(study: Study) -> None:
    st.caption("What one pass of gradients over the training examples says of each pattern, before it is trained.")
    measured = small_budgets.summary(study.task)
    budgets = _budgets(study, measured)
    spec = TrainingSpec(study.task, "head_only", base=study.base, target_modules=study.target_modules)
    asked = (spec, budgets, trials.own_data(study.task))
    job = _job(*asked)
    if not job.complete:
        progress.wait(job, "Measuring gradients", key="diagnosis", restart=lambda: _job.clear(*asked))
        return
    matrices, *captures = job.results
    capture = pd.concat(captures, ignore_index=True)
    figure = figures.build(gradient_capture, capture, theme=figures.theme())
    figures.draw(figure, key="gradient-capture")
    figures.explain(figure, capture, key="gradient-capture", file_name="gradient.csv")
    table = None if measured is None else capture_and_accuracy(capture, measured)
    if table is not None and not table.empty:
        st.markdown("**Does it predict accuracy?**")
        figure = figures.build(capture_accuracy, table, reading=agreement(table), theme=figures.theme())
        figures.draw(figure, key="capture-accuracy")
        figures.explain(figure, table, key="capture-accuracy", file_name="capture_accuracy.csv")
    st.markdown(f"**Where {budgets[0]:,} chosen entries go**")
    rows = matrices[matrices["budget"] == budgets[0]]
    figure = figures.build(entries_map, rows, theme=figures.theme())
    figures.draw(figure, key="entries-map")
    inside = float((rows["inside"] * rows["share"]).sum())
    st.caption(
        f"{inside:.0%} of the squared gradient lies between the thin singular vectors, where M can follow it at all."
    )
    figures.explain(figure, rows, key="entries-map", file_name="entries.csv")


@st.cache_resource(max_entries=16, show_spinner=False, hash_funcs={TrainingSpec: repr, OwnData: lambda own: own.name})
def _job(spec: TrainingSpec, budgets: tuple[int, ...], own: OwnData | None) -> Job:
    from analysis.training.diagnosis import diagnose_steps  # torch: not before somebody asks

    return Job(diagnose_steps, spec, budgets, own)


def _budgets(study: Study, measured: pd.DataFrame | None) -> tuple[int, ...]:
    """Return the budgets of the plan, and of the studies of its task, up to one entry per singular value."""
    shapes = block_shapes(study.base or get_task(study.task).base, study.target_modules)
    diagonal = sum(min(shape) for shape in shapes.values())
    asked = {budget for budget in study.budgets if budget <= diagonal}
    of_studies = set() if measured is None else set(measured["budget"])
    return tuple(sorted(int(budget) for budget in asked | of_studies)) or (diagonal,)
