"""Body of `svft train-shipped`: the adapters that come with this project, with all that is said about them."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import tempfile
from collections.abc import Iterable
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track

from analysis.adapters.opening import open_adapter
from analysis.adapters.saved_projection import save_projection
from analysis.cli.train import evaluate_run
from analysis.common.environment import environment
from analysis.models.heads import is_head
from analysis.running.inference import correct, dial_curve, has_dial
from analysis.training.cards import write_card
from analysis.training.evaluation import Evaluation, recovered_performance
from analysis.training.session import TrainingRun, train
from analysis.training.specification import TrainingSpec
from analysis.training.tasks import get_task

# Name -> fields of `TrainingSpec`. The last three are there for contrast: other methods, seen in the same basis.
SHIPPED_METHODS: dict[str, dict[str, Any]] = {
    "plain": {"method": "plain"},
    "banded": {"method": "banded"},
    "random": {"method": "random"},
    "top_k": {"method": "top_k"},
    "chosen": {"method": "chosen", "budget": 1_382},  # 0.006 % of the model, the paper's smallest budget
    "head_only": {"method": "head_only"},
    "lora_r1": {"method": "lora", "size": 1},
    "lora_r8": {"method": "lora", "size": 8},
    "full": {"method": "full"},
}
# Task -> names of what ships.
SHIPPED = {
    "bbc_headlines": tuple(SHIPPED_METHODS),
    "airline_tweets": tuple(SHIPPED_METHODS),
    "spoken_digits": ("plain", "banded"),
}
# Of full fine-tuning only what it did to a square and a tall matrix of the middle layer ships: all would be 90 MB.
SHIPPED_MATRICES = ("attention.self.value", "intermediate.dense")
SEEDS = (0, 1, 2)
COMMAND = "svft train-shipped"
_LARGE = 200_000  # trained parameters from which an adapter ships in float16


@dataclass(frozen=True)
class _Measured:
    """One run: right or wrong for each test example, (n,) bool, and its evaluation with the dial if it ships."""

    right: np.ndarray
    evaluation: Evaluation


def train_shipped(
    output: Path,
    tasks: Iterable[str] = tuple(SHIPPED),
    methods: Iterable[str] | None = None,
    **settings: Any,
) -> None:
    """Train shipped methods, head only and full fine-tuning with every seed; write the adapters of the first seed.

    An adapter's evaluation compares it with head only and full fine-tuning, trained on the same examples. Runs share
    the cores, one thread each, so that the result does not depend on how many there are.

    Args:
        output: Directory that gets one directory ``<task>-<method>`` an adapter.
        tasks: Names of tasks.
        methods: Names in `SHIPPED_METHODS`: what is written; None is what `SHIPPED` says of a task.
        settings: Fields of `TrainingSpec` for all runs; what ships is trained with the defaults.
    """
    written = {task: tuple(methods or SHIPPED[task]) for task in tasks}
    # One thread per process; it must be set before they import torch.
    spawn = multiprocessing.get_context("spawn")
    with environment("OMP_NUM_THREADS", "1"), ProcessPoolExecutor(os.cpu_count(), spawn) as pool:
        runs: dict[Future[_Measured], tuple[str, str, int]] = {}
        for seed, task in itertools.product(SEEDS, written):  # what ships comes first
            for name in dict.fromkeys(("full", "head_only", *written[task])):
                directory = output / f"{task}-{name}" if name in written[task] and seed == SEEDS[0] else None
                spec = TrainingSpec(task, seed=seed, **SHIPPED_METHODS[name], **settings)
                runs[pool.submit(_run, spec, directory)] = (task, name, seed)
        finished = as_completed(runs)
        done = {runs[future]: future.result() for future in track(finished, "Training", total=len(runs))}
    for task, names in written.items():
        for name in names:
            _write_evaluation(output / f"{task}-{name}", task, name, done)


def _run(spec: TrainingSpec, directory: Path | None) -> _Measured:
    """Train and test `spec`; what ships is saved to `directory` and tested all along the dial."""
    run = train(spec)
    if run.budget > _LARGE and spec.method != "full":
        _round(run)
    test = get_task(spec.task).load().test
    right = correct(run.model, run.encode, test)
    evaluation = evaluate_run(run, int(right.sum()), len(right), COMMAND)
    if directory is not None:
        _save(run, directory)
        if has_dial(run.model):
            evaluation = replace(evaluation, dial=dial_curve(run.model, run.encode, test))
    return _Measured(right, evaluation)


def _round(run: TrainingRun) -> None:
    """Round what was trained to float16, as it will be stored: what is measured is what ships."""
    for name, parameter in run.model.named_parameters():
        if parameter.requires_grad and not is_head(name):
            parameter.data.copy_(parameter.data.half())


def _save(run: TrainingRun, directory: Path) -> None:
    if run.spec.method != "full":
        run.save(directory)
        if run.budget > _LARGE:
            _store_in_half(directory / "adapter_model.safetensors")
        return
    with tempfile.TemporaryDirectory() as whole:
        run.save(whole)
        adapter = open_adapter(whole, base=run.spec.base)
        middle = adapter.matrices["layer"] == (adapter.matrices["layer"].max() + 1) // 2
        names = [name for name in adapter.matrices["name"][middle] if name.endswith(SHIPPED_MATRICES)]
        save_projection(directory, adapter, names)


def _store_in_half(file: Path) -> None:
    """Write the tensors of an adapter in float16, its head as it is."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(file)
    save_file(
        {name: t if is_head(name) or t.dtype != torch.float32 else t.half() for name, t in tensors.items()},
        file,
        metadata={"format": "pt"},
    )


def _write_evaluation(directory: Path, task: str, name: str, done: dict[tuple[str, str, int], _Measured]) -> None:
    """Compare a shipped adapter with its baselines over the seeds; write `evaluation.json` and the card."""
    right = {
        other: np.array([done[task, other, seed].right for seed in SEEDS])
        for other in dict.fromkeys(("head_only", "full", name))
    }
    evaluation = replace(
        done[task, name, SEEDS[0]].evaluation,
        seeds=list(SEEDS),
        accuracies={other: rows.mean(axis=1).tolist() for other, rows in right.items()},
    )
    if name not in ("head_only", "full"):
        recovered = recovered_performance(right[name], right["head_only"], right["full"])
        evaluation = replace(
            evaluation, recovered=recovered.value, recovered_low=recovered.low, recovered_high=recovered.high
        )
    evaluation.write(directory)
    write_card(directory, evaluation)
