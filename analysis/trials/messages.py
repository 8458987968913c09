"""What goes between the engine and its workers. Light: the engine's process needs no torch."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.training.forgetting import Forgetting

LIVE_EXAMPLES = 200  # of the validation split, at most: what a trial is judged on meanwhile


class StateMissingError(Exception):
    """A worker does not hold the trial, and no state came with the turn."""


@dataclass(frozen=True)
class Turn:
    """What is asked of a worker.

    Attributes:
        key: Identifies the trial among all that workers may hold.
        spec: `TrainingSpec.to_dict`.
        step: Where the trial stands; its state must be of this step.
        until: Train up to this step, then evaluate.
        final_split: "test" or "validation", on which the trial is judged at its last step.
        threads: Of torch.
        state: If the worker may not hold the trial; None at step 0.
        data: `OwnData.to_bytes` if the task is a person's own.
    """

    key: str
    spec: dict
    step: int
    until: int
    final_split: str
    threads: int
    state: bytes | None = None
    data: bytes | None = None


@dataclass(frozen=True)
class Layout:
    """Where the values of M stand: for each adapted matrix its name, n, and the flat indices i·n + j, (k,) int64."""

    names: list[str]
    n: list[int]
    indices: list[np.ndarray]

    def entries(self, name: str) -> tuple[np.ndarray, np.ndarray, slice]:
        """Return rows and columns of a matrix's entries, each (k,), and where their values stand among all."""
        place = self.names.index(name)
        i, j = np.divmod(self.indices[place], self.n[place])
        start = sum(map(len, self.indices[:place]))
        return i, j, slice(start, start + len(i))

    def to_bytes(self) -> bytes:
        """Return the layout as the bytes of a file, for `from_bytes`."""
        file = io.BytesIO()
        arrays: dict[str, Any] = {"names": self.names, "n": self.n} | {f"i{k}": i for k, i in enumerate(self.indices)}
        np.savez_compressed(file, **arrays)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, packed: bytes) -> Layout:
        """Return the layout that `to_bytes` packed."""
        with np.load(io.BytesIO(packed), allow_pickle=False) as arrays:
            names = arrays["names"].tolist()
            return cls(names, arrays["n"].tolist(), [arrays[f"i{k}"] for k in range(len(names))])


@dataclass(frozen=True)
class Outcome:
    """What a trial came to.

    Attributes:
        predicted: Predicted label of each example of the final split, (n,) int16.
        accuracy: On the final split.
        macro_f1: On the final split.
        loss: Mean cross-entropy on the final split.
        parameters: Trainable parameters, excluding the head.
        file_bytes: Size of the adapter's weights file (of the whole checkpoint for full fine-tuning).
        rank: Of ΔW, mean over the adapted matrices.
        stable_rank: The same of the stable rank.
        effective_rank: The same of the entropy effective rank.
        adapter: The adapter's directory as a zip file; None for full fine-tuning.
        forgetting: What it cost elsewhere, None if that was not measured.
    """

    predicted: np.ndarray
    accuracy: float
    macro_f1: float
    loss: float
    parameters: int
    file_bytes: int
    rank: float
    stable_rank: float
    effective_rank: float
    adapter: bytes | None
    forgetting: Forgetting | None = None


@dataclass(frozen=True)
class Report:
    """What a worker answers.

    Attributes:
        step: Where the trial stands now.
        train_losses: Loss of each step of this turn.
        loss: Mean cross-entropy on the fixed part of the validation split.
        accuracy: On the same.
        macro_f1: On the same.
        seconds: That the turn took on this worker.
        layout: Of M at the first turn, None if there is no M.
        coefficients: Values of M in the order of the layout, (entries,) float16 (3 digits: for pictures).
        state: None if it is larger than `LARGEST_STATE`, or the trial is done.
        outcome: At the last step.
    """

    step: int
    train_losses: list[float]
    loss: float
    accuracy: float
    macro_f1: float
    seconds: float
    layout: Layout | None = None
    coefficients: np.ndarray | None = None
    state: bytes | None = None
    outcome: Outcome | None = None
