"""What the gradient says of patterns before any of them is trained: how much of it each can follow.

The first step of training with a pattern Ω moves M along the entries of G = Uᵀ (∂L/∂W) V in Ω, so that it follows
Σ_Ω G² / ‖∂L/∂W‖_F² of the squared gradient. How well that predicts accuracy is another question: see
`analysis.trials.prediction`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pandas as pd
import torch
from peft import get_peft_model
from transformers import PreTrainedModel

import svft
from analysis.common.errors import TaskError
from analysis.models.loading import linear_shape
from analysis.models.naming import places
from analysis.training.choosing import asked_budget, prepared, spread_limit, task_gradients
from analysis.training.data.own_data import OwnData, register
from analysis.training.methods import METHODS, svft_patterns
from analysis.training.specification import TrainingSpec
from svft.layer import layers_of
from svft.patterns import PATTERNS

Entries = dict[str, tuple[torch.Tensor, torch.Tensor]]  # module name -> rows, columns of the trained entries of M
_TOLERANCE = 0.1  # of a budget: a pattern whose nearest size is further away is left out, as in a study


def diagnose(spec: TrainingSpec, budgets: Sequence[int]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return `capture` of all patterns at all budgets, and `matrices`; see `diagnose_steps`."""
    steps = diagnose_steps(spec, budgets)
    next(steps)
    matrices, *captures = steps
    return pd.concat(captures, ignore_index=True), matrices


def diagnose_steps(spec: TrainingSpec, budgets: Sequence[int], own: OwnData | None = None) -> Iterator[Any]:
    """Yield the number of tables, then what follows from the mean gradient over a task's training examples.

    Args:
        spec: Of any method; its task, base, seed, examples and batch size are used.
        budgets: Entries of M in the whole model.
        own: The task's data if it is none of ours, for a process that does not know them.

    Yields:
        First the table of matrices, with a row for each matrix and budget: ``name``, ``label``, ``kind``, ``n``;
        ``inside``, the share of the squared gradient of W in span(U)×span(V); ``share``, the matrix's share of the
        squared gradient of all of them; ``budget``; ``entries``, what one ranking over all matrices gives it; and
        ``proportional``, what a budget spread in proportion to n does.

        Then for each pattern a table with a row for each budget that it can meet: ``pattern``, ``budget``,
        ``entries``, ``captured``, the share of the squared gradient of all W on its entries, for random in expectation
        over Ω; and ``chance``, what as many entries per matrix hold of a gradient without structure.

    Raises:
        UserError: If the task or the base cannot be loaded, or a budget does not fit.
    """
    if own is not None:
        register(own)
    patterns = [name for name in svft_patterns() if name in PATTERNS or METHODS[name].from_data]
    yield 1 + len(patterns)
    with _measured(spec) as (base, targets, gradients):
        shapes = {name: linear_shape(base.get_submodule(name)) for name in targets}
        proportional = {budget: drawn_entries(base, "random", budget, targets, spec.seed) for budget in budgets}
        chosen = {budget: _chosen_entries(gradients, budget) for budget in budgets}
        yield _matrices(gradients, chosen, proportional)
        for pattern in patterns:
            rows = []
            for budget in budgets:
                if pattern == "chosen":
                    entries = chosen[budget]
                elif pattern == "random":
                    entries = proportional[budget]
                else:
                    entries = drawn_entries(base, pattern, budget, targets, spec.seed)
                count = sum(len(i) for i, _ in entries.values())
                if abs(count - budget) <= _TOLERANCE * budget:
                    held = _captured(gradients, entries, expected=pattern == "random")
                    rows.append((pattern, budget, count, held, _chance(gradients, shapes, entries)))
            yield pd.DataFrame(rows, columns=["pattern", "budget", "entries", "captured", "chance"])


