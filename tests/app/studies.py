"""Studies in a store as training would leave them, with made-up answers: for pages that show results."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Collection, Mapping

import numpy as np
import pandas as pd
import psutil

from analysis.adapters import shipped
from analysis.models.shapes import block_shapes
from analysis.training.forgetting import Forgetting
from analysis.training.tasks import get_task
from analysis.trials.messages import Layout, Outcome, Report
from analysis.trials.store import Store
from analysis.trials.study import Study, Trial

# Method -> accuracy in the long run, with 14,000 and with 124,000 parameters
LEVELS: dict[str, tuple[float, float]] = {
    "head_only": (0.46, 0.46),
    "plain": (0.815, 0.815),
    "banded": (0.825, 0.835),
    "random": (0.83, 0.84),
    "top_k": (0.82, 0.83),
    "lora": (0.775, 0.81),
    "dora": (0.78, 0.815),
    "vera": (0.70, 0.70),
    "full": (0.84, 0.84),
}
OTHERS = (0.79, 0.82)  # methods that no test asks for by their place
THIS_PROCESS = f"{psutil.Process().pid}:{psutil.Process().create_time()}:0"  # an engine that is alive


def add_study(
    store: Store,
    study: Study,
    *,
    owner: str = "",
    name: str = "",
    bet: dict | None = None,
    turns: int | None = None,
    unfinished: Mapping[int, tuple[str, str | None]] | None = None,
    without_adapters: Collection[str] = ("full",),
    forgetting: bool = True,
) -> str:
    """Add a study that has run; return its id.

    Args:
        store: That gets it.
        study: What is compared; M is written down for those of the default base.
        owner: As in `Store.add_study`.
        name: The same.
        bet: The same.
        turns: Evaluations that each trial has had, None for all of them.
        unfinished: Number of a trial -> its state and reason, for those that ended after two evaluations.
        without_adapters: Methods whose trials leave none.
        forgetting: Whether it was measured what they forgot; earlier versions did not.
    """
    study, unfinished = study.resolved(), unfinished or {}
    trials, _ = study.plan()
    id = store.add_study(study, trials, engine=THIS_PROCESS, owner=owner, name=name, bet=bet)
    task = get_task(study.task)
    truth = getattr(task.load(), study.final_split).labels
    hard = np.random.default_rng(0).random(len(truth))
    steps = [*range(0, study.steps, study.evaluate_every), study.steps]
    for number, trial in enumerate(trials):
        had = 2 if number in unfinished else turns
        generator = np.random.default_rng(number)
        level = _level(trial) + generator.normal(0, 0.01)
        layout = _layout(trial, generator)
        size = sum(map(len, layout.indices)) if layout else 0
        direction = generator.standard_normal(size) * (generator.random(size) < 0.3)
        for turn, step in enumerate(steps[:had]):
            done = step / study.steps
            accuracy = 0.2 + (level - 0.2) * (1 - np.exp(-4 * done)) + generator.normal(0, 0.01)
            grown = (0.05 * done * direction + generator.normal(0, 0.002 * done, size)).astype(np.float16)
            report = Report(
                step,
                [1.6 * (1 - 0.8 * accuracy)] if step else [],
                1.7 * (1 - 0.8 * accuracy),
                accuracy,
                accuracy - 0.02,
                generator.uniform(0.8, 1.2),
                layout if turn == 0 else None,
                grown if layout else None,
                outcome=_outcome(
                    trial, level, truth, hard, generator, trial.spec.method not in without_adapters, forgetting
                )
                if step == study.steps
                else None,
            )
            store.add_report(id, number, report)
        if number in unfinished:
            store.set_trial_state(id, number, *unfinished[number])
        elif had is not None and had < len(steps):
            store.set_trial_state(id, number, "running")
    if turns is not None:
        store.set_study_state(id, "running")
    else:
        if (cost := _cost(trials)) is not None:
            store.set_cost(id, cost)
        store.set_study_state(id, "stopped" if any(state == "stopped" for state, _ in unfinished.values()) else "done")
    return id


def _level(trial: Trial) -> float:
    low, high = LEVELS.get(trial.spec.method, OTHERS)
    decades = np.clip(np.log10(max(trial.parameters, 1) / 41_000) / np.log10(3), 0, 1)
    return float(low + (high - low) * decades)


def _layout(trial: Trial, generator: np.random.Generator) -> Layout | None:
    spec = trial.spec
    if spec.method not in ("plain", "banded", "random", "top_k"):
        return None
    shapes = block_shapes(spec.base)
    sides = [min(shape) for shape in shapes.values()]
    return Layout(list(shapes), sides, [_indices(spec, n, trial.parameters // len(sides), generator) for n in sides])


def _indices(spec, n: int, k: int, generator: np.random.Generator) -> np.ndarray:
    if spec.method in ("plain", "banded"):
        i, j = np.indices((n, n))
        return np.flatnonzero(np.abs(j - i) <= (spec.size or 0)).astype(np.int32)
    return np.sort(generator.choice(n * n, k, replace=False)).astype(np.int32)


def _outcome(trial, level, truth, hard, generator, with_adapter, with_forgetting) -> Outcome:
    right = hard + generator.normal(0, 0.08, len(truth)) < level
    wrong = (truth + generator.integers(1, 3, len(truth))) % (truth.max() + 1)
    predicted = np.where(right, truth, wrong).astype(np.int16)
    rank = {"head_only": 0.0, "full": 384.0, "lora": float(trial.spec.size or 0)}.get(trial.spec.method, 383.0)
    return Outcome(
        predicted,
        accuracy=float(right.mean()),
        macro_f1=float(right.mean()) - 0.01,
        loss=1.7 * (1 - 0.8 * float(right.mean())),
        parameters=trial.parameters,
        file_bytes=4 * trial.parameters + 8_000,
        rank=rank,
        stable_rank=max(rank / 9, min(rank, 1)),
        effective_rank=rank / 2 if rank > 9 else rank,
        adapter=_adapter(trial) if with_adapter else None,
        forgetting=_forgetting(trial) if with_forgetting else None,
    )


def _forgetting(trial: Trial) -> Forgetting:
    """Return what a trial forgot: nothing if it has a head alone, else the more the more it trains."""
    drift = 0.02 * np.log10(1 + trial.parameters) * (1 + 0.05 * trial.spec.seed)
    return Forgetting(drift, min(1.0, 4 * drift), 0.65 - drift, 0.65)


def _adapter(trial: Trial) -> bytes:
    """Return the shipped adapter of the same pattern as a zip file, of other methods a file alone."""
    shipped_one = shipped.DIRECTORY / f"bbc_headlines-{trial.spec.method}"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        if shipped_one.is_dir():
            for file in shipped_one.iterdir():
                archive.write(file, file.name)
        else:
            archive.writestr("adapter_config.json", '{"peft_type": "LORA"}')
    return packed.getvalue()


def _cost(trials: list[Trial]) -> pd.DataFrame | None:
    """Return a cost table as the engine measures it, relative to the smallest LoRA or the first."""
    times = {"plain": 1.03, "banded": 1.27, "random": 1.38, "top_k": 1.37, "lora": 1.0, "dora": 1.3, "full": 1.5}
    measured = {trial.label: trial for trial in trials if trial.spec.method != "head_only"}
    if not measured:
        return None
    loras = [trial for trial in measured.values() if trial.spec.method == "lora"]
    reference = times[(loras or list(measured.values()))[0].spec.method]
    rows = []
    for label, trial in measured.items():
        ratio = times.get(trial.spec.method, 1.2) / reference
        rows.append(
            {
                "label": label,
                "trainable": trial.parameters + 1_925,
                "seconds": 0.11 * ratio,
                "time_ratio": ratio,
                "peak_bytes": 4e8 * ratio**0.5,
                "memory_ratio": ratio**0.5,
            }
        )
    return pd.DataFrame(rows)
