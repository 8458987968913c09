"""Finished trials as tables: synthetic answers of many configurations near each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

# label -> method, parameters, accuracy in the long run
CONFIGURATIONS: dict[str, tuple[str, int, float]] = {
    "head only": ("head_only", 0, 0.70),
    "SVFT plain": ("plain", 13_824, 0.815),
    "SVFT banded d=1": ("banded", 41_400, 0.83),
    "SVFT random, 41,472 entries": ("random", 41_472, 0.835),
    "SVFT top_k, 41,472 entries": ("top_k", 41_472, 0.825),
    "LoRA r=1": ("lora", 41_472, 0.79),
    "DoRA r=1": ("dora", 55_296, 0.80),
    "SVFT banded d=4": ("banded", 123_696, 0.84),
    "SVFT random, 124,416 entries": ("random", 124_416, 0.84),
    "SVFT top_k, 124,416 entries": ("top_k", 124_416, 0.835),
    "LoRA r=3": ("lora", 124_416, 0.82),
    "DoRA r=3": ("dora", 138_240, 0.825),
    "full fine-tuning": ("full", 22_700_000, 0.842),
}


def trials_from(
    right: Mapping[str, np.ndarray], truth: np.ndarray, configurations: Mapping[str, tuple] = CONFIGURATIONS
) -> pd.DataFrame:
    """Return the trials of (seeds, n) right or wrong for each label; a wrong answer is the next class."""
    classes = int(truth.max()) + 1
    rows = []
    for label, answers in right.items():
        method, parameters = configurations[label][:2]
        for seed, correct in enumerate(np.asarray(answers, bool)):
            predicted = np.where(correct, truth, (truth + 1) % classes).astype(np.int16)
            rank = {"head_only": 0.0, "full": 384.0}.get(method, 1.0 if "oRA" in label else 384.0)
            measured = {
                "accuracy": correct.mean(),
                "macro_f1": correct.mean() - 0.01,
                "loss": 0.6,
                "file_bytes": 4 * parameters,
            }
            ranks = {"rank": rank, "stable_rank": rank / 8, "effective_rank": rank / 2}
            rows.append(
                {"trial": len(rows), "task": "bbc_headlines", "method": method, "label": label, "seed": seed}
                | {"parameters": parameters, **measured, **ranks, "predicted": predicted}
            )
    return pd.DataFrame(rows)


def study(
    seeds: int = 5,
    n: int = 800,
    labels: Iterable[str] = CONFIGURATIONS,
    classes: int = 5,
    scatter: float = 0.01,
    seed: int = 0,
) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the trials of `CONFIGURATIONS` and the true labels; examples that are hard are hard for all.

    Args:
        seeds: Of each configuration.
        n: Test examples.
        labels: Of `CONFIGURATIONS`.
        classes: Number of labels.
        scatter: Standard deviation of the accuracy between seeds.
        seed: Of what is random here.
    """
    generator = np.random.default_rng(seed)
    truth = generator.integers(classes, size=n)
    hard = generator.random(n)
    right = {}
    for label in labels:
        level = CONFIGURATIONS[label][2] + generator.normal(0, scatter, (seeds, 1))
        right[label] = hard + generator.normal(0, 0.08, (seeds, n)) < level
    return trials_from(right, truth), truth