def choice_steps(spec: TrainingSpec, own: OwnData | None = None) -> Iterator[Any]:
    """Yield 1, then why a run of the method chosen got its entries.

    Args:
        spec: Of the run.
        own: See `diagnose_steps`.

    Yields:
        The table of matrices of `diagnose_steps`, at the budget of the run; a table with a row for each chosen entry,
        by descending score: ``name`` of its module, ``i``, ``j``, ``score``, the magnitude of the mean gradient by
        M_ij at M = 0; and two shares of the squared gradient of all W: ``captured`` by these entries, and
        ``random``, what as many random ones in proportion to n are expected to capture.

    Raises:
        UserError: See `diagnose_steps`.
    """
    if own is not None:
        register(own)
    yield 1
    with _measured(spec) as (base, targets, gradients):
        budget = asked_budget(spec.resolved(), [gradients[name].n for name in targets])
        chosen = _chosen_entries(gradients, budget)
        proportional = drawn_entries(base, "random", budget, targets, spec.seed)
    entries = pd.concat(
        pd.DataFrame({"name": name, "i": i, "j": j, "score": gradients[name].mean[i, j].abs()})
        for name, (i, j) in chosen.items()
    )
    yield (
        _matrices(gradients, {budget: chosen}, {budget: proportional}),
        entries.sort_values("score", ascending=False, kind="stable", ignore_index=True),
        {
            "captured": _captured(gradients, chosen, expected=False),
            "random": _captured(gradients, proportional, expected=True),
        },
    )


@contextmanager
def _measured(spec: TrainingSpec) -> Iterator[tuple[PreTrainedModel, list[str], dict[str, svft.MeanGradient]]]:
    """Give the base with the run's head, the modules that it may adapt, and the gradients that its choice ranks."""
    with prepared(spec) as asked:
        yield asked.model, asked.targets, {gradient.name: gradient for gradient in task_gradients(*asked)}


def drawn_entries(base: PreTrainedModel, pattern: str, budget: int, targets: Sequence[str], seed: int) -> Entries:
    """Return the entries that an adapter of a pattern trains; the base is left as it was.

    Args:
        base: The base model.
        pattern: Name of a pattern that is not chosen from data.
        budget: Entries of M in the whole model.
        targets: Full names of the adapted modules.
        seed: Of the pattern.

    Raises:
        TaskError: If the matrices cannot have that budget.
    """
    try:
        config = svft.SvftConfig(pattern=pattern, budget=budget, target_modules=list(targets), seed=seed)
        required = [p.requires_grad for p in base.parameters()]
        model = get_peft_model(base, config)
    except svft.SvftError as error:
        raise TaskError(str(error)) from error
    prefix = "base_model.model."
    entries = {
        name.removeprefix(prefix): layer.coefficient_positions("default")
        for name, layer in layers_of(model, "default").items()
    }
    model.unload()
    for p, asks in zip(base.parameters(), required, strict=True):
        p.requires_grad_(asks)
    return entries


def _chosen_entries(gradients: dict[str, svft.MeanGradient], budget: int) -> Entries:
    limit = spread_limit(budget, [gradient.n for gradient in gradients.values()])
    try:
        chosen = svft.rank_gradients(gradients.values(), budget=budget, spread=limit)
    except svft.SvftError as error:
        raise TaskError(str(error)) from error
    return {matrix.name: (matrix.rows, matrix.cols) for matrix in chosen.matrices}


def _captured(gradients: dict[str, svft.MeanGradient], entries: Entries, *, expected: bool) -> float:
    """Return which share of the squared gradient of all W lies on these entries, or is expected on as many."""
    held = 0.0
    for name, (i, j) in entries.items():
        gradient = gradients[name]
        if expected:
            held += gradient.energy * len(i) / gradient.n**2
        else:
            held += float(gradient.mean.double()[i, j].square().sum())
    return held / _total(gradients)


def _chance(gradients: dict[str, svft.MeanGradient], shapes: dict[str, tuple[int, int]], entries: Entries) -> float:
    """Return which share as many entries per matrix hold if the gradient of each W is noise of its norm."""
    held = sum(gradients[name].weight_energy * len(i) / math.prod(shapes[name]) for name, (i, _) in entries.items())
    return held / _total(gradients)


def _total(gradients: dict[str, svft.MeanGradient]) -> float:
    return sum(gradient.weight_energy for gradient in gradients.values()) or 1.0


def _matrices(
    gradients: dict[str, svft.MeanGradient], chosen: dict[int, Entries], proportional: dict[int, Entries]
) -> pd.DataFrame:
    rows = [
        {
            "name": place.name,
            "label": place.label,
            "kind": place.kind,
            "n": gradients[place.name].n,
            "inside": gradients[place.name].inside,
            "share": gradients[place.name].weight_energy / _total(gradients),
            "budget": budget,
            "entries": len(chosen[budget][place.name][0]),
            "proportional": len(proportional[budget][place.name][0]),
        }
        for budget in chosen
        for place in places(list(gradients))
    ]
    return pd.DataFrame(rows)
