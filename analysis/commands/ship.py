"""Body of `svft train-shipped`: the adapters that come with this project, with all that is said about them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import Progress

from analysis.commands.train import evaluate_run, progress_bar, train_with_bar, write_adapter
from analysis.evaluation import recovered_performance
from analysis.inference import correct, dial_curve, has_dial
from analysis.tasks import get_task
from analysis.training import TrainingRun, TrainingSpec

SHIPPED_TASKS = ("bbc_headlines", "airline_tweets")
SHIPPED_METHODS = ("plain", "banded", "random", "top_k", "head_only")
SEEDS = (0, 1, 2)
COMMAND = "svft train-shipped"


def train_shipped(output: Path, tasks: Iterable[str] = SHIPPED_TASKS, **settings: Any) -> None:
    """Train every shipped method and full fine-tuning with every seed; write the adapters of the first seed.

    An adapter's evaluation compares it with head only and full fine-tuning, trained on the same examples.

    Args:
        output: Directory that gets one directory ``<task>-<method>`` an adapter.
        tasks: Names of tasks.
        settings: Fields of `TrainingSpec` for all runs; what ships is trained with the defaults.
    """
    for task in tasks:
        with progress_bar() as progress:
            _ship_task(task, output, settings, progress)


def _ship_task(task: str, output: Path, settings: dict[str, Any], progress: Progress) -> None:
    test = get_task(task).load().test
    shipped: dict[str, TrainingRun] = {}
    right: dict[str, np.ndarray] = {}  # method -> (seeds, test examples) bool
    for method in ("full", *SHIPPED_METHODS):
        rows = []
        for seed in SEEDS:
            run = train_with_bar(TrainingSpec(task, method, seed=seed, **settings), progress)
            rows.append(correct(run.model, run.tokenizer, test))
            if method in SHIPPED_METHODS and seed == SEEDS[0]:
                shipped[method] = run
        right[method] = np.array(rows)
    for method, run in shipped.items():
        compared = dict.fromkeys(("head_only", "full", method))
        measured = {
            "seeds": list(SEEDS),
            "accuracies": {name: right[name].mean(axis=1).tolist() for name in compared},
        }
        if has_dial(run.model):
            recovered = recovered_performance(right[method], right["head_only"], right["full"])
            measured |= {
                "dial": dial_curve(run.model, run.tokenizer, test),
                "recovered": recovered.value,
                "recovered_low": recovered.low,
                "recovered_high": recovered.high,
            }
        one = evaluate_run(run, int(right[method][0].sum()), len(test), COMMAND)
        write_adapter(run, replace(one, **measured), output / f"{task}-{method}")
