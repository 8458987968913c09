"""Why an adapter needs the very vectors that it was trained with, and how its file recognises them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from analysis.adapters.adapter import AdaptedMatrix
from analysis.lessons.answers import Answer
from analysis.lessons.factors import flipped_signs
from analysis.lessons.weights import Weight
from svft.basis import align, signature


def update_error(matrix: AdaptedMatrix, factor: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> float:
    """Return ‖ΔW' − ΔW‖ / ‖ΔW‖ if each entry of M acts with a factor of its own.

    U and V have orthonormal columns, so it is ‖M' − M‖ / ‖M‖.
    """
    norm = float(np.linalg.norm(matrix.values))
    changed = matrix.values * factor(matrix.rows, matrix.cols)
    return float(np.linalg.norm(changed - matrix.values)) / norm if norm else 0.0


@dataclass(frozen=True, eq=False)
class Repair:
    """What the signature in a file says about vectors that came out with other signs.

    Attributes:
        signs: Factor ±1 for each entry of M, (n, n).
        weight_error: ‖U'ΣV'ᵀ − W‖ / ‖W‖ of the flipped vectors: they are an SVD of W too.
    """

    signs: np.ndarray
    weight_error: float


def repair(weight: Weight, every: int) -> Repair:
    """Flip each `every`-th pair of a weight's singular vectors, and find the flips by the two signatures alone."""
    n = len(weight.sigma)
    flips = np.where(np.arange(n) % every == 0, -1.0, 1.0)
    U, V = weight.U * flips, weight.V * flips
    rows, cols = (torch.from_numpy(index.ravel()) for index in np.indices((n, n)))
    before = signature(torch.from_numpy(weight.U), torch.from_numpy(weight.V))
    after = signature(torch.from_numpy(U), torch.from_numpy(V))
    signs = align(before, after, rows, cols, torch.ones(n * n)).signs.numpy().reshape(n, n)
    error = np.linalg.norm((U * weight.sigma) @ V.T - weight.W) / np.linalg.norm(weight.W)
    return Repair(signs, float(error))


def flipped(every: int, repaired: Repair | None) -> Callable:
    """Return the factors of M's entries if each `every`-th pair is flipped, and repaired if that was found.

    They take (i, j) as numpy arrays or as tensors, and return the like.
    """

    def factor(i, j):
        flips = flipped_signs(every)(i, j)
        if repaired is None:
            return flips
        signs = repaired.signs[np.asarray(i), np.asarray(j)]
        return flips * (torch.from_numpy(signs) if isinstance(i, torch.Tensor) else signs)

    return factor


IMMUNE = "plain"


def check_immune(given: str) -> Answer:
    """Return the reply to which pattern is not harmed if whole pairs (uᵢ, vᵢ) are flipped."""
    if given == IMMUNE:
        return Answer(
            True, "Right: Mᵢᵢ uᵢvᵢᵀ has both signs twice, (−uᵢ)(−vᵢ)ᵀ = uᵢvᵢᵀ. Any i ≠ j can change its sign."
        )
    return Answer(
        False,
        f"{given} has entries off the diagonal: Mᵢⱼ uᵢvⱼᵀ changes sign if one of the pairs i and j is flipped. "
        "Which pattern has none?",
    )
