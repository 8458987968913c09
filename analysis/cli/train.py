"""Body of `svft train`: train with a progress bar, evaluate, write the adapter with its card."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from analysis.running.inference import correct
from analysis.training.cards import write_card
from analysis.training.evaluation import Evaluation, wilson_interval
from analysis.training.language.evaluation import PairsEvaluation
from analysis.training.language.tokens import load_pair_encoder, perplexity
from analysis.training.session import TrainingRun, TrainingSession, train
from analysis.training.specification import TrainingSpec, choose_examples
from analysis.training.tasks import get_task


def train_to(spec: TrainingSpec, output: Path) -> Evaluation:
    """Train `spec` and write the adapter, its `evaluation.json` and its card to `output`."""
    with progress_bar() as progress:
        run = train_with_bar(spec, progress)
        right = correct(run.model, run.encode, get_task(spec.task).load().test)
    evaluation = evaluate_run(run, int(right.sum()), len(right), spec.command(str(output)))
    write_adapter(run, evaluation, output)
    return evaluation


def train_on_pairs(spec: TrainingSpec, file: Path, output: Path) -> PairsEvaluation:
    """Train a language model on pairs, and write the adapter, its `evaluation.json` and its card to `output`.

    Args:
        spec: Its task is that of `analysis.training.language.pairs.register_pairs`.
        file: Which the pairs were read from.
        output: The directory.
    """
    spec = spec.resolved()
    assert spec.base is not None  # both are written out
    assert spec.examples is not None
    task, encode = get_task(spec.task), load_pair_encoder(spec.base)
    held_out = task.load().validation.inputs
    cut = encode.count_cut([*choose_examples(spec).inputs, *held_out])
    with progress_bar() as progress:
        line = progress.add_task(f"{task.title} · {spec.method} · seed {spec.seed}", total=spec.steps, loss="")
        session = TrainingSession(spec)
        before = perplexity(session.model, encode, held_out)
        began = time.perf_counter()
        while not session.done:
            step = session.train_step()
            progress.update(line, completed=step.step, loss=f"loss {step.loss:.3f}")
        seconds = (time.perf_counter() - began) / spec.steps
    run = session.finish()
    evaluation = PairsEvaluation(
        spec=spec.to_dict(),
        command=spec.command(str(output), str(file)),
        title=task.title,
        budget=run.budget,
        steps=len(run.losses),
        pairs=spec.examples,
        held_out=len(held_out),
        tokens=before.tokens,
        cut=cut,
        perplexity_before=before.value,
        perplexity=perplexity(run.model, encode, held_out).value,
        seconds_per_step=seconds,
    )
    write_adapter(run, evaluation, output)
    return evaluation


def train_with_bar(spec: TrainingSpec, progress: Progress) -> TrainingRun:
    """Train `spec` with a line in `progress` that shows steps and loss."""
    line = progress.add_task(f"{spec.task} · {spec.method} · seed {spec.seed}", total=spec.steps, loss="")
    return train(spec, on_step=lambda step: progress.update(line, completed=step.step, loss=f"loss {step.loss:.3f}"))


def evaluate_run(run: TrainingRun, right: int, n_test: int, command: str) -> Evaluation:
    """Return the evaluation of a run with `right` of `n_test` test examples right."""
    task = get_task(run.spec.task)
    low, high = wilson_interval(right, n_test)
    return Evaluation(
        spec=run.spec.to_dict(),
        command=command,
        task_title=task.title,
        labels=list(task.labels),
        budget=run.budget,
        steps=len(run.losses),
        n_test=n_test,
        accuracy=right / n_test,
        low=low,
        high=high,
    )


def write_adapter(run: TrainingRun, evaluation: Evaluation | PairsEvaluation, output: Path) -> None:
    """Write the adapter, `evaluation.json` and README.md."""
    run.save(output)
    evaluation.write(output)
    write_card(output, evaluation)


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """Show progress on the terminal: what, how far, how long."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[loss]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns) as progress:
        yield progress
