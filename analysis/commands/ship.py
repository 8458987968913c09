"""Body of `svft train-shipped`: the adapters that come with this project, with all that is said about them."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterable
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from analysis.cards import write_card
from analysis.commands.train import evaluate_run
from analysis.environment import environment
from analysis.evaluation import Evaluation, recovered_performance
from analysis.inference import correct, dial_curve, has_dial
from analysis.specification import TrainingSpec
from analysis.tasks import get_task
from analysis.training import train

SHIPPED_TASKS = ("bbc_headlines", "airline_tweets")
SHIPPED_METHODS = ("plain", "banded", "random", "top_k", "head_only")
SEEDS = (0, 1, 2)
COMMAND = "svft train-shipped"


@dataclass(frozen=True)
class _Measured:
    """One run: right or wrong for each test example, (n,) bool, and its evaluation with the dial where it ships."""

    right: np.ndarray
    evaluation: Evaluation


def train_shipped(output: Path, tasks: Iterable[str] = SHIPPED_TASKS, **settings: Any) -> None:
    """Train every shipped method and full fine-tuning with every seed; write the adapters of the first seed.

    An adapter's evaluation compares it with head only and full fine-tuning, trained on the same examples. Runs share
    the cores, one thread each, so that the result does not depend on how many there are.

    Args:
        output: Directory that gets one directory ``<task>-<method>`` an adapter.
        tasks: Names of tasks.
        settings: Fields of `TrainingSpec` for all runs; what ships is trained with the defaults.
    """
    # One thread a process; it must be set before they import torch.
    spawn = multiprocessing.get_context("spawn")
    with environment("OMP_NUM_THREADS", "1"), ProcessPoolExecutor(os.cpu_count(), spawn) as pool:
        runs: dict[Future[_Measured], tuple[str, str, int]] = {}
        for task in tasks:
            for method in ("full", *SHIPPED_METHODS):
                for seed in SEEDS:
                    ships = method in SHIPPED_METHODS and seed == SEEDS[0]
                    directory = output / f"{task}-{method}" if ships else None
                    spec = TrainingSpec(task, method, seed=seed, **settings)
                    runs[pool.submit(_run, spec, directory)] = (task, method, seed)
        finished = as_completed(runs)
        done = {runs[future]: future.result() for future in track(finished, "Training", total=len(runs))}
    for task in tasks:
        for method in SHIPPED_METHODS:
            _write_evaluation(output / f"{task}-{method}", task, method, done)


def _run(spec: TrainingSpec, directory: Path | None) -> _Measured:
    """Train and test `spec`; what ships is saved to `directory` and tested all along the dial."""
    run = train(spec)
    test = get_task(spec.task).load().test
    right = correct(run.model, run.encode, test)
    evaluation = evaluate_run(run, int(right.sum()), len(right), COMMAND)
    if directory is not None:
        run.save(directory)
        if has_dial(run.model):
            evaluation = replace(evaluation, dial=dial_curve(run.model, run.encode, test))
    return _Measured(right, evaluation)


def _write_evaluation(directory: Path, task: str, method: str, done: dict[tuple[str, str, int], _Measured]) -> None:
    """Compare a shipped adapter with its baselines over the seeds; write `evaluation.json` and the card."""
    right = {
        name: np.array([done[task, name, seed].right for seed in SEEDS])
        for name in dict.fromkeys(("head_only", "full", method))
    }
    evaluation = replace(
        done[task, method, SEEDS[0]].evaluation,
        seeds=list(SEEDS),
        accuracies={name: rows.mean(axis=1).tolist() for name, rows in right.items()},
    )
    if method != "head_only":
        recovered = recovered_performance(right[method], right["head_only"], right["full"])
        evaluation = replace(
            evaluation, recovered=recovered.value, recovered_low=recovered.low, recovered_high=recovered.high
        )
    evaluation.write(directory)
    write_card(directory, evaluation)
