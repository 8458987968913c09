"""What an edit does to the accuracy on a task's test split, and an edited adapter as a new one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from safetensors.numpy import load_file, save_file

from analysis.adapters.adapter import Adapter
from analysis.adapters.opening import open_adapter
from analysis.adapters.paths import WEIGHTS_FILE
from analysis.adapters.recognise import is_causal
from analysis.common.bootstrap import interval, resampled_means
from analysis.common.errors import AdapterError, UserError
from analysis.measures.edits import Edit
from analysis.training.cards import model_card
from analysis.training.evaluation import Evaluation, read_evaluation, wilson_interval
from analysis.training.tasks import Task, get_task

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Accuracy:
    """An accuracy with its 95% Wilson interval."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, right: np.ndarray) -> Accuracy:
        """Return the accuracy of answers, right or wrong: (n,) bool."""
        return cls(float(right.mean()), *wilson_interval(int(right.sum()), len(right)))


@dataclass(frozen=True)
class Effect:
    """What an edit did to the accuracy.

    Attributes:
        before: As trained.
        after: Edited.
        difference: after − before, on the same examples.
        low: Lower end of its 95% interval, from a paired bootstrap over the examples.
        high: Upper end.
    """

    before: Accuracy
    after: Accuracy
    difference: float
    low: float
    high: float

    @property
    def clear(self) -> bool:
        """Whether the interval of the difference leaves out zero."""
        return self.low > 0 or self.high < 0


def effect(before: np.ndarray, after: np.ndarray) -> Effect:
    """Return the effect of an edit from right or wrong on the same examples, (n,) bool each.

    Raises:
        ValueError: If they are not of one length.
    """
    if before.shape != after.shape:
        raise ValueError(
            f"Before and after compare the same examples: {len(before)} and {len(after)} answers do not pair."
        )
    change = after.astype(np.int8) - before.astype(np.int8)
    low, high = interval(resampled_means(change[None]))
    return Effect(Accuracy.of(before), Accuracy.of(after), float(change.mean()), low, high)


def effect_curve(amounts: Sequence[float], answers: Sequence[np.ndarray]) -> pd.DataFrame:
    """Return one row per amount, ascending: amount, accuracy, low, high (95% Wilson interval)."""
    rows = [
        (amount, accuracy.value, accuracy.low, accuracy.high)
        for amount, accuracy in zip(amounts, map(Accuracy.of, answers), strict=False)
    ]
    return pd.DataFrame(rows, columns=["amount", "accuracy", "low", "high"]).sort_values("amount", ignore_index=True)


def kept(adapter: Adapter, edit: Edit) -> tuple[float, float]:
    """Return which part of an adapter's values an edit leaves other than zero, and their share of the energy ‖M‖².

    An edit that keeps few values can be judged only beside how few they are.
    """
    before = [adapter.matrix(name) for name in adapter.names]
    after = [edit.apply(matrix) for matrix in before]
    stays = [np.flatnonzero(matrix.values) for matrix in after]
    count, total = (sum(map(len, of)) for of in (stays, [matrix.values for matrix in before]))
    energy = sum(float(np.square(matrix.values[stay]).sum()) for matrix, stay in zip(before, stays, strict=True))
    whole = sum(float(np.square(matrix.values).sum()) for matrix in before)
    return count / total, energy / whole if whole else 0.0


def why_not(adapter: Adapter) -> str | None:
    """Return why an adapter cannot be edited and evaluated, as a sentence; None if it can."""
    if adapter.projected or not adapter.names:
        return (
            f"An edit changes the trained coefficients of SVFT, and {adapter.path.name} has none: it is "
            f"{adapter.method}. Convert it to SVFT first."
        )
    if is_causal(adapter):
        return (
            f"Edits are judged by the accuracy of a classifier, and {adapter.path.name} writes texts: turn its dial."
        )
    try:
        _measured(adapter)
    except UserError as error:
        return str(error)
    return None


