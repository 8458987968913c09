"""Bodies of `svft trial` and `svft sweep`: run a study with a live table."""

from __future__ import annotations

import time
from pathlib import Path

import pandas as pd
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from analysis.cli.tables import Column, fit, show
from analysis.common.errors import UserError
from analysis.common.typed import whole_numbers
from analysis.planning.sizing import size_label
from analysis.training.evaluation import wilson_interval
from analysis.training.methods import METHODS
from analysis.trials.engine import Engine
from analysis.trials.files import StudyFile, export_study, read_study
from analysis.trials.records import TrialRecord
from analysis.trials.store import Store
from analysis.trials.study import Study

NAME = "command line"
# Shares of a method's own rate, a factor of about 3 apart.
SWEEP = (0.1, 0.3, 1.0, 3.0, 10.0)


_PERCENT = "{:.1%}".format
_RESULTS = {
    "label": Column("method"),
    "parameters": Column("trained", "{:,}".format),
    "seeds": Column("seeds"),
    "accuracy": Column("accuracy", _PERCENT),
    "lowest": Column("lowest", _PERCENT, gives_way=2),
    "highest": Column("highest", _PERCENT, gives_way=3),
    "rank": Column("rank of ΔW", "{:.0f}".format, gives_way=1),
}
_SWEEP_COLUMNS = {
    "method": Column("method"),
    "rate": Column("learning rate", "{:g}".format),
    "head_rate": Column("head's rate", "{:g}".format, gives_way=2),
    "accuracy": Column("accuracy on validation", _PERCENT),
    "interval": Column("95% interval", gives_way=1),
    "best": Column("", text=True),
}
_LIVE = {
    "trial": Column("trial"),
    "seed": Column("seed", gives_way=1),
    "step": Column("step"),
    "loss": Column("loss", "{:.3f}".format),
    "accuracy": Column("accuracy", _PERCENT),
}


def run_study(study: Study, *, name: str, workers: int | None, scheduler: str | None) -> tuple[Store, str]:
    """Run a study to its end, or continue the unfinished one that compares the same; return its store and id.

    Ctrl-C interrupts it: the same command goes on from the last evaluations.
    """
    store = Store()
    study = study.resolved()
    console = Console()
    for skipped in study.plan()[1]:
        console.print(f"Left out at {skipped.budget:,}: {skipped.reason}")
    unfinished = [
        record.id
        for record in store.studies("")
        if record.study == study and record.state in ("interrupted", "stopped")
    ]
    engine = Engine(store, scheduler=scheduler, workers=workers)
    try:
        if unfinished:
            id = unfinished[0]
            console.print("Continuing the unfinished run of this study.")
            engine.resume(id)
        else:
            id = engine.start(study, name=name)
        with Live(console=console, refresh_per_second=2) as live:
            began = time.monotonic()
            while not engine.wait(id, 0.5):
                if engine.error:
                    raise UserError(engine.error)
                live.update(_progress(console, store, id, time.monotonic() - began))
            live.update(_progress(console, store, id, time.monotonic() - began))
    finally:
        engine.close()
    return store, id


def read_study_file(path: Path) -> StudyFile:
    """Return the study in a file, with its results.

    Raises:
        UserError: If the file is missing or holds no study.
    """
    try:
        return read_study(path.read_bytes())
    except OSError as error:
        raise UserError(f"The study file {path} cannot be read: {error.strerror}.") from error


def finish(store: Store, id: str, output: Path | None, wide: bool = False) -> None:
    """Print the results of a study by method and size, and write its file if one is asked for."""
    _print_failures(store, id)
    results = store.results(id)
    if output is not None:
        write(store, id, output)
    if results.empty:
        return
    table = results.groupby("label", sort=False).agg(
        parameters=("parameters", "first"),
        seeds=("seed", "size"),
        accuracy=("accuracy", "mean"),
        lowest=("accuracy", "min"),
        highest=("accuracy", "max"),
        rank=("rank", "mean"),
    )
    show(Console(), table.reset_index(), _RESULTS, wide=wide)


def _print_failures(store: Store, id: str) -> None:
    for record in store.trials(id):
        if record.state == "failed":
            Console().print(f"{record.trial.label}, seed {record.trial.spec.seed}: {record.reason}")


def write(store: Store, id: str, output: Path) -> None:
    """Write a study with its results to a file."""
    output.write_text(export_study(store, id), encoding="utf-8")
    Console().print(f"written to {output}")


def parse_methods(text: str) -> tuple[tuple[str, ...], dict[str, tuple[int, ...]]]:
    """Return (names, sizes by name) of methods as on the command line: ``plain,lora=1,lora=8``.

    Raises:
        UserError: If a size is not a whole number.
    """
    names: list[str] = []
    sizes: dict[str, tuple[int, ...]] = {}
    for word in filter(None, (word.strip() for word in text.split(","))):
        name, _, size = word.partition("=")
        names.append(name)
        if size:
            sizes[name] = (*sizes.get(name, ()), *whole_numbers(size))
    return tuple(names), sizes


