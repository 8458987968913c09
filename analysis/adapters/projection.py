"""Projecting an update ΔW into the singular basis of W: M = UᵀΔWV, and what of ΔW that leaves out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from svft.decomposition import FLOAT64_UP_TO, Decomposition


@dataclass(frozen=True)
class Update:
    """An update ΔW = left · right of one weight W (out, in), or a dense one.

    Attributes:
        left: (out, r), or the whole ΔW (out, in) if `right` is None.
        right: (r, in), or None.
        rank_bound: The most that its rank can be, by the method that made it.
        floor: Singular values up to here are rounding; None for max(shape)·eps·σ₁ of ΔW itself in float32.
    """

    left: torch.Tensor
    right: torch.Tensor | None
    rank_bound: int
    floor: float | None = None

    def dense(self) -> torch.Tensor:
        """Return ΔW (out, in)."""
        return self.left if self.right is None else self.left @ self.right


def project(update: Update, basis: Decomposition) -> tuple[np.ndarray, np.ndarray | None]:
    """Project ΔW into the thin basis U (out, n), V (in, n) of W.

    Returns:
        M = UᵀΔWV, (n, n) float64, and T, the coordinates of the rest: U⊥ᵀΔWV, (t, n), where out > in, UᵀΔWV⊥, (n, t),
        where out < in, None where W is square. ‖M‖_F² + ‖T‖_F² = ‖ΔW‖_F².
    """
    out, in_ = basis.U.shape[0], basis.V.shape[0]
    if out < in_:
        turned = Update(*_turned(update), update.rank_bound)
        M, T = _project_tall(turned, basis.V, basis.U)
        return M.T, None if T is None else T.T
    return _project_tall(update, basis.U, basis.V)


def _turned(update: Update) -> tuple[torch.Tensor, torch.Tensor | None]:
    return (update.left.mT, None) if update.right is None else (update.right.mT, update.left.mT)


def _project_tall(update: Update, U: torch.Tensor, V: torch.Tensor) -> tuple[np.ndarray, np.ndarray | None]:
    """Project where out ≥ in, so that V is a whole basis and only U leaves something out."""
    work = torch.float64 if V.shape[1] <= FLOAT64_UP_TO else torch.float32
    U, V, left = U.to(work), V.to(work), update.left.to(work)
    right = None if update.right is None else update.right.to(work) @ V  # (r, n)
    if right is None:
        left = left @ V  # ΔW V, (out, n)
    inside = U.mT @ left
    T = None
    if U.shape[0] > V.shape[0]:
        # The triangle of a QR factorisation has the coordinates of the rest, whatever basis the rest spans.
        triangle = torch.linalg.qr(left - U @ inside, mode="r").R
        T = (triangle if right is None else triangle @ right).double().numpy()
    M = inside if right is None else inside @ right
    return M.double().numpy(), T