def answers(adapter: Adapter, edits: Sequence[Edit | None]) -> Iterator[np.ndarray]:
    """Yield, for each edit, whether each example of the task's test split is answered right: (n,) bool.

    Args:
        adapter: An SVFT adapter with an evaluation.json, which names its task.
        edits: None stands for the adapter as it was trained.

    Raises:
        AdapterError: If it names no task, or cannot be loaded.
        TaskError: If the task's data is not here.
        BaseModelError: If its base cannot be loaded.
    """
    from analysis.running.inference import correct  # torch takes seconds
    from analysis.running.loading import load_model

    _, task = _measured(adapter)
    test = task.load().test
    model, encode = load_model(adapter.path)
    for edit in edits:
        with edited(model, adapter, edit):
            yield correct(model, encode, test)


def edit_answers(path: str, *edits: str) -> Iterator[Any]:
    """Yield the number of edits, then (edit, right or wrong on the task's test split) of each: as work for a job.

    Args:
        path: Directory of an SVFT adapter.
        edits: Lines of `Edit.to_json`; "" stands for the adapter as it was trained.
    """
    adapter = open_adapter(path)
    yield len(edits)
    yield from zip(edits, answers(adapter, [Edit.from_json(edit) if edit else None for edit in edits]), strict=True)


@contextmanager
def edited(model: nn.Module, adapter: Adapter | None, edit: Edit | None) -> Iterator[None]:
    """Give the adapter in a PEFT model its edited coefficients inside the block, and its own again after it.

    They go the way that a saved adapter goes, so that what is evaluated is what would be saved: if the file's
    singular vectors have other signs than the model's, they are repaired.
    """
    if edit is None:
        yield
        return
    import torch
    from peft import set_peft_model_state_dict

    def load(tensors: dict[str, np.ndarray]) -> None:
        set_peft_model_state_dict(model, {name: torch.from_numpy(of) for name, of in tensors.items()})

    assert adapter is not None  # whose coefficients the edit changes
    load(edited_tensors(adapter, edit))
    try:
        yield
    finally:
        load(_tensors(adapter))


def edited_tensors(adapter: Adapter, edit: Edit) -> dict[str, np.ndarray]:
    """Return the tensors of the adapter's file, the coefficients edited, by name."""
    tensors = _tensors(adapter)
    for key in [key for key in tensors if key.endswith(".svft_coefficients")]:
        name = key.removesuffix(".svft_coefficients").removeprefix("base_model.model.")
        tensors[key] = edit.apply(adapter.matrix(name)).values.astype(tensors[key].dtype)
    return tensors


def save_edited(adapter: Adapter, edit: Edit, what: str, right: np.ndarray, output: Path) -> Path:
    """Write the edited adapter as a PEFT adapter directory of its own, with its evaluation and card; return it.

    Args:
        adapter: The adapter as it was trained.
        edit: The edit.
        what: The edit in words, for the card: "shuffle M".
        right: What `answers` said of this edit.
        output: Directory to write to.
    """
    evaluation, _ = _measured(adapter)
    now = Accuracy.of(right)
    output.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(adapter.path / "adapter_config.json", output / "adapter_config.json")
    save_file(edited_tensors(adapter, edit), output / WEIGHTS_FILE, metadata={"format": "pt"})
    evaluation = replace(
        evaluation,
        command=f"{evaluation.command} (then edited: {what})",
        n_test=len(right),
        accuracy=now.value,
        low=now.low,
        high=now.high,
        # What was measured of the adapter as trained does not hold of this one.
        dial=None,
        seeds=[],
        accuracies={},
        recovered=None,
        recovered_low=None,
        recovered_high=None,
    )
    evaluation.write(output)
    note = f"Edited after training: {what}. The edit as data: `{edit.to_json()}`."
    (output / "README.md").write_text(f"{model_card(evaluation)}\n{note}\n", encoding="utf-8")
    open_adapter(output)  # what cannot be opened again must not be called saved
    return output


def _measured(adapter: Adapter) -> tuple[Evaluation, Task]:
    """Return the adapter's evaluation and its task.

    Raises:
        AdapterError: If it brings no evaluation.
        TaskError: If the task is not known here.
    """
    evaluation = read_evaluation(adapter.path)
    if evaluation is None:
        raise AdapterError(
            f"{adapter.path.name} has no readable evaluation.json, which names its task: there is no test split to "
            "evaluate it on. Train it with `svft train`, which writes one."
        )
    return evaluation, get_task(evaluation.spec["task"])


def _tensors(adapter: Adapter) -> dict[str, np.ndarray]:
    return load_file(adapter.path / WEIGHTS_FILE)
