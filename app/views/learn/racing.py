"""From a lesson to Race: the prepared study, in a class with a seed of the student's own."""

from __future__ import annotations

from dataclasses import replace

from analysis.common.errors import UserError
from analysis.models.packages import DEFAULT_BASE
from analysis.models.shapes import block_shapes
from analysis.trials.study import Study
from app import selection, trials
from app.views.race.plan import form

PREPARED = Study("bbc_headlines", ("head_only", "plain", "banded", "lora"), budgets=(41_472,))


def prepared() -> Study:
    """Return the study of the lesson, with the seed that this student has in the class."""
    return replace(PREPARED, seeds=(trials.class_seed(),))


def matrices() -> int:
    """Return how many matrices of the model are adapted."""
    return len(block_shapes(DEFAULT_BASE))


def go(study: Study) -> None:
    """Open Race with a plan filled in, from a callback."""
    try:
        form.fill(study)
    except UserError as error:
        form.complain(error)
    else:
        trials.open_study(None)
    selection.go("race", tab=selection.RACE_TABS[0])
