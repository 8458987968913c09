"""Singular value decomposition of weights: exact or randomized, with canonical signs. Nothing is kept."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from .basis import canonical_signs, fingerprint, signature

logger = logging.getLogger(__name__)

FLOAT64_UP_TO = 1024  # min(out, in) up to which the SVD is computed in float64
RANDOMIZED_FROM = 2048  # min(out, in) from which a small rank is decomposed by a randomized method


@dataclass(frozen=True)
class Decomposition:
    """Thin SVD of a weight W (out, in), with n = min(out, in), or its leading part.

    Attributes:
        U: Left singular vectors (out, m); m is n, or the rank asked for if a randomized method was used.
        sigma: Singular values (m,), descending.
        V: Right singular vectors (in, m).
        signature: Probes of U and V (2, m, 2), see `svft.basis.signature`.
        fingerprint: Fingerprint of W (33,), see `svft.basis.fingerprint`.
        error: Largest residual ‖Wvᵢ − σᵢuᵢ‖ / σ₁ of the randomized method; 0 for the exact one.
    """

    U: torch.Tensor
    sigma: torch.Tensor
    V: torch.Tensor
    signature: torch.Tensor
    fingerprint: torch.Tensor
    error: float


class Decomposer(Protocol):
    """Where the tuner gets decompositions from; this module is one, and `svft.cache`, which keeps them on disk."""

    def decompose(self, weight: torch.Tensor, rank: int | None = None, name: str = "The weight") -> Decomposition:
        """Decompose a weight, see `decompose`."""
        ...

    def recall(self, mark: torch.Tensor, rank: int | None, device: torch.device) -> Decomposition | None:
        """Return the decomposition of an earlier weight, see `recall`."""
        ...


def is_randomized(shape: Sequence[int], rank: int | None) -> bool:
    """Return whether a weight of this shape is decomposed by the randomized method for a given rank."""
    n = min(shape)
    return rank is not None and n >= RANDOMIZED_FROM and 4 * rank <= n


def decompose(weight: torch.Tensor, rank: int | None = None, name: str = "The weight") -> Decomposition:
    """Decompose a weight.

    The method is exact (LAPACK), in float64 for n ≤ 1024 and in float32 above. Only if `rank` is small against a
    large n it is randomized (Halko, Martinsson & Tropp 2011, with power iterations), and `error` states how well.

    Args:
        weight: W (out, in), any floating type, any device.
        rank: Number of leading directions that are needed; None is all.
        name: What messages call the weight.

    Returns:
        The decomposition on the weight's device, float32 (float64 for a float64 weight).

    Raises:
        ValueError: If the weight has entries that are not finite.
    """
    if not torch.isfinite(weight).all():
        raise ValueError(f"{name} has NaN or infinite entries and cannot be decomposed.")
    randomized = is_randomized(weight.shape, rank)
    decomposition = _compute(weight, rank if randomized else None, fingerprint(weight))
    if randomized:
        logger.warning(
            "%s %s: randomized SVD to rank %d, residual up to %.1e of the largest singular value.",
            name, tuple(weight.shape), rank, decomposition.error,
        )  # fmt: skip
    return decomposition


def recall(mark: torch.Tensor, rank: int | None, device: torch.device) -> Decomposition | None:
    """Return the decomposition of the weight with a fingerprint: None, since nothing is kept here."""
    return None


def _compute(weight: torch.Tensor, rank: int | None, mark: torch.Tensor) -> Decomposition:
    keep = torch.float64 if weight.dtype == torch.float64 else torch.float32
    wide = torch.float64 if min(weight.shape) <= FLOAT64_UP_TO else keep
    W = weight.detach().to(wide)
    residual = 0.0
    if rank is None:
        U, sigma, V = exact_svd(W)
    else:
        with torch.random.fork_rng(devices=[W.device] if W.is_cuda else []):
            torch.manual_seed(0)
            U, sigma, V = torch.svd_lowrank(W, q=rank + 16, niter=4)
        U, sigma, V = U[:, :rank], sigma[:rank], V[:, :rank]
        residual = torch.linalg.vector_norm(W @ V - U * sigma, dim=0).max() / sigma[0].clamp_min(1e-30)
    U, V = canonical_signs(U, sigma, V)
    return Decomposition(
        U=U.to(keep).contiguous(),
        sigma=sigma.to(keep).contiguous(),
        V=V.to(keep).contiguous(),
        signature=signature(U, V),
        fingerprint=mark,
        error=float(residual),
    )


def exact_svd(W: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return U (out, n), sigma (n,), V (in, n) of W (out, in)."""
    if W.shape[0] < W.shape[1]:
        V, sigma, U = exact_svd(W.mT)
        return U, sigma, V
    if W.shape[0] < 2 * W.shape[1]:
        U, sigma, Vh = torch.linalg.svd(W, full_matrices=False)
        return U, sigma, Vh.mT
    # Of a tall weight only the triangle of its QR factorisation needs the slow algorithm.
    Q, R = torch.linalg.qr(W)
    U, sigma, Vh = torch.linalg.svd(R)
    return Q @ U, sigma, Vh.mT