def sweep_study(
    task: str,
    methods: tuple[str, ...],
    sizes: dict[str, tuple[int, ...]],
    rates: tuple[float, ...],
    seeds: tuple[int, ...],
    base: str | None,
    *,
    budgets: tuple[int, ...] = (),
    head_rates: tuple[float, ...] = (),
    set_apart: bool = False,
) -> Study:
    """Return the study that tries each method at several learning rates, judged on the validation split.

    Args:
        task: Name of the task.
        methods: Names of methods.
        sizes: Method -> sizes; the others have their own.
        rates: Learning rates, () for `SWEEP` times each method's own.
        seeds: Of each rate.
        base: Base model, None for the task's own.
        budgets: Trainable parameters; methods without sizes are then tried at these.
        head_rates: Learning rates of the head, () for each method's own.
        set_apart: As in `Study`.
    """
    if not budgets:
        registered = [method for method in methods if method in METHODS]
        own_sizes = {method: (size,) for method in registered if (size := METHODS[method].size) is not None}
        sizes = own_sizes | sizes
    own = Study(task, methods, budgets=budgets, sizes=sizes).resolved().learning_rates
    tried = {method: rates or tuple(float(f"{own[method][0] * share:.2g}") for share in SWEEP) for method in methods}
    return Study(
        task,
        methods,
        sizes=sizes,
        seeds=seeds,
        learning_rates=tried,
        # head only has one rate, which is the head's
        head_learning_rates={method: head_rates for method in methods if head_rates and METHODS[method].learning_rate},
        budgets=budgets,
        base=base,
        evaluate_every=Study.steps,  # only the end matters
        final_split="validation",
        set_apart=set_apart,
    )


def sweep_table(store: Store, id: str) -> pd.DataFrame:
    """Return what each rate came to.

    Columns:
        method: Method and size for people.
        rate, head_rate, seeds: What was tried.
        accuracy: On the whole validation split, mean over the seeds.
        low, high: 95% Wilson interval of the examples of all seeds together.
        best: Whether no other rates of the method were better.
    """
    results = store.results(id)
    specs = {record.number: record.trial.spec for record in store.trials(id)}
    tried = [specs[number] for number in results["trial"]]
    results["rate"] = [spec.head_learning_rate if spec.method == "head_only" else spec.learning_rate for spec in tried]
    results["head_rate"] = [spec.head_learning_rate for spec in tried]
    results["method"] = [size_label(spec.method, spec.size, spec.budget) for spec in tried]
    rows = []
    for (method, rate, head_rate), group in results.groupby(["method", "rate", "head_rate"], sort=False):
        examples = len(group["predicted"].iloc[0]) * len(group)
        accuracy = group["accuracy"].mean()
        interval = wilson_interval(round(accuracy * examples), examples)
        rows.append((method, rate, head_rate, len(group), accuracy, *interval))
    table = pd.DataFrame(rows, columns=["method", "rate", "head_rate", "seeds", "accuracy", "low", "high"])
    table["best"] = table["accuracy"] == table.groupby("method")["accuracy"].transform("max")
    return table


def print_sweep(store: Store, id: str, wide: bool = False) -> None:
    """Print a sweep, the best rates of each method marked, and the trials that failed."""
    _print_failures(store, id)
    table = sweep_table(store, id)
    interval = table["low"].map(_PERCENT) + " to " + table["high"].map(_PERCENT)
    best = table["best"].map({True: "best", False: ""})
    show(Console(), table.assign(interval=interval, best=best), _SWEEP_COLUMNS, wide=wide)


def _progress(console: Console, store: Store, id: str, seconds: float) -> Group:
    """Return the trials that run, and how far the study is."""
    trials, points = store.trials(id), store.points(id)
    last = points.groupby("trial").tail(1).set_index("trial")
    rows = []
    for trial in [trial for trial in trials if trial.state == "running"][:24]:
        step = f"{trial.step}/{trial.trial.spec.steps}"
        values = dict(last.loc[trial.number, ["loss", "accuracy"]]) if trial.number in last.index else {}
        rows.append({"trial": trial.trial.label, "seed": trial.trial.spec.seed, "step": step, **values})
    ended = sum(trial.state in ("done", "failed", "stopped") for trial in trials)
    share = sum(_share(trial) for trial in trials) / len(trials)
    line = f"{ended} of {len(trials)} trials done, {share:.0%}, {seconds:,.0f} s"
    return Group(fit(console, rows, _LIVE)[0], Text(line)) if rows else Group(Text(line))


def _share(trial: TrialRecord) -> float:
    return 1.0 if trial.state in ("done", "failed", "stopped") else trial.step / trial.trial.spec.steps
