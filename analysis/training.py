"""Train one method on one task, from a plain specification.

The same function serves the command line, the shipped adapters and live trials.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Iterator
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from analysis.bases import DEFAULT_BASE, block_linears, load_base, load_tokenizer
from analysis.methods import METHODS, count_budget, is_head
from analysis.tasks import Examples, get_task

WARMUP_RATIO = 0.1
WEIGHT_DECAY = 0.01

# Share of the learning rate left at a share `t` of the steps after warm-up.
SCHEDULES: dict[str, Callable[[float], float]] = {
    "linear": lambda t: 1.0 - t,
    "cosine": lambda t: 0.5 * (1.0 + math.cos(math.pi * t)),
    "constant": lambda t: 1.0,
}


class SpecificationError(ValueError):
    """A specification that cannot be trained, in one sentence for people."""


@dataclass(frozen=True)
class TrainingSpec:
    """Everything that determines one training run; `to_dict` is JSON.

    Attributes:
        task: A name in `analysis.tasks.TASKS`.
        method: A name in `analysis.methods.METHODS`.
        size: The method's size (off_diag, or rank); None takes the method's own.
        base: Hub id or local path of the base model.
        target_modules: Names, or ends of names, of the linear layers to adapt; None takes all inside the blocks.
        steps: Optimizer steps.
        batch_size: Examples a step.
        learning_rate: Peak learning rate of everything but the head; None takes the method's own.
        head_learning_rate: Peak learning rate of the head; None takes the method's own.
        schedule: A name in `SCHEDULES`, after a warm-up over the first tenth of the steps.
        seed: Of the choice of training examples, the head, the order of batches, dropout and the pattern.
        examples: Training examples, drawn from the train split; None takes the task's own number.
    """

    task: str
    method: str
    size: int | None = None
    base: str = DEFAULT_BASE
    target_modules: tuple[str, ...] | None = None
    steps: int = 100
    batch_size: int = 16
    learning_rate: float | None = None
    head_learning_rate: float | None = None
    schedule: str = "linear"
    seed: int = 0
    examples: int | None = None

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise SpecificationError(f"There is no method {self.method!r}; the methods are {', '.join(METHODS)}.")
        if self.schedule not in SCHEDULES:
            raise SpecificationError(
                f"There is no schedule {self.schedule!r}; the schedules are {', '.join(SCHEDULES)}."
            )
        for name in ("steps", "batch_size", "head_learning_rate", "learning_rate", "examples"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise SpecificationError(f"{name}={value!r} must be greater than 0.")
        if self.seed < 0:
            raise SpecificationError(f"seed={self.seed!r} must be at least 0.")
        method = METHODS[self.method]
        if self.size is not None and method.size_name is None:
            raise SpecificationError(f"The method {method.title} has one size only: leave size out.")
        if self.target_modules is not None:
            object.__setattr__(self, "target_modules", tuple(self.target_modules))
        task = get_task(self.task)
        if self.examples is not None and self.examples > (available := len(task.load().train)):
            raise SpecificationError(
                f"examples={self.examples} is more than the train split of {self.task} has: {available}."
            )

    def resolved(self) -> TrainingSpec:
        """Return the same specification with every default written out, as adapters record it."""
        method = METHODS[self.method]
        return replace(
            self,
            size=method.size if self.size is None else self.size,
            learning_rate=method.learning_rate if self.learning_rate is None else self.learning_rate,
            head_learning_rate=(
                method.head_learning_rate if self.head_learning_rate is None else self.head_learning_rate
            ),
            examples=get_task(self.task).examples if self.examples is None else self.examples,
        )

    def to_dict(self) -> dict:
        """Return the specification as JSON types."""
        return asdict(self)

    def command(self, output: str) -> str:
        """Return the `svft train` command that trains this and writes it to the directory `output`."""
        words = ["svft", "train", "--output", shlex.quote(output)]
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and (field.default is MISSING or value != field.default):
                option = f"--{field.name.replace('_', '-')}"
                for single in value if isinstance(value, tuple) else (value,):
                    words += [option, shlex.quote(str(single))]
        return " ".join(words)

    @classmethod
    def from_dict(cls, values: dict) -> TrainingSpec:
        """Return the specification that `to_dict` wrote.

        Raises:
            SpecificationError: On a field that does not exist.
        """
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown:
            raise SpecificationError(f"A training specification has no field {', '.join(sorted(unknown))}.")
        return cls(**values)


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
        tokenizer: Of the base.
        budget: Trainable parameters, the head not counted.
        losses: Loss of each step done.
        stopped: Whether it was stopped before the last step.
    """

    spec: TrainingSpec
    model: nn.Module
    tokenizer: PreTrainedTokenizerBase
    budget: int
    losses: list[float]
    stopped: bool

    def save(self, directory: str | Path) -> None:
        """Write a PEFT adapter directory, or for full fine-tuning a whole checkpoint."""
        # With "auto", PEFT would ask the Hub whether the base's vocabulary was resized.
        options = {"save_embedding_layers": False} if hasattr(self.model, "peft_config") else {}
        self.model.save_pretrained(str(directory), **options)


