"""What the decompositions of a model will cost: one short measurement of this machine, and a sum over matrices.

What is measured is the processor time of one thread, not the time on the wall: other work on the machine, of which a
busy one has plenty, does not count.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import torch

from svft.decomposition import FLOAT64_UP_TO, exact_svd

_SIDES = {torch.float64: 256, torch.float32: 512}  # of what is measured: about a second in all
_TALL = 4  # times as many rows as columns
_RUNS = 3  # of which the shortest counts
_one_thread = threading.Lock()


@dataclass(frozen=True)
class SvdSpeed:
    """Seconds of one thread at rest that a decomposition takes on this machine, for an operation of each kind.

    Attributes:
        square: Of the SVD of a square matrix, by n³; key is the precision it is computed in.
        tall: Of what comes on top for a tall one (QR, and a product), by longer side × n².
    """

    square: dict[torch.dtype, float]
    tall: dict[torch.dtype, float]


@lru_cache(maxsize=1)
def measure_svd_speed() -> SvdSpeed:
    """Measure this machine, once per process. Takes about a second of one thread."""
    square, tall = {}, {}
    with _one_thread:  # the number of threads is the process's: two that set it at once would not set it back
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            for dtype, n in _SIDES.items():
                square[dtype] = _seconds(n, n, dtype) / n**3
                tall[dtype] = max(0.0, _seconds(_TALL * n, n, dtype) - square[dtype] * n**3) / (_TALL * n**3)
        finally:
            torch.set_num_threads(threads)
    return SvdSpeed(square, tall)


def svd_seconds(shapes: Iterable[tuple[int, int]], speed: SvdSpeed) -> float:
    """Return the estimated seconds of decomposing matrices (out, in), one after another on one thread at rest.

    The work is proportional to n³, for a tall or wide matrix plus longer side × n². Large matrices use a processor
    better than those measured, so it is rather an upper estimate.
    """
    total = 0.0
    for (out, in_), number in Counter(shapes).items():
        n, longer = min(out, in_), max(out, in_)
        dtype = torch.float64 if n <= FLOAT64_UP_TO else torch.float32
        if longer < 2 * n:
            total += number * speed.square[dtype] * n * n * longer
        else:
            total += number * (speed.square[dtype] * n**3 + speed.tall[dtype] * longer * n * n)
    return total


def _seconds(rows: int, columns: int, dtype: torch.dtype) -> float:
    """Return the processor time of this thread in the shortest of a few runs."""
    W = torch.randn(rows, columns, dtype=dtype, generator=torch.Generator().manual_seed(0))
    times = []
    for _ in range(_RUNS):
        start = time.thread_time()
        exact_svd(W)
        times.append(time.thread_time() - start)
    return min(times)
