"""What SVFT costs beside its parameters: U and V in memory, and one SVD for every weight."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from analysis.lessons.answers import Answer, near

FLOAT32 = 4
ASKED = (1536, 384)  # the weight of the question
SMALL, LARGE = (64, 96, 128, 192, 256), (384, 512, 768, 1024)  # measured at once, and when asked for


def memory_table(out: int, in_: int, off_diag: int, rank: int) -> pd.DataFrame:
    """Return the float32 numbers that one weight (out, in) and its adapters keep in memory, without an optimizer.

    Columns:
        what: "W", "U and V", "M", "LoRA".
        numbers: How many.
        megabytes: 10⁶ bytes.
        trained: Whether they are trained.
    """
    n = min(out, in_)
    d = min(off_diag, n - 1)
    rows = [
        ("W", out * in_, False),
        ("U and V", (out + in_) * n, False),
        ("M", n * (2 * d + 1) - d * (d + 1), True),
        ("LoRA", rank * (out + in_), True),
    ]
    table = pd.DataFrame(rows, columns=["what", "numbers", "trained"])
    table.insert(2, "megabytes", table["numbers"] * FLOAT32 / 1e6)
    return table


def measure_svd(sizes: tuple[int, ...], repeats: int = 3) -> pd.DataFrame:
    """Return how long one thread of this machine takes for the thin SVD of an n×n matrix in float64.

    What is measured is the processor time of the thread: other work on the machine does not count.

    Args:
        sizes: Of the matrices.
        repeats: Of each; the least time counts.

    Columns:
        n: Of the matrix.
        seconds: Of processor time.
    """
    generator = np.random.default_rng(0)
    rows = []
    with threadpool_limits(1):
        for n in sizes:
            W, taken = generator.standard_normal((n, n)), []
            for _ in range(repeats):
                began = time.thread_time()
                np.linalg.svd(W, full_matrices=False)
                taken.append(time.thread_time() - began)
            rows.append((n, min(taken)))
    return pd.DataFrame(rows, columns=["n", "seconds"])


def extrapolate(measured: pd.DataFrame, sizes: np.ndarray) -> np.ndarray:
    """Return the seconds at other sizes by c·n³, with c from the largest matrix measured."""
    largest = measured.loc[measured["n"].idxmax()]
    return largest["seconds"] * (np.asarray(sizes, float) / largest["n"]) ** 3


def check_basis(given: float) -> Answer:
    """Return the reply to a guess of how many megabytes U and V of the weight `ASKED` take in float32."""
    out, in_ = ASKED
    n = min(ASKED)
    right = (out + in_) * n * FLOAT32 / 1e6
    if near(given, right, 0.02) or near(given, right * 1e6 / 2**20, 0.005):
        return Answer(
            True,
            f"Right: ({out} + {in_}) · {n} · 4 bytes = {right:.2f} MB; W has {out * in_ * FLOAT32 / 1e6:.2f} MB.",
        )
    if near(given, right / FLOAT32, 0.02):
        return Answer(False, "That is how many million numbers there are: each takes 4 bytes.")
    if near(given, out * in_ * FLOAT32 / 1e6, 0.02):
        return Answer(False, "That is W itself: U is out × n, V is in × n, with n = min(out, in).")
    if near(given, out * n * FLOAT32 / 1e6, 0.02) or near(given, in_ * n * FLOAT32 / 1e6, 0.02):
        return Answer(False, "That is one of the two: U is out × n and V is in × n; add them.")
    return Answer(
        False, f"Not yet. U has {out} × {n} numbers and V has {in_} × {n}, each of 4 bytes; 1 MB is 10⁶ bytes."
    )
