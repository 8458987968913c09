"""What runs in a worker process: one turn of one trial. A worker needs this package and nothing of the app's disk.

A worker keeps the trials that it trains in memory between their turns. Each turn returns the trial's state, so that
any other worker can go on with it.
"""

from __future__ import annotations

import gc
import io
import tempfile
import threading
import time
import warnings
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from distributed import get_worker
from scipy.special import softmax
from sklearn.metrics import f1_score, log_loss
from torch import nn
from transformers.utils import logging

from analysis.planning.cost import Contestant, interleave
from analysis.running.inference import predict_logits
from analysis.training.forgetting import measure_forgetting
from analysis.training.session import TrainingSession
from analysis.training.specification import TrainingSpec
from analysis.training.tasks import Examples, get_task
from analysis.training.updates import update_measures
from analysis.trials.messages import LIVE_EXAMPLES, Layout, Outcome, Report, StateMissingError, Turn
from svft.layer import SvftLayer

logging.disable_progress_bar()
# PEFT asks transformers by an old name, in every trial: nothing that whoever runs a study could change.
warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`", category=FutureWarning)

ADAPTER = "default"  # PEFT's name of the only adapter
COST_ROUNDS = 7
# A larger state (full fine-tuning's) stays with its worker: sent at every turn, it would take longer than the turn. A
# trial without a state begins again if its worker is lost, and comes to the same points.
LARGEST_STATE = 64 * 2**20
# Share of a worker's memory that resting trials may fill; beyond it those that are quickly rebuilt make room.
RESTING_SHARE = 0.4


@dataclass
class _Resting:
    """The trials that this process holds, the longest unused first."""

    sessions: dict[str, TrainingSession] = field(default_factory=dict)
    # Turns of one process run one after another: torch has one random generator and one number of threads.
    lock: threading.Lock = field(default_factory=threading.Lock)


_resting = _Resting()


def take_turn(turn: Turn) -> Report:
    """Train a trial up to ``turn.until`` and evaluate it.

    Raises:
        StateMissingError: If this worker does not hold the trial at ``turn.step`` and no state came with the turn.
        UserError: If it cannot be trained as specified.
    """
    with _resting.lock:
        began = time.perf_counter()
        torch.set_num_threads(turn.threads)
        if turn.data is not None:
            from analysis.training.data.own_data import OwnData, register

            register(OwnData.from_bytes(turn.data))
        session = _session(turn)
        losses = [session.train_step().loss for _ in range(turn.until - session.step)]
        task = get_task(session.spec.task)
        layout, coefficients = _coefficients(session.model)
        held_out = _first(task.load().validation, LIVE_EXAMPLES)
        accuracy, macro_f1, loss, _ = _judge(session, held_out)
        outcome = state = None
        if session.done:
            outcome = _finish(session, getattr(task.load(), turn.final_split))
        else:
            state = session.state() if session.state_bytes() <= LARGEST_STATE else None
            _keep(turn.key, session)
        return Report(
            session.step,
            losses,
            loss,
            accuracy,
            macro_f1,
            time.perf_counter() - began,
            layout if turn.until == 0 else None,
            coefficients,
            state,
            outcome,
        )


def forget(key: str) -> None:
    """Drop a trial that will take no further turn."""
    with _resting.lock:
        _resting.sessions.pop(key, None)
        gc.collect()


def warm_up() -> float:
    """Load what a first turn needs, so that it does not wait for it; return the seconds of a training step.

    Modules are imported with this one. The step is of a plain adapter on the first task, with the default batch.
    """
    with _resting.lock:
        session = TrainingSession(TrainingSpec("bbc_headlines", "plain", steps=3, examples=16))
        session.train_step()
        began = time.perf_counter()
        session.train_step()
        session.train_step()
        return (time.perf_counter() - began) / 2


def _session(turn: Turn) -> TrainingSession:
    """Return the trial at ``turn.step``, taken out of those that rest."""
    session = _resting.sessions.pop(turn.key, None)
    if session is not None and session.step == turn.step:
        return session
    if turn.state is None and turn.step > 0:
        raise StateMissingError(turn.key)
    return TrainingSession(TrainingSpec.from_dict(turn.spec), turn.state)


def _keep(key: str, session: TrainingSession) -> None:
    """Hold a trial until its next turn; if memory is short, drop others that can be rebuilt from their state."""
    _resting.sessions[key] = session
    room = RESTING_SHARE * _memory_limit()
    for other in list(_resting.sessions):
        if sum(session.resident_bytes() for session in _resting.sessions.values()) <= room:
            break
        if _resting.sessions[other].state_bytes() <= LARGEST_STATE:
            del _resting.sessions[other]


def _memory_limit() -> float:
    try:
        limit = get_worker().memory_manager.memory_limit
    except (ValueError, AttributeError):  # outside of a worker
        limit = None
    return limit or torch.iinfo(torch.int64).max


def _first(examples: Examples, n: int) -> Examples:
    return Examples(examples.inputs[:n], examples.labels[:n])


def _judge(session: TrainingSession, examples: Examples) -> tuple[float, float, float, np.ndarray]:
    """Return accuracy, macro-F1, mean cross-entropy and the predicted labels."""
    logits = predict_logits(session.model, session.encode, examples.inputs)
    predicted = logits.argmax(axis=1)
    return (
        float((predicted == examples.labels).mean()),
        float(f1_score(examples.labels, predicted, average="macro", zero_division=0.0)),
        float(log_loss(examples.labels, softmax(logits, axis=1), labels=range(logits.shape[1]))),
        predicted.astype(np.int16),
    )


def _coefficients(model: nn.Module) -> tuple[Layout | None, np.ndarray | None]:
    """Return where the values of M stand and what they are, None for a model without M."""
    layers = [layer for layer in model.modules() if isinstance(layer, SvftLayer)]
    if not layers:
        return None, None
    positions = [layer.coefficient_positions(ADAPTER) for layer in layers]
    sizes = [len(layer.svft_sigma[ADAPTER]) for layer in layers]
    layout = Layout(
        [layer.module_name for layer in layers],
        sizes,
        [(i * n + j).numpy().astype(np.int32) for (i, j), n in zip(positions, sizes, strict=True)],
    )
    values = [layer.svft_coefficients[ADAPTER].detach().numpy() for layer in layers]
    return layout, np.concatenate(values).astype(np.float16)


def _finish(session: TrainingSession, split: Examples) -> Outcome:
    """Judge a trained model on a whole split, measure its update and what it forgot, and pack its adapter."""
    run = session.finish()
    accuracy, macro_f1, loss, predicted = _judge(session, split)
    measures = update_measures(run.model, run.spec)
    base = run.spec.base
    assert base is not None  # written out in a resolved specification
    adapter = None
    with tempfile.TemporaryDirectory() as directory:
        run.save(directory)
        files = [file for file in Path(directory).rglob("*") if file.is_file()]
        file_bytes = sum(file.stat().st_size for file in files if file.suffix == ".safetensors")
        if run.spec.method != "full":
            packed = io.BytesIO()
            with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
                for file in files:
                    archive.write(file, file.relative_to(directory))
            adapter = packed.getvalue()
    return Outcome(
        predicted,
        accuracy,
        macro_f1,
        loss,
        run.budget,
        file_bytes,
        measures.rank,
        measures.stable_rank,
        measures.effective_rank,
        adapter,
        measure_forgetting(run.model, run.encode, run.spec.task, base),
    )


def measure_cost(specs: dict[str, dict], threads: int, data: bytes | None) -> pd.DataFrame:
    """Measure a training step of each specification, interleaved, each on its first batch again and again.

    Meant for a machine that does nothing else meanwhile: the engine sends nothing while this runs.

    Args:
        specs: `TrainingSpec.to_dict` by label, of one task.
        threads: Of torch.
        data: `OwnData.to_bytes` if the task is a person's own.

    Returns:
        `analysis.planning.cost.interleave`'s table, its first column called ``label``.
    """
    with _resting.lock:
        torch.set_num_threads(threads)
        if data is not None:
            from analysis.training.data.own_data import OwnData, register

            register(OwnData.from_bytes(data))
        contestants = []
        for label, values in specs.items():
            session = TrainingSession(TrainingSpec.from_dict(values))
            contestants.append(Contestant(label, session.model, session.repeat_first_step))
        table = interleave(contestants, COST_ROUNDS, cost_reference(specs))
        return table.rename(columns={"method": "label"})


def cost_reference(specs: dict[str, dict]) -> str:
    """Return the label that the others' cost is relative to: the smallest LoRA, else the first of them."""
    loras = [label for label, spec in specs.items() if spec["method"] == "lora"]
    return min(loras, key=lambda label: specs[label]["size"]) if loras else next(iter(specs))
