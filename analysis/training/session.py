"""Train one method on one task, from a plain specification.

The same session serves the command line, the shipped adapters and live trials.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import PeftModel
from torch import nn
from transformers import PreTrainedModel

from analysis.models.heads import is_head
from analysis.models.loading import Encoder, block_linears
from analysis.models.modules import choose_targets
from analysis.training.batches import batch, load_for
from analysis.training.choosing import choose_entries
from analysis.training.methods import METHODS, count_budget
from analysis.training.specification import SCHEDULES, TrainingSpec, choose_examples

WARMUP_RATIO = 0.1
WEIGHT_DECAY = 0.01
CUSTOM_INDICES_FILE = "custom_indices.json"


@dataclass(frozen=True)
class Step:
    """What a training step reports: `step` counts from 1 to `steps`."""

    step: int
    steps: int
    loss: float
    learning_rate: float


@dataclass(frozen=True)
class TrainingRun:
    """A trained model and how it came about.

    Attributes:
        spec: The specification, resolved.
        model: The trained model in eval mode; a `PeftModel` except for full fine-tuning.
        encode: Makes the base's inputs from texts, images or pairs.
        budget: Trainable parameters, excluding the head.
        losses: Loss of each step done.
        stopped: Whether it was stopped before the last step.
    """

    spec: TrainingSpec
    model: PreTrainedModel | PeftModel
    encode: Encoder
    budget: int
    losses: list[float]
    stopped: bool

    def save(self, directory: str | Path) -> None:
        """Write a PEFT adapter directory, or for full fine-tuning a whole checkpoint."""
        # With "auto", PEFT would ask the Hub whether the base's vocabulary was resized.
        options: dict[str, Any] = {"save_embedding_layers": False} if hasattr(self.model, "peft_config") else {}
        self.model.save_pretrained(str(directory), **options)
        if self.spec.custom_indices is not None:
            text = json.dumps(self.spec.custom_indices)
            (Path(directory) / CUSTOM_INDICES_FILE).write_text(text, encoding="utf-8")


class TrainingSession:
    """One training run that can pause between any two steps, and go on elsewhere from its `state`.

    The same specification on the same number of threads gives the same result, however it was divided, and whatever
    else the process trained in between.

    Attributes:
        spec: The specification, resolved.
        model: The model, in eval mode between calls.
        encode: Makes the base's inputs from texts, images or pairs.
        losses: Loss of each step done.
    """

    def __init__(self, spec: TrainingSpec, state: bytes | None = None) -> None:
        """Build the model at step 0, or where `state` was taken.

        Args:
            spec: What to train.
            state: Of a session of the same specification.

        Raises:
            UserError: If it cannot be trained as specified.
        """
        self.spec = spec = spec.resolved()
        self.losses: list[float] = []
        self._examples = choose_examples(spec)
        restored = torch.load(io.BytesIO(state), weights_only=True) if state is not None else None
        options = spec.options
        with torch.random.fork_rng(devices=[]):  # the caller's generator stays where it was
            torch.manual_seed(spec.seed)
            base, self.encode = load_for(spec)
            targets = choose_targets(block_linears(base), spec.target_modules)
            if METHODS[spec.method].from_data:
                options = replace(options, chosen_indices=self._choose(base, targets, restored))
            self.model = METHODS[spec.method].build(base, options, targets).eval()
            self._random_state = torch.get_rng_state()
        self._chosen = options.chosen_indices
        self._optimizer = _optimizer(self.model, spec)
        if restored is not None:
            self._restore(restored)
        self._batches = _batches(spec, len(self._examples), start=len(self.losses))

    @property
    def step(self) -> int:
        """Number of steps done."""
        return len(self.losses)

    @property
    def done(self) -> bool:
        """Whether the last step is done."""
        return self.step >= self.spec.steps

    def train_step(self) -> Step:
        """Do one step."""
        share = _learning_rate_share(self.spec, self.step)
        for group in self._optimizer.param_groups:
            group["lr"] = group["peak"] * share
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(self._random_state)
            loss = self._step_on(next(self._batches))
            self._random_state = torch.get_rng_state()
        self.losses.append(loss.item())
        return Step(self.step, self.spec.steps, self.losses[-1], self._optimizer.param_groups[0]["lr"])

    def repeat_first_step(self) -> None:
        """Do the first step without counting it: only its cost is of interest, the model is of no use afterwards."""
        self._step_on(next(_batches(self.spec, len(self._examples), start=0)))

    def state_bytes(self) -> int:
        """Return about how large `state` is: trained values and AdamW's two moments of each."""
        return 3 * sum(p.numel() * p.element_size() for p in self.model.parameters() if p.requires_grad)

    def resident_bytes(self) -> int:
        """Return about how much memory the session takes between steps."""
        tensors = (*self.model.parameters(), *self.model.buffers())
        return self.state_bytes() + sum(t.untyped_storage().nbytes() for t in tensors)

    def state(self) -> bytes:
        """Return all that another session needs to go on from here: trained values, optimizer, random generator."""
        file = io.BytesIO()
        trained = {name: p.detach() for name, p in self.model.named_parameters() if p.requires_grad}
        optimizer = self._optimizer.state_dict()
        torch.save(
            {
                "trained": trained,
                "optimizer": optimizer,
                "random": self._random_state,
                "losses": self.losses,
                "chosen": self._chosen,
            },
            file,
        )
        return file.getvalue()

    def finish(self) -> TrainingRun:
        """Return the run as it stands."""
        return TrainingRun(
            self.spec, self.model, self.encode, count_budget(self.model), list(self.losses), not self.done
        )

    def _step_on(self, chosen: np.ndarray) -> torch.Tensor:
        """Step on the given examples, leaving the model in eval mode; return the loss."""
        self.model.train()
        loss = self.model(**batch(self._examples, chosen, self.encode)).loss
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._optimizer.step()
        self.model.eval()
        return loss.detach()

    def _choose(self, base: nn.Module, targets: list[str], restored: dict | None) -> dict[str, list[tuple[int, int]]]:
        """Return the chosen entries by module: those of the session that goes on here, else chosen now."""
        if restored is not None:
            return restored["chosen"]
        before = torch.get_rng_state()  # what follows draws as it would without a choice
        indices = choose_entries(base, self.spec, targets, self._examples, self.encode).custom_indices
        torch.set_rng_state(before)
        return indices

    def _restore(self, values: dict) -> None:
        parameters = dict(self.model.named_parameters())
        with torch.no_grad():
            for name, value in values["trained"].items():
                parameters[name].copy_(value)
        self._optimizer.load_state_dict(values["optimizer"])
        self._random_state = values["random"]
        self.losses = values["losses"]