def train(
    spec: TrainingSpec,
    on_step: Callable[[Step], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> TrainingRun:
    """Train one method on one task. The same specification on the same number of threads gives the same result.

    Args:
        spec: What to train.
        on_step: Called after each step.
        should_stop: Asked before each step; where it answers True, the run ends with what it has learned so far
            (for example `threading.Event().is_set`).
    """
    spec = spec.resolved()
    task = get_task(spec.task)
    with torch.random.fork_rng(devices=[]):  # the caller's generator stays where it was
        torch.manual_seed(spec.seed)
        base = load_base(spec.base, task.labels)
        targets = choose_targets(base, spec.target_modules)
        model = METHODS[spec.method].build(base, spec.size, targets, spec.seed)
        tokenizer = load_tokenizer(spec.base)
        optimizer = _optimizer(model, spec)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _learning_rate_share(spec, step))
        batches = _batches(task.load().train, tokenizer, spec)
        losses: list[float] = []
        model.train()
        while len(losses) < spec.steps and not (should_stop and should_stop()):
            loss = model(**next(batches)).loss
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            learning_rate = scheduler.get_last_lr()[0]
            optimizer.step()
            scheduler.step()
            losses.append(loss.item())
            if on_step:
                on_step(Step(len(losses), spec.steps, losses[-1], learning_rate))
    model.eval()
    return TrainingRun(spec, model, tokenizer, count_budget(model), losses, len(losses) < spec.steps)


def choose_targets(model: nn.Module, target_modules: tuple[str, ...] | None) -> list[str]:
    """Return the full names of the linear layers inside the blocks whose name is, or ends in, one of those given.

    Raises:
        SpecificationError: Where one of them matches no layer.
    """
    linears = block_linears(model)
    if target_modules is None:
        return linears
    for target in target_modules:
        if not any(f".{name}".endswith(f".{target}") for name in linears):
            raise SpecificationError(
                f"target_modules names {target!r}, which is no linear layer inside the blocks of this model; "
                f"the first block has {', '.join(linears[: len(linears) // model.config.num_hidden_layers])}."
            )
    return [name for name in linears if any(f".{name}".endswith(f".{target}") for target in target_modules)]


def choose_examples(spec: TrainingSpec, train_split: Examples) -> Examples:
    """Return the training examples of a resolved specification: a draw from the train split by its seed.

    With equal seeds a smaller number is a part of a larger one, and all methods see the same examples.
    """
    chosen = np.random.default_rng(spec.seed).permutation(len(train_split))[: spec.examples]
    return Examples(tuple(train_split.texts[i] for i in chosen), train_split.labels[chosen])


def _batches(train_split: Examples, tokenizer: PreTrainedTokenizerBase, spec: TrainingSpec) -> Iterator[dict]:
    """Yield batches for ever, each epoch in a new order: input_ids, attention_mask, … (batch, length), labels."""
    examples = choose_examples(spec, train_split)
    generator = np.random.default_rng([spec.seed, 1])
    order = np.empty(0, dtype=np.int64)
    while True:
        while len(order) < spec.batch_size:  # a batch may span two epochs
            order = np.concatenate([order, generator.permutation(len(examples))])
        batch, order = order[: spec.batch_size], order[spec.batch_size :]
        inputs = tokenizer([examples.texts[i] for i in batch], padding=True, truncation=True, return_tensors="pt")
        yield {**inputs, "labels": torch.from_numpy(examples.labels[batch])}


def _optimizer(model: nn.Module, spec: TrainingSpec) -> torch.optim.Optimizer:
    """AdamW with the method's parameters first, where there are any, and the head at its own learning rate."""
    trainable = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    method = [p for name, p in trainable if not is_head(name)]
    head = [p for name, p in trainable if is_head(name)]
    groups = [{"params": method, "lr": spec.learning_rate}] if method else []
    return torch.optim.AdamW(
        [*groups, {"params": head, "lr": spec.head_learning_rate}], weight_decay=WEIGHT_DECAY, fused=True
    )


def _learning_rate_share(spec: TrainingSpec, step: int) -> float:
    """Share of the peak learning rate at `step`, counted from 0."""
    warmup = math.ceil(WARMUP_RATIO * spec.steps)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return SCHEDULES[spec.schedule]((step - warmup) / max(1, spec.steps - warmup))
