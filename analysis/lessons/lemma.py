"""The lemma, both sides computed: what an M on a pattern Ω can reach, and of what rank its update is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.lessons.painting import N
from analysis.lessons.weights import Weight
from analysis.measures.ranks import rounding


@dataclass(frozen=True)
class Reach:
    """How far U M Vᵀ comes towards a target P, in parts of ‖P − W‖².

    Attributes:
        reached: ‖M‖² with M = Uᵀ(P − W)V on Ω.
        not_in_pattern: The energy of Uᵀ(P − W)V on the other entries.
        outside_basis: What no M reaches: columns of P − W outside span U, rows outside span V.
        residual: ‖W + U M Vᵀ − P‖², computed by itself: the sum of the two before it.
    """

    reached: float
    not_in_pattern: float
    outside_basis: float
    residual: float


def target(weight: Weight, seed: int = 0) -> np.ndarray:
    """Return a target P, (out, in): W plus Gaussian noise that is as large as W."""
    noise = np.random.default_rng(seed).standard_normal(weight.W.shape)
    return weight.W + noise * (np.linalg.norm(weight.W) / np.linalg.norm(noise))


def reach(weight: Weight, P: np.ndarray, flat: np.ndarray | None) -> Reach:
    """Return how far the best M on a pattern comes towards P.

    Args:
        weight: W with n singular directions.
        P: Target (out, in).
        flat: Ω as flat indices i · n + j; None for all of M.
    """
    D = P - weight.W
    full = weight.U.T @ D @ weight.V
    M = full
    if flat is not None:
        M = np.zeros_like(full)
        M.flat[flat] = full.flat[flat]
    whole, inside = float((D**2).sum()), float((full**2).sum())
    reached = float((M**2).sum())
    residual = float(((weight.U @ M @ weight.V.T - D) ** 2).sum())
    return Reach(
        reached / whole, max(inside - reached, 0.0) / whole, max(whole - inside, 0.0) / whole, residual / whole
    )


def reach_table(weights: dict[str, Weight], flat: np.ndarray) -> pd.DataFrame:
    """Return the reach of all of M, and of Ω, on each weight.

    Columns:
        weight: Name, with its shape.
        pattern: "all of M" or "your Ω".
        reached, not_in_pattern, outside_basis, residual: As in `Reach`.
    """
    rows = []
    for name, weight in weights.items():
        P = target(weight)
        for pattern, chosen in (("all of M", None), ("your Ω", flat)):
            reached = reach(weight, P, chosen)
            shape = "×".join(map(str, weight.W.shape))
            shares = (reached.reached, reached.not_in_pattern, reached.outside_basis, reached.residual)
            rows.append((f"{name} {shape}", pattern, *shares))
    columns = ["weight", "pattern", "reached", "not_in_pattern", "outside_basis", "residual"]
    return pd.DataFrame(rows, columns=columns)


def update_rank(weight: Weight, flat: np.ndarray, seed: int = 0) -> int:
    """Return the numerical rank of ΔW = U M Vᵀ itself, for Gaussian values on Ω."""
    M = np.zeros((N, N))
    M.flat[flat] = np.random.default_rng(seed).standard_normal(len(flat))
    values = np.linalg.svd(weight.U @ M @ weight.V.T, compute_uv=False)
    return int((values > rounding(weight.W.shape) * values[0]).sum())
