"""The plan as a form: what its widgets hold, as a `Study`, and back.

Each widget keeps its value under its key for the whole session. What the form has no widget for stays as it came, in
the study under "plan".
"""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from analysis.common.errors import UserError
from analysis.models.naming import places
from analysis.models.shapes import block_shapes
from analysis.planning.sizing import budget_range, count_parameters
from analysis.training.methods import METHODS
from analysis.training.specification import own_learning_rate
from analysis.training.tasks import TASKS, get_task
from analysis.trials.study import Study
from app import selection, trials

MAIN = ("head_only", "plain", "banded", "random", "chosen", "lora", "full")
OWN = "own data"  # among the tasks, before a file was chosen
_EVALUATE_EVERY = 20  # steps: evaluated twice as often, the default study takes longer than three minutes on two cores
SWEEP = (0.3, 1.0, 3.0)  # times a method's own learning rate


def more() -> tuple[str, ...]:
    """Return the methods that are not in `MAIN`, custom last."""
    return tuple(sorted((method for method in METHODS if method not in MAIN), key=lambda method: method == "custom"))


def default_study(task: str, base: str | None = None) -> Study:
    """Return the study that a visitor finds filled in, on the task's own base model or another one.

    Its budgets are a tenth of plain's diagonal, where patterns differ (0.006% of the default text model, the paper's
    smallest budget), and that of LoRA's smallest size.

    Raises:
        TaskError: If the task is not here.
    """
    shapes = list(block_shapes(base or get_task(task).base).values())
    small = count_parameters("plain", shapes) // 10
    budgets = (small, count_parameters("lora", shapes, size=1))
    return Study(task, MAIN, budgets=budgets, base=base, evaluate_every=_EVALUATE_EVERY).resolved()


def begin() -> None:
    """Fill the form at a session's first sight of it."""
    if "plan" not in st.session_state:
        fill(default_study(next(iter(TASKS))))


def fill(study: Study) -> None:
    """Put a study into the form; the form stays as it is if that fails.

    Raises:
        UserError: If it cannot be trained here.
    """
    trials.own_data(study.task)
    study = study.resolved()
    if study.base != get_task(study.task).base:
        selection.base_directory(study.base)  # a sentence, if it is not here or not for this visitor
    study.plan()
    sweeps = [method for method, rates in study.learning_rates.items() if len(rates) > 1]
    st.session_state.update(
        {
            "plan": study,
            "plan-task": study.task if study.task in TASKS else OWN,
            "plan-budget": (study.budgets or default_study(study.task, study.base).budgets)[0],
            "plan-more-budgets": list(study.budgets[1:]),
            "plan-seeds": len(study.seeds),
            "plan-steps": study.steps,
            "plan-batch": study.batch_size,
            "plan-examples": study.examples,
            "plan-kinds": _whole_kinds(study),
            "plan-sweeps": sweeps,
            **{f"plan-use-{method}": method in study.methods for method in METHODS},
        }
    )


def change_task() -> None:
    """Fill the form for the task that was just chosen; what does not depend on the task stays."""
    before, task = st.session_state["plan"], st.session_state["plan-task"]
    if task == OWN:
        if "own-data" not in st.session_state:
            return  # until there are some
        task = st.session_state["own-data"].name
    try:
        given = read()
        own = given.base != get_task(before.task).base and get_task(task).kind == get_task(before.task).kind
        default = default_study(task, given.base if own else None)
        methods = tuple(method for method in given.methods if method != "custom" or given.base == default.base)
        fill(
            replace(
                default,
                methods=methods or MAIN,
                custom_indices=given.custom_indices if "custom" in methods else None,
                seeds=given.seeds,
                steps=given.steps,
                batch_size=given.batch_size,
                learning_rates={},
            )
        )
    except UserError as error:
        st.session_state["plan-task"] = before.task if before.task in TASKS else OWN
        complain(error)


