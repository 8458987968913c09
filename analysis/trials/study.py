"""A study: methods × budgets × seeds on one task, as plain data, and the trials that it is made of.

Light: no torch, so that a page can plan without waiting for it.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from itertools import product
from typing import Any

from analysis.common.errors import SizeError, UserError
from analysis.measures.overview import base_parameters
from analysis.models.shapes import block_shapes
from analysis.planning.sizing import Shapes, Size, choose_size, count_parameters, size_label
from analysis.training.methods import METHODS
from analysis.training.specification import TrainingSpec, own_learning_rate
from analysis.training.tasks import get_task

FINAL_SPLITS = ("test", "validation", "confirmation")
LARGEST_LINK = 2**20  # bytes unpacked
MOST_TRIALS = 1000  # of a study: one comes from a link, and is planned as soon as that is opened


@dataclass(frozen=True)
class Trial:
    """One trial.

    Attributes:
        spec: What is trained, resolved.
        label: Method and size for people; trials that differ by their seed alone share it.
        parameters: Trainable parameters, excluding the head.
    """

    spec: TrainingSpec
    label: str
    parameters: int

    def to_dict(self) -> dict:
        """Return the trial as JSON types."""
        return {"spec": self.spec.to_dict(), "label": self.label, "parameters": self.parameters}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Trial:
        """Return the trial that `to_dict` wrote."""
        return cls(TrainingSpec.from_dict(values["spec"]), values["label"], values["parameters"])


@dataclass(frozen=True)
class LeftOut:
    """A method that cannot come near a budget."""

    method: str
    budget: int
    reason: str


@dataclass(frozen=True)
class Study:
    """What is compared; `to_dict` is JSON, `to_link` fits into a URL.

    Attributes:
        task: A name in `analysis.training.tasks.TASKS`, or of a person's own data.
        methods: Names in `training.methods.METHODS`: those of one size once per seed (plain too, if the budgets are
            no smaller than its diagonals), the others at each budget.
        budgets: Numbers of trainable parameters, excluding the head. Each method gets the size that comes nearest.
        sizes: Method -> sizes that it is tried at instead.
        seeds: Each is one more trial of everything.
        learning_rates: Method -> rates that it is tried at instead of its own, each at its smallest size
            (`TrainingSpec.at_rate`); for head only, the head's.
        head_learning_rates: Method -> rates of the head that it is tried at instead of its own, with each of its
            rates.
        base: Hub id or local path; None takes the task's own.
        target_modules: As in `TrainingSpec`.
        steps: As in `TrainingSpec`.
        batch_size: As in `TrainingSpec`.
        examples: As in `TrainingSpec`.
        custom_indices: Of the method custom.
        evaluate_every: Steps between two evaluations.
        final_split: "test", or "validation" if rates are chosen by the result, or "confirmation" once, for what was
            planned in advance.
        set_apart: Whether trials train without the examples of the confirmation split; they must if they are judged
            on it.
        threads: Of torch, in each trial: with another number, the last digits of a result differ.
    """

    task: str
    methods: tuple[str, ...]
    budgets: tuple[int, ...] = ()
    sizes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0,)
    learning_rates: dict[str, tuple[float, ...]] = field(default_factory=dict)
    head_learning_rates: dict[str, tuple[float, ...]] = field(default_factory=dict)
    base: str | None = None
    target_modules: tuple[str, ...] | None = None
    steps: int = 100
    batch_size: int = 16
    examples: int | None = None
    custom_indices: tuple[tuple[int, int], ...] | None = None
    evaluate_every: int = 10
    final_split: str = "test"
    threads: int = 1
    set_apart: bool = False

    def __post_init__(self) -> None:
        for name in ("methods", "budgets", "seeds", "target_modules"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, tuple(dict.fromkeys(getattr(self, name))))
        for name in ("sizes", "learning_rates", "head_learning_rates"):
            object.__setattr__(self, name, {key: tuple(value) for key, value in getattr(self, name).items()})
        if self.custom_indices is not None:
            object.__setattr__(self, "custom_indices", tuple((int(i), int(j)) for i, j in self.custom_indices))
            if outside := [pair for pair in self.custom_indices if min(pair) < 0]:
                raise UserError(f"custom_indices has the entry {outside[0]}: rows and columns are counted from 0.")
        self._check_types()
        named = (*self.methods, *self.sizes, *self.learning_rates, *self.head_learning_rates)
        unknown = [method for method in named if method not in METHODS]
        if unknown:
            raise UserError(f"There is no method {unknown[0]!r}; the methods are {', '.join(METHODS)}.")
        if not self.methods or not self.seeds:
            raise UserError("A study needs at least one method and one seed.")
        for name in ("budgets", "steps", "batch_size", "evaluate_every", "threads"):
            value = getattr(self, name)
            if not all(number > 0 for number in (value if isinstance(value, tuple) else (value,))):
                raise UserError(f"{name}={value!r} must be greater than 0.")
        if self.final_split not in FINAL_SPLITS:
            raise UserError(f"final_split={self.final_split!r} must be one of {', '.join(FINAL_SPLITS)}.")
        if self.final_split == "confirmation" and not self.set_apart:
            raise UserError("A study that is judged on the confirmation split trains without it: set set_apart.")
        sized = [method for method in self.methods if METHODS[method].size_name and method not in self.sizes]
        if sized and not self.budgets:
            raise UserError(f"{', '.join(METHODS[method].title for method in sized)}: name a budget, or a size.")

    def _check_types(self) -> None:
        """Check what a link or file may hold in place of names and numbers."""
        names = [self.task, *self.methods, *(self.target_modules or ()), *([] if self.base is None else [self.base])]
        whole = [*self.budgets, *self.seeds, *(size for sizes in self.sizes.values() for size in sizes)]
        whole += [self.steps, self.batch_size, self.evaluate_every, self.threads]
        whole += [] if self.examples is None else [self.examples]
        by_method = (*self.learning_rates.values(), *self.head_learning_rates.values())
        rates = [rate for rates in by_method for rate in rates]
        for values, kind, what in (
            (names, str, "a name"),
            (whole, int, "a whole number"),
            (rates, (int, float), "a number"),
        ):
            if wrong := [value for value in values if not isinstance(value, kind)]:
                raise UserError(f"This study cannot be read: {wrong[0]!r} is not {what}.")

    def resolved(self) -> Study:
        """Return the same study with base, examples and learning rates written out, as it is stored and shared.

        Raises:
            TaskError: If there is no such task here.
        """
        task = get_task(self.task)
        split = task.load().set_apart if self.set_apart else task.load().train
        rates = {
            method: self.learning_rates.get(method) or (own_learning_rate(method, task),) for method in self.methods
        }
        return replace(
            self,
            base=self.base or task.base,
            examples=self.examples or min(task.examples, len(split)),
            learning_rates=rates,
        )

    def plan(self) -> tuple[list[Trial], list[LeftOut]]:
        """Return the trials, all of a seed before those of the next, and what had to be left out.

        Raises:
            UserError: If a trial cannot be trained as specified.
        """
        study = self.resolved()
        assert study.base is not None  # written out in a resolved study
        shapes = list(block_shapes(study.base, study.target_modules).values())
        trials: list[Trial] = []
        left_out: list[LeftOut] = []
        sizes = max(len(study.budgets), *map(len, study.sizes.values()), 1)
        rates = max(map(len, study.learning_rates.values()))
        head_rates = max(map(len, study.head_learning_rates.values()), default=1)
        if (most := len(study.methods) * len(study.seeds) * sizes * rates * head_rates) > MOST_TRIALS:
            raise UserError(
                f"A study can have up to {MOST_TRIALS:,} trials, not {most:,}: take fewer seeds or budgets."
            )
        for method in study.methods:
            for options, parameters in study._sizes(method, shapes, left_out):
                unrated = TrainingSpec(
                    task=study.task,
                    method=method,
                    base=study.base,
                    target_modules=study.target_modules,
                    steps=study.steps,
                    batch_size=study.batch_size,
                    examples=study.examples,
                    set_apart=study.set_apart,
                    **options,
                )
                for rate, head_rate in study.rates(method):
                    spec = replace(unrated, head_learning_rate=head_rate).at_rate(rate).resolved()
                    label = size_label(method, spec.size, spec.budget)
                    if len(study.learning_rates[method]) > 1:
                        label = f"{label}, rate {spec.learning_rate or spec.head_learning_rate:g}"
                    if len(study.head_learning_rates.get(method, ())) > 1:
                        label = f"{label}, head {spec.head_learning_rate:g}"
                    trials.append(Trial(spec, label, parameters))
        if not trials:
            raise UserError("No method comes near the budget: choose another budget, or more methods.")
        seeds = [[replace(trial, spec=replace(trial.spec, seed=seed)) for trial in trials] for seed in study.seeds]
        return [trial for of_seed in seeds for trial in of_seed], left_out

    def rates(self, method: str) -> Iterator[tuple[float, float | None]]:
        """Yield (rate, head rate) of each trial of a resolved study at one size; None takes the method's own."""
        return product(self.learning_rates[method], self.head_learning_rates.get(method, (None,)))

    def _sizes(self, method: str, shapes: Shapes, left_out: list[LeftOut]) -> Iterator[tuple[dict[str, Any], int]]:
        """Yield (fields of the specification, trainable parameters) for each size of a method."""
        entry = METHODS[method]
        if entry.size_name is None and not (entry.leading and self.budgets):
            indices = self.custom_indices if method == "custom" else None
            whole = base_parameters(self.base) if method == "full" else None
            count = count_parameters(method, shapes, custom_indices=indices, whole=whole)
            yield {"custom_indices": indices}, count
        elif method in self.sizes:
            for size in self.sizes[method]:
                yield {"size": size}, count_parameters(method, shapes, size=size)
        else:
            nearest: dict[Size, None] = {}  # plain has its whole diagonal at every larger budget
            for budget in self.budgets:
                try:
                    nearest[choose_size(method, budget, shapes)] = None
                except SizeError as error:
                    left_out.append(LeftOut(method, budget, str(error)))
            for chosen in nearest:
                yield {"size": chosen.size, "budget": chosen.budget}, chosen.count

    def with_more_seeds(self, more: int) -> Study:
        """Return the study extended by `more` seeds after its last."""
        last = max(self.seeds)
        return replace(self, seeds=(*self.seeds, *range(last + 1, last + 1 + more)))

    def to_dict(self) -> dict:
        """Return the study as JSON types, without what has its default."""
        return {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if getattr(self, f.name) != (f.default_factory() if callable(f.default_factory) else f.default)
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Study:
        """Return the study that `to_dict` wrote.

        Raises:
            UserError: If it is not one.
        """
        if not isinstance(values, Mapping):
            raise UserError("This is not a study: a JSON object with a task and methods is expected.")
        unknown = set(values) - {entry.name for entry in fields(cls)}
        if unknown:
            raise UserError(f"A study has no field {', '.join(sorted(unknown))}.")
        try:
            return cls(**values)
        except UserError:
            raise
        except (TypeError, AttributeError, ValueError) as error:
            raise UserError(f"This study cannot be read: {error}.") from error

    def to_link(self) -> str:
        """Return the study as letters that stand in a URL as they are."""
        packed = zlib.compress(json.dumps(self.to_dict()).encode(), 9)
        return base64.urlsafe_b64encode(packed).decode().rstrip("=")

    @classmethod
    def from_link(cls, link: str) -> Study:
        """Return the study that `to_link` wrote.

        Raises:
            UserError: If the letters are damaged, or longer than a study is.
        """
        try:
            packed = base64.urlsafe_b64decode(link + "=" * (-len(link) % 4))
            values = json.loads(zlib.decompressobj().decompress(packed, max_length=LARGEST_LINK))
        except (ValueError, zlib.error) as error:  # what base64, JSON and text decoding raise are ValueErrors
            raise UserError("This link to a study is damaged: copy it whole, or open the study's file.") from error
        return cls.from_dict(values)
