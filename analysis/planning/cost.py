"""Time and peak memory of training steps, compared within one run.

All contestants run interleaved in one process, one step each in turn, and are compared as ratios of medians, so that a
busy machine slows all of them alike.

Memory is counted, not sampled: the bytes of tensors that PyTorch's allocator holds. *Resident* is what lives between
steps (parameters, buffers, optimizer state); *peak* is resident plus the highest sum of what a step allocates.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pandas as pd
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile


@dataclass
class Contestant:
    """One method with everything that its step needs."""

    name: str
    model: nn.Module
    step: Callable[[], None]


def interleave(contestants: list[Contestant], rounds: int, reference: str) -> pd.DataFrame:
    """Measure steps of all contestants, `rounds` times one each in turn, after two whose memory is counted.

    Args:
        contestants: What is compared.
        rounds: Measured steps of each.
        reference: Name of the contestant that is 1.00.

    Returns:
        One row each: ``method`` (its name), ``trainable``, ``seconds`` (median), ``time_ratio``, ``peak_bytes``,
        ``memory_ratio``.
    """
    peaks = {c.name: peak_bytes(c) for c in contestants}
    seconds: dict[str, list[float]] = {c.name: [] for c in contestants}
    for _ in range(rounds):
        for contestant in contestants:
            start = time.perf_counter()
            contestant.step()
            seconds[contestant.name].append(time.perf_counter() - start)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    return pd.DataFrame(
        {
            "method": c.name,
            "trainable": sum(p.numel() for p in c.model.parameters() if p.requires_grad),
            "seconds": medians[c.name],
            "time_ratio": medians[c.name] / medians[reference],
            "peak_bytes": peaks[c.name],
            "memory_ratio": peaks[c.name] / peaks[reference],
        }
        for c in contestants
    )


def peak_bytes(contestant: Contestant) -> int:
    """Return resident bytes plus the highest sum that one step allocates."""
    contestant.step()  # the optimizer's state exists from here on
    with _quiet_stderr(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        contestant.step()
    level = highest = 0
    for event in profiler.profiler.kineto_results.events():
        if event.name() == "[memory]":
            level += event.nbytes()
            highest = max(highest, level)
    return _resident_bytes(contestant.model) + highest


def _resident_bytes(model: nn.Module) -> int:
    trained = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    # AdamW keeps two moments of every trained parameter
    return distinct_bytes([*model.parameters(), *model.buffers()]) + 2 * trained


def distinct_bytes(tensors: Iterable[torch.Tensor]) -> int:
    """Return the bytes that tensors take, those that share their memory once; also on the meta device."""
    storages = {id(storage): storage for storage in (tensor.untyped_storage() for tensor in tensors)}
    return sum(storage.nbytes() for storage in storages.values())


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Keep the profiler's native library, which has no log level, from writing over the progress display."""
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