def forget_base() -> None:
    """Fill the form for the task's own base model, from a callback."""
    try:
        fill(default_study(st.session_state["plan"].task))
    except UserError as error:
        complain(error)


def forget_sizes() -> None:
    """Let the budget decide about sizes that a plan has named."""
    start, budget = st.session_state["plan"], st.session_state["plan-budget"]
    st.session_state["plan"] = replace(start, sizes={}, budgets=(budget,))


def complain(error: UserError) -> None:
    """Have the page show, once, why something was not done."""
    st.session_state["complaint"] = str(error)


def show_complaint() -> None:
    """Show what `complain` was told, if anything."""
    if complaint := st.session_state.pop("complaint", None):
        st.error(complaint, icon=":material/error:")


def read() -> Study:
    """Return the study that the form describes.

    Raises:
        UserError: If it describes none.
    """
    given, start = st.session_state, st.session_state["plan"]
    methods = tuple(method for method in (*MAIN, *more()) if given.get(f"plan-use-{method}"))
    n_seeds = given["plan-seeds"]
    return replace(
        start,
        methods=methods,
        budgets=tuple(sorted({given["plan-budget"], *given["plan-more-budgets"]})),
        seeds=start.seeds if n_seeds == len(start.seeds) else tuple(range(n_seeds)),
        sizes={method: sizes for method, sizes in start.sizes.items() if method in methods},
        learning_rates=_learning_rates(start, methods, given["plan-sweeps"]),
        target_modules=_target_modules(start, given["plan-kinds"]),
        steps=given["plan-steps"],
        batch_size=given["plan-batch"],
        examples=given["plan-examples"],
        custom_indices=start.custom_indices if "custom" in methods else None,
        # Rates that are chosen by the result are not chosen on the test split.
        final_split="validation" if set(given["plan-sweeps"]) & set(methods) else "test",
    )


def kinds(base: str) -> dict[str, list[str]]:
    """Return the kinds of weights of a base, each with the names of its modules."""
    by_kind: dict[str, list[str]] = {}
    for place in places(list(block_shapes(base))):
        by_kind.setdefault(place.kind, []).append(place.name)
    return by_kind


def budget_stops(study: Study) -> list[int]:
    """Return the budgets that can be chosen: the smallest, then evenly spaced on a log scale, four to each doubling.

    Among them are LoRA's at the ranks 1, 2, 4, 8, …
    """
    shapes = list(block_shapes(study.base, study.target_modules).values())
    lowest, highest = budget_range(METHODS, shapes)
    smallest = count_parameters("lora", shapes, size=1)
    stops = {round(smallest * 2 ** (quarter / 4)) for quarter in range(-80, 81)}
    return sorted({stop for stop in stops if lowest <= stop <= highest}.union(study.budgets, [lowest]))


def _learning_rates(start: Study, methods: tuple[str, ...], sweeps: list[str]) -> dict[str, tuple[float, ...]]:
    rates = {}
    for method in methods:
        own = start.learning_rates.get(method, (own_learning_rate(method, get_task(start.task)),))
        if (len(own) > 1) == (method in sweeps):
            rates[method] = own
        elif method in sweeps:
            rates[method] = tuple(float(f"{own[0] * share:.2g}") for share in SWEEP)
    return rates


def _target_modules(start: Study, chosen: list[str]) -> tuple[str, ...] | None:
    """Return the modules of the chosen kinds, and those of `start` if these are its kinds."""
    if not chosen:
        raise UserError("Choose at least one kind of weights to adapt.")
    if chosen == _whole_kinds(start):
        return start.target_modules
    every = kinds(start.base)
    return None if set(chosen) == set(every) else tuple(module for kind in chosen for module in every[kind])


def _whole_kinds(study: Study) -> list[str]:
    targets = set(block_shapes(study.base, study.target_modules))
    return [kind for kind, modules in kinds(study.base).items() if set(modules) <= targets]
