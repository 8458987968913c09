"""What was measured of an adapter, and how sure it is. Light: numbers in, numbers out, no torch."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.adapters.shipped import shipped_adapters
from analysis.common.bootstrap import interval, resampled_means
from analysis.training.methods import svft_patterns

EVALUATION_FILE = "evaluation.json"
DIAL_NOTE = (
    "alpha = 0 is the same head with M off, not the head-only baseline, whose head was trained without M; "
    "alpha = 1 is the adapter as trained."
)


def wilson_interval(correct: int, n: int) -> tuple[float, float]:
    """Return the 95% Wilson score interval of an accuracy of `correct` out of `n` (Wilson 1927)."""
    from scipy.stats import binomtest  # takes half a second to import: pages that show no accuracy go without

    interval = binomtest(correct, n).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


@dataclass(frozen=True)
class RecoveredPerformance:
    """(method − head only) / (full fine-tuning − head only), as a ratio with its 95% interval.

    All three are None if it is not defined: full fine-tuning is not clearly above head only.
    """

    value: float | None
    low: float | None
    high: float | None


def recovered_performance(
    method: np.ndarray, head_only: np.ndarray, full: np.ndarray, seed: int = 0
) -> RecoveredPerformance:
    """Return how much of the way from head only to full fine-tuning a method goes.

    The interval is a paired bootstrap over seeds and test examples (`resampling.resampled_means`). "Clearly above"
    means that the 95% interval of full − head only, from the same draws, lies above 0.

    Args:
        method: Right or wrong, (seeds, test examples) bool.
        head_only: The same for head only, paired by seed and example.
        full: The same for full fine-tuning.
        seed: Of the draws.

    Raises:
        ValueError: If the three differ in shape.
    """
    if not method.shape == head_only.shape == full.shape:
        raise ValueError(
            "Recovered performance compares like with like: method, head only and full fine-tuning need the same "
            f"seeds and test examples, not {method.shape}, {head_only.shape} and {full.shape}."
        )
    answers = np.stack([method, head_only, full]).astype(np.int8)
    means, values = resampled_means(answers, seed), answers.mean(axis=(1, 2))
    rooms = means[:, 2] - means[:, 1]
    if interval(rooms)[0] <= 0:
        return RecoveredPerformance(None, None, None)
    low, high = interval((means[:, 0] - means[:, 1]) / np.where(rooms > 0, rooms, np.nan))
    return RecoveredPerformance(float((values[0] - values[1]) / (values[2] - values[1])), low, high)


@dataclass(frozen=True)
class Evaluation:
    """What `evaluation.json` beside an adapter says.

    Attributes:
        spec: The training specification, resolved (`analysis.training.session.TrainingSpec.to_dict`).
        command: The command that trains it again.
        task_title: The task's name for people.
        labels: Names of the classes, in the order of the head's outputs.
        budget: Trainable parameters, excluding the head.
        steps: Optimizer steps done; fewer than in `spec` if training was stopped.
        n_test: Test examples.
        accuracy: On the test split.
        low: Lower end of its 95% Wilson interval.
        high: Upper end.
        dial: alpha, accuracy, low, high on the test split; None if there is no M to scale or it was not measured.
        seeds: Seeds of `accuracies`.
        accuracies: Method name -> test accuracy of each seed: this method, "head_only" and "full".
        recovered: Recovered performance over these seeds, None if not defined or not measured.
        recovered_low: Lower end of its 95% interval.
        recovered_high: Upper end.
    """

    spec: dict
    command: str
    task_title: str
    labels: list[str]
    budget: int
    steps: int
    n_test: int
    accuracy: float
    low: float
    high: float
    dial: pd.DataFrame | None = None
    seeds: list[int] = field(default_factory=list)
    accuracies: dict[str, list[float]] = field(default_factory=dict)
    recovered: float | None = None
    recovered_low: float | None = None
    recovered_high: float | None = None

    def mean_accuracy(self, method: str) -> float | None:
        """Return the mean accuracy of a method over the seeds, None if it was not measured."""
        return float(np.mean(self.accuracies[method])) if method in self.accuracies else None

    def write(self, directory: str | Path) -> None:
        """Write `evaluation.json` into an adapter's directory."""
        values = asdict(self)
        if self.dial is not None:
            values["dial"] = self.dial.round(6).to_dict("list")
            values["dial_note"] = DIAL_NOTE
        path = Path(directory) / EVALUATION_FILE
        path.write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_evaluation(directory: str | Path) -> Evaluation | None:
    """Return what was measured of the adapter in `directory`, None if it brings no readable `evaluation.json`."""
    try:
        values = json.loads((Path(directory) / EVALUATION_FILE).read_text(encoding="utf-8"))
        values.pop("dial_note", None)
        dial = values.pop("dial", None)
        return Evaluation(**values, dial=None if dial is None else pd.DataFrame(dial))
    except (OSError, ValueError, TypeError, AttributeError):
        return None


@lru_cache(maxsize=8)
def recovered_by_pattern(task: str | None) -> dict[str, tuple[float, int]]:
    """Return recovered performance, and off_diag, of each pattern on a task, as the shipped adapters measured it."""
    recovered = {}
    for path in shipped_adapters().values():
        measured = read_evaluation(path) if path.name.startswith(f"{task}-") else None
        if measured and measured.recovered is not None and measured.spec["method"] in svft_patterns():
            recovered[measured.spec["method"]] = (measured.recovered, measured.spec["size"] or 0)
    return recovered
