"""Choosing the pattern of a training run from its own training examples, before it is built."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

import svft
from analysis.models.heads import is_head
from analysis.models.loading import Encoder, block_linears, linear_shape
from analysis.models.modules import choose_targets
from analysis.training.batches import batch, load_for
from analysis.training.methods import METHODS
from analysis.training.specification import TrainingSpec, choose_examples
from analysis.training.tasks import Examples
from svft.patterns import pattern_size

HEAD_STEPS = 30  # of the head alone: the gradient through a random head says nothing about the task


def choose_for(spec: TrainingSpec) -> svft.ChosenPattern:
    """Choose the entries that a run of the method chosen trains, without training it.

    Args:
        spec: Of the method chosen.

    Returns:
        The same choice as `analysis.training.session.TrainingSession` makes.

    Raises:
        UserError: If it cannot be trained as specified.
    """
    with prepared(spec) as asked:
        return choose_entries(*asked)


class Asked(NamedTuple):
    """What a choice is made from: the arguments of `choose_entries`."""

    model: PreTrainedModel
    spec: TrainingSpec
    targets: list[str]
    examples: Examples
    encode: Encoder


@contextmanager
def prepared(spec: TrainingSpec) -> Iterator[Asked]:
    """Give what a run chooses its entries from, with the draws of its seed.

    Raises:
        UserError: If it cannot be trained as specified.
    """
    spec = spec.resolved()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(spec.seed)
        base, encode = load_for(spec)
        targets = choose_targets(block_linears(base), spec.target_modules)
        yield Asked(base, spec, targets, choose_examples(spec), encode)


def choose_entries(
    model: nn.Module, spec: TrainingSpec, targets: Sequence[str], examples: Examples, encode: Encoder
) -> svft.ChosenPattern:
    """Choose the entries of M that a run trains, by the mean gradient over its training examples.

    Args:
        model: The base model with a new head; it is left as it was.
        spec: Resolved; its seed, batch size, and budget or size are used.
        targets: Full names of the modules that may be adapted.
        examples: The run's training examples.
        encode: Makes the base's inputs.
    """
    sizes = [min(linear_shape(model.get_submodule(name))) for name in targets]
    budget = asked_budget(spec, sizes)
    with _trained_head(model, spec, examples, encode):
        return svft.choose_pattern(
            model,
            list(_epoch(spec, examples, encode)),
            budget=budget,
            target_modules=list(targets),
            spread=spread_limit(budget, sizes),
        )


def task_gradients(
    model: nn.Module, spec: TrainingSpec, targets: Sequence[str], examples: Examples, encode: Encoder
) -> Iterator[svft.MeanGradient]:
    """Yield the mean gradients by M that `choose_entries` ranks; the arguments are its own."""
    with _trained_head(model, spec, examples, encode):
        yield from svft.mean_gradients(model, list(_epoch(spec, examples, encode)), target_modules=list(targets))


def asked_budget(spec: TrainingSpec, sizes: Sequence[int]) -> int:
    """Return the number of entries that a resolved specification of the method chosen asks for.

    Args:
        spec: With a budget, or an off_diag d that stands for as many entries as a band of that width has.
        sizes: n of each matrix.
    """
    if spec.budget is not None:
        return spec.budget
    off_diag = spec.size
    assert off_diag is not None  # a resolved specification has one of the two
    return sum(pattern_size(n, off_diag) for n in sizes)


def spread_limit(budget: int, sizes: Sequence[int]) -> int:
    """Return the least limit on the entries of a row and a column with which all M hold twice the budget.

    Args:
        budget: Entries in the whole model.
        sizes: n of each matrix.
    """
    return max(1, math.ceil(2 * budget / sum(sizes)))


@contextmanager
def _trained_head(model: nn.Module, spec: TrainingSpec, examples: Examples, encode: Encoder) -> Iterator[None]:
    """Train the head alone, if there is one, at the rate of the method head only; afterwards it is as it was.

    So the run starts from the same head as those of other methods.
    """
    head = {name: p for name, p in model.named_parameters() if is_head(name)}
    if not head:  # a language model's is no new one
        yield
        return
    before = {name: p.detach().clone() for name, p in head.items()}
    _train_head(model, list(head.values()), _batches(spec, examples, encode, HEAD_STEPS))
    try:
        yield
    finally:
        with torch.no_grad():
            for name, p in head.items():
                p.copy_(before[name])


def _train_head(model: nn.Module, head: list[nn.Parameter], batches: Iterator[dict[str, torch.Tensor]]) -> None:
    required = [p.requires_grad for p in model.parameters()]
    model.requires_grad_(False)
    for p in head:
        p.requires_grad_(True)
    optimizer = torch.optim.AdamW(head, lr=METHODS["head_only"].head_learning_rate)
    for inputs in batches:
        optimizer.zero_grad()
        model(**inputs).loss.backward()
        optimizer.step()
    optimizer.zero_grad()
    for p, asks in zip(model.parameters(), required, strict=True):
        p.requires_grad_(asks)


def _epoch(spec: TrainingSpec, examples: Examples, encode: Encoder) -> Iterator[dict[str, torch.Tensor]]:
    """Yield all examples once, in batches of nearly equal size: each batch counts alike."""
    order = np.arange(len(examples))
    for part in np.array_split(order, max(1, len(examples) // spec.batch_size)):
        yield batch(examples, part, encode)


def _batches(spec: TrainingSpec, examples: Examples, encode: Encoder, steps: int) -> Iterator[dict[str, torch.Tensor]]:
    generator = np.random.default_rng([spec.seed, 2])
    for _ in range(steps):
        yield batch(examples, generator.choice(len(examples), min(spec.batch_size, len(examples)), False), encode)
