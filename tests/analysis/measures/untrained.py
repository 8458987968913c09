"""Updates that learned nothing, of every kind, and one that did: what the sentences of pages are tried on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from analysis.adapters.adapter import AdaptedMatrix, Projection, grid
from tests.analysis.synthetic import band, make_matrix

M = 24
SVFT = ("plain", "banded", "random", "top_k")
OTHERS = ("LoRA r=1", "LoRA r=4", "LoRA r=8", "full")
SHAPES = ((24, 24), (40, 24), (24, 72))


def untrained(kind: str, seed: int) -> AdaptedMatrix:
    """Return an update of a kind whose parameters are Gaussian, of a few sizes and shapes."""
    rng = np.random.default_rng([seed, 9])
    if kind in SVFT:
        return svft(kind, rng, seed)
    out, in_ = SHAPES[seed % len(SHAPES)]
    if kind == "full":
        return projected(rng.standard_normal((out, in_)), min(out, in_), seed)
    r = int(kind.removeprefix("LoRA r="))
    return projected(rng.standard_normal((out, r)) @ rng.standard_normal((r, in_)), r, seed)


def svft(kind: str, rng: np.random.Generator, seed: int = 0) -> AdaptedMatrix:
    """Return Gaussian values on an Ω of a kind."""
    m = M + 8 * (seed % 3)
    if kind in ("plain", "banded"):
        rows, cols = band(m, 0 if kind == "plain" else 2)
    else:
        rows, cols = np.divmod(rng.choice(m * m, 5 * m - 6, replace=False), m)
    return make_matrix(rows, cols, 0.1 * rng.standard_normal(len(rows)), m=m, pattern=kind, seed=seed)


def projected(update: np.ndarray, bound: int, seed: int = 0) -> AdaptedMatrix:
    """Return an update (out, in) projected into the basis of the leading coordinates."""
    out, in_ = update.shape
    n = min(out, in_)
    matrix = make_matrix([0], [0], [0.0], m=n, shape=(out, in_), pattern="projected", seed=seed)
    update = update * (0.3 * np.linalg.norm(matrix.sigma) / (np.linalg.norm(update) or 1.0))
    inside, outside = update[:n, :n], update[n:] if out > in_ else update[:, n:]
    rest = None if out == in_ else outside
    return replace(
        matrix,
        rows=grid(n)[0],
        cols=grid(n)[1],
        values=inside.ravel().copy(),
        projection=Projection(rest, bound * (out + in_), bound),
    )
