"""Real weights of the default base model, decomposed without loading the model."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from safetensors import safe_open

from analysis.models.packages import DEFAULT_BASE, resolve_base

# By name for people: one whose singular vectors span everything, and one that is four times as high as wide.
WEIGHTS = {
    "square": "encoder.layer.2.attention.self.query.weight",
    "rectangular": "encoder.layer.2.intermediate.dense.weight",
}


@dataclass(frozen=True, eq=False)
class Weight:
    """A weight W = U diag(sigma) Vᵀ (thin SVD), all float64.

    Attributes:
        W: (out, in).
        U: (out, n).
        sigma: (n,), descending.
        V: (in, n).
    """

    W: np.ndarray
    U: np.ndarray
    sigma: np.ndarray
    V: np.ndarray


@lru_cache(maxsize=len(WEIGHTS))
def load_weight(name: str) -> Weight:
    """Return one of `WEIGHTS`."""
    file = Path(resolve_base(DEFAULT_BASE)) / "model.safetensors"
    with safe_open(file, framework="numpy") as tensors:
        W = tensors.get_tensor(WEIGHTS[name]).astype(np.float64)
    U, sigma, Vt = np.linalg.svd(W, full_matrices=False)
    return Weight(W, U, sigma, Vt.T)