def train(
    spec: TrainingSpec,
    on_step: Callable[[Step], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> TrainingRun:
    """Train one method on one task. The same specification on the same number of threads gives the same result.

    Args:
        spec: What to train.
        on_step: Called after each step.
        should_stop: Asked before each step; if it answers True, the run ends with what it has learned so far
            (for example `threading.Event().is_set`).

    Raises:
        UserError: If it cannot be trained as specified.
    """
    session = TrainingSession(spec)
    while not session.done and not (should_stop and should_stop()):
        step = session.train_step()
        if on_step:
            on_step(step)
    return session.finish()


def _batches(spec: TrainingSpec, examples: int, start: int) -> Iterator[np.ndarray]:
    """Yield the examples of each batch for ever, (batch,) int64, from step `start` on; each epoch has a new order."""
    generator = np.random.default_rng([spec.seed, 1])
    order = np.empty(0, dtype=np.int64)
    step = 0
    while True:
        while len(order) < spec.batch_size:  # a batch may span two epochs
            order = np.concatenate([order, generator.permutation(examples)])
        batch, order = order[: spec.batch_size], order[spec.batch_size :]
        if step >= start:
            yield batch
        step += 1


def _optimizer(model: nn.Module, spec: TrainingSpec) -> torch.optim.Optimizer:
    """AdamW with the method's parameters first and the head at its own peak learning rate, if there are such."""
    trainable = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    method = [p for name, p in trainable if not is_head(name)]
    head = [p for name, p in trainable if is_head(name)]
    groups = [{"params": method, "peak": spec.learning_rate}, {"params": head, "peak": spec.head_learning_rate}]
    return torch.optim.AdamW([group for group in groups if group["params"]], weight_decay=WEIGHT_DECAY, fused=True)


def _learning_rate_share(spec: TrainingSpec, step: int) -> float:
    """Share of the peak learning rate at `step`, counted from 0."""
    warmup = math.ceil(WARMUP_RATIO * spec.steps)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return SCHEDULES[spec.schedule]((step - warmup) / max(1, spec.steps - warmup))
