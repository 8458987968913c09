"""What determines one training run, as plain data. Light: no torch, so that a page can plan without waiting for it."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable
from dataclasses import MISSING, asdict, dataclass, fields, replace

import numpy as np

from analysis.common.errors import UserError
from analysis.models.shapes import block_shapes
from analysis.training.methods import METHODS, Options
from analysis.training.tasks import Examples, Task, get_task

# Share of the learning rate left at a share `t` of the steps after warm-up.
SCHEDULES: dict[str, Callable[[float], float]] = {
    "linear": lambda t: 1.0 - t,
    "cosine": lambda t: 0.5 * (1.0 + math.cos(math.pi * t)),
    "constant": lambda t: 1.0,
}


FEW_ENTRIES = 0.5  # of M per row: below, the head needs a higher rate
SMALL_HEAD_RATE = 3e-2  # chosen on the validation splits of headlines and digits


@dataclass(frozen=True)
class TrainingSpec:
    """Everything that determines one training run; `to_dict` is JSON.

    Attributes:
        task: A name in `analysis.training.tasks.TASKS`.
        method: A name in `analysis.training.methods.METHODS`.
        size: The method's size (off_diag, or rank); None takes the method's own.
        budget: Instead of a size, the number of entries of M in the whole adapter: exact for random, top_k, chosen and
            plain; banded takes the nearest. A budget too small for all directions leaves plain and banded the leading
            ones.
        custom_indices: For the method custom: the trained entries (i, j) of M, the same ones in every matrix.
        base: Hub id or local path of the base model; None takes the task's own.
        target_modules: Names, or ends of names, of the linear layers to adapt; None takes all inside the blocks.
        steps: Optimizer steps.
        batch_size: Examples per step.
        learning_rate: Peak learning rate of everything but the head; None takes the method's own.
        head_learning_rate: Peak learning rate of the head; None takes the method's own.
        schedule: A name in `SCHEDULES`, after a warm-up over the first tenth of the steps.
        seed: Of the choice of training examples, the head, the order of batches, dropout and the pattern.
        examples: Training examples, drawn from the train split; None takes the task's own number.
        set_apart: Whether they are drawn from the train split without the confirmation split.
    """

    task: str
    method: str
    size: int | None = None
    budget: int | None = None
    custom_indices: tuple[tuple[int, int], ...] | None = None
    base: str | None = None
    target_modules: tuple[str, ...] | None = None
    steps: int = 100
    batch_size: int = 16
    learning_rate: float | None = None
    head_learning_rate: float | None = None
    schedule: str = "linear"
    seed: int = 0
    examples: int | None = None
    set_apart: bool = False

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UserError(f"There is no method {self.method!r}; the methods are {', '.join(METHODS)}.")
        if self.schedule not in SCHEDULES:
            raise UserError(f"There is no schedule {self.schedule!r}; the schedules are {', '.join(SCHEDULES)}.")
        for name in ("steps", "batch_size", "head_learning_rate", "learning_rate", "examples", "budget"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UserError(f"{name}={value!r} must be greater than 0.")
        if self.seed < 0:
            raise UserError(f"seed={self.seed!r} must be at least 0.")
        method = METHODS[self.method]
        if self.size is not None and method.size_name is None:
            raise UserError(f"The method {method.title} has one size only: leave size out.")
        least = 0 if method.size_name == "off_diag" else 1
        if self.size is not None and self.size < least:
            raise UserError(f"size={self.size!r} must be at least {least} for {method.title}.")
        if self.budget is not None and (self.size is not None or not method.takes_budget):
            raise UserError(
                f"budget={self.budget} is only for methods whose size follows from a budget "
                f"({', '.join(name for name, m in METHODS.items() if m.takes_budget)}), and without a size."
            )
        if (self.custom_indices is not None) != (self.method == "custom"):
            raise UserError("The method custom needs custom_indices, and no other method takes them.")
        if self.target_modules is not None:
            object.__setattr__(self, "target_modules", tuple(self.target_modules))
        if self.custom_indices is not None:
            object.__setattr__(self, "custom_indices", tuple((int(i), int(j)) for i, j in self.custom_indices))

    def resolved(self) -> TrainingSpec:
        """Return the same specification with every default written out, as adapters record it.

        Raises:
            TaskError: If there is no such task.
            UserError: If the task has fewer examples.
        """
        method, task = METHODS[self.method], get_task(self.task)
        if self.examples is not None and self.examples > (available := len(train_split(self))):
            raise UserError(f"examples={self.examples} is more than the train split of {self.task} has: {available}.")
        sized = replace(
            self,
            base=task.base if self.base is None else self.base,
            size=method.size if self.size is None and self.budget is None else self.size,
            examples=task.examples if self.examples is None else self.examples,
        )
        return sized.at_rate(own_learning_rate(self.method, task))

    def at_rate(self, rate: float) -> TrainingSpec:
        """Return the same specification with the learning rates that it does not name, given the method's rate.

        Args:
            rate: At the method's smallest size; for head only, the head's.

        The rate of LoRA, DoRA, OLoRA and MiCA falls with the root of the rank, that of PiSSA and PSOFT with the rank,
        FRoD's with its share of entries, TinyLoRA's with the fourth root of its numbers, that of SVFT patterns with
        the number of trained entries per row of M (`Method.rate_exponent`), to two digits.
        """
        method = METHODS[self.method]
        if method.learning_rate is None:
            return replace(self, head_learning_rate=self.head_learning_rate or rate)
        own = rate
        if method.rate_exponent and self.learning_rate is None:
            own = float(f"{rate / self._relative_size() ** method.rate_exponent:.2g}")
        return replace(
            self,
            learning_rate=self.learning_rate or own,
            head_learning_rate=self.head_learning_rate or self._own_head_rate(),
        )

    def _own_head_rate(self) -> float:
        """Return the head's rate: with few entries of M it is the head that has to learn (docs/budget-study.md)."""
        method = METHODS[self.method]
        if self.budget is None or self._entries_per_row() >= FEW_ENTRIES:
            return method.head_learning_rate
        return max(method.head_learning_rate, SMALL_HEAD_RATE)

    def _relative_size(self) -> float:
        """Return the rank, or the mean number of trained entries per row of M, at least 1."""
        if self.size is not None:
            return 2 * self.size + 1 if METHODS[self.method].size_name == "off_diag" else self.size
        return max(1.0, self._entries_per_row())

    def _entries_per_row(self) -> float:
        """Return the mean number of trained entries per row of M, of a budget or of custom entries."""
        assert self.base is not None  # written out before the rate
        rows = [min(shape) for shape in block_shapes(self.base, self.target_modules).values()]
        if self.budget is not None:
            entries = self.budget
        else:
            assert self.custom_indices is not None  # the method custom, which has no size
            entries = len(set(self.custom_indices)) * len(rows)
        return entries / sum(rows)

    @property
    def options(self) -> Options:
        """What this specification asks of its method."""
        return Options(self.size, self.budget, self.custom_indices, seed=self.seed)

    def to_dict(self) -> dict:
        """Return the specification as JSON types."""
        return asdict(self)

    def command(self, output: str, pairs: str = "") -> str:
        """Return the `svft train` command that trains this and writes it to the directory `output`.

        Args:
            output: The directory.
            pairs: The file of prompts and completions that its task was read from, "" for another task.
        """
        words = ["svft", "train", "--output", shlex.quote(output)]
        if pairs:
            words += ["--pairs", shlex.quote(pairs)]
        for field in fields(self):
            if pairs and field.name in ("task", "head_learning_rate"):  # a language model has no new head
                continue
            value = getattr(self, field.name)
            if value is not None and (field.default is MISSING or value != field.default):
                option = f"--{field.name.replace('_', '-')}"
                if value is True:
                    words.append(option)
                    continue
                for single in value if isinstance(value, tuple) else (value,):
                    words += [option, shlex.quote(str(single))]
        return " ".join(words)

    @classmethod
    def from_dict(cls, values: dict) -> TrainingSpec:
        """Return the specification that `to_dict` wrote.

        Raises:
            UserError: On a field that does not exist.
        """
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown:
            raise UserError(f"A training specification has no field {', '.join(sorted(unknown))}.")
        return cls(**values)


def train_split(spec: TrainingSpec) -> Examples:
    """Return the examples from which a specification draws.

    Raises:
        TaskError: If there is no such task here.
    """
    splits = get_task(spec.task).load()
    return splits.set_apart if spec.set_apart else splits.train


def choose_examples(spec: TrainingSpec) -> Examples:
    """Return the training examples of a resolved specification: a draw from its train split by its seed.

    With equal seeds a smaller number is a part of a larger one, and all methods see the same examples.
    """
    train = train_split(spec)
    chosen = np.random.default_rng(spec.seed).permutation(len(train))[: spec.examples]
    return Examples([train.inputs[i] for i in chosen], train.labels[chosen])


def own_learning_rate(method: str, task: Task) -> float:
    """Return the learning rate at its smallest size that a method has on a task, for head only the head's."""
    entry = METHODS[method]
    return task.learning_rates.get(method) or entry.learning_rate or entry.head_learning_rate
