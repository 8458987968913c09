"""The basis of an adapter: recognising it again, and bringing an adapter's coefficients into it.

Coefficients mean something only against the singular vectors they were trained with, and an SVD is unique only up to
signs, and up to rotations if singular values coincide or vanish. An adapter therefore carries, for each matrix, a
fingerprint of the weight as it was when decomposed and a small signature of U and V: two fixed random projections
of each singular vector. The signature tells signs, and estimates how far two decompositions differ.
"""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from .contexts import mismatch_allowed
from .errors import SvftError

PROBES = 2
# Relative error of ΔW up to which two bases count as one: far above what another machine's LAPACK changes for
# separated singular values, about twice what rounding U and V to bfloat16 does (0.23%). The basis of a base rounded to
# bfloat16 is 6.6% off (median of the default model's matrices, up to 23%), and changes logits 3 to 4 times as much as
# bfloat16 itself: no reason for a larger tolerance. The numbers are in docs/numerics.md.
TOLERANCE = 5e-3
# The place of a type in this tuple is its code in adapter files: append only.
DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


class BasisMismatchError(SvftError):
    """An adapter's coefficients cannot be brought into the basis of the weights they are loaded onto."""


def fingerprint(weight: torch.Tensor) -> torch.Tensor:
    """Return the fingerprint of a weight (out, in): uint8 (33,), SHA-256 of shape and values and a code of the dtype.

    Values are hashed as float32 (float64 only if float32 cannot hold them), so that an exact copy in a wider type has
    the same hash.
    """
    wide = weight.detach().to("cpu", torch.float32).contiguous()
    if weight.dtype == torch.float64:
        exact = weight.detach().to("cpu").contiguous()
        wide = wide if torch.equal(wide.double(), exact) else exact
    digest = hashlib.sha256(repr((wide.dtype, tuple(wide.shape))).encode())
    digest.update(wide.numpy().data.cast("B"))
    code = bytes([DTYPES.index(weight.dtype)])
    return torch.frombuffer(bytearray(digest.digest() + code), dtype=torch.uint8)


def same_weight(a: torch.Tensor | None, b: torch.Tensor | None) -> bool:
    """Return whether two fingerprints are there and stand for equal values, whatever the dtypes."""
    return a is not None and b is not None and torch.equal(a[:-1].cpu(), b[:-1].cpu())


def fingerprint_dtype(mark: torch.Tensor) -> str:
    """Return the name of the dtype that a fingerprint records, such as "float32"."""
    code = int(mark[-1])
    return str(DTYPES[code]).removeprefix("torch.") if code < len(DTYPES) else "an unknown type"


@lru_cache(maxsize=32)
def _probes(size: int, seed: int) -> torch.Tensor:
    # RandomState, unlike newer generators, promises the same stream in every version of NumPy.
    return torch.from_numpy(np.random.RandomState(seed).standard_normal((PROBES, size)))


def signature(U: torch.Tensor, V: torch.Tensor) -> torch.Tensor:
    """Return the signature of a basis, U (out, m) and V (in, m): float32 (2, m, 2), probes of left and right vectors.

    For unit vectors each entry is standard normal, and the mean square of differences between two signatures
    estimates the squared distance of the vectors.
    """
    sides = [(_probes(B.shape[0], seed).to(B.device, B.dtype) @ B).T for seed, B in ((1, U), (2, V))]
    return torch.stack(sides).float().cpu()


def canonical_signs(U: torch.Tensor, sigma: torch.Tensor, V: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (U, V) with the largest entry of every left vector positive, and its partner flipped along.

    If the singular value vanishes the right vector is free of the left one, and gets the rule by itself.
    """

    def leading_sign(B: torch.Tensor) -> torch.Tensor:
        leading = B.gather(0, B.abs().argmax(dim=0, keepdim=True)).squeeze(0)
        return torch.where(leading < 0, -1.0, 1.0).to(B.dtype)

    left = leading_sign(U)
    floor = sigma[0] * max(U.shape[0], V.shape[0]) * torch.finfo(sigma.dtype).eps
    right = torch.where(sigma > floor, left, leading_sign(V))
    return U * left, V * right


@dataclass(frozen=True)
class Alignment:
    """How an adapter's basis relates to the basis at hand.

    Attributes:
        signs: Factor ±1 for each coefficient (k,).
        error: Estimated ‖ΔW' − ΔW‖_F / ‖ΔW‖_F after the signs are repaired, if nothing else is.
    """

    signs: torch.Tensor
    error: float


def align(
    stored: torch.Tensor, own: torch.Tensor, rows: torch.Tensor, cols: torch.Tensor, values: torch.Tensor
) -> Alignment:
    """Compare the signature in an adapter file with that of the basis at hand.

    The update is a sum of M_ij uᵢvⱼᵀ with orthonormal terms, so each pair of vectors contributes to its error in
    proportion to the energy of its coefficient.

    Args:
        stored: Signature from the file (2, m, 2).
        own: Signature of the basis at hand (2, m, 2).
        rows: i of each coefficient (k,).
        cols: j of each coefficient (k,).
        values: The coefficients (k,).
    """
    stored, own = stored.double().cpu(), own.double().cpu()
    rows, cols, values = rows.cpu(), cols.cpu(), values.detach().double().cpu()
    flip = torch.where((stored * own).sum(dim=-1) < 0, -1.0, 1.0)  # (2, m)
    distance = (stored - flip.unsqueeze(-1) * own).square().mean(dim=-1)  # (2, m), squared
    energy = values.square().nan_to_num(nan=0, posinf=0)  # a broken coefficient says nothing about the basis
    if not energy.any():
        energy = torch.ones_like(energy)  # an untrained adapter: every entry counts alike
    error = (energy * (distance[0, rows] + distance[1, cols])).sum() / energy.sum()
    return Alignment(signs=flip[0, rows] * flip[1, cols], error=float(error.sqrt()))


def report_mismatch(
    errors: dict[str, float], total: int, stored: torch.Tensor | None, own: torch.Tensor | None
) -> None:
    """Raise, or warn if `allow_basis_mismatch` is in force, about matrices that could not be aligned.

    Args:
        errors: Estimated relative error of ΔW by module.
        total: Number of matrices in the adapter.
        stored: A fingerprint from the adapter, None if it has none.
        own: The fingerprint of the same matrix here, None if it was never decomposed.
    """
    names = ", ".join(list(errors)[:5]) + (f" and {len(errors) - 5} more" if len(errors) > 5 else "")
    worst = min(max(errors.values()), 2**0.5)
    estimate = f"estimated error of ΔW up to {100 * worst:.1f}% of its norm"
    if stored is None or own is None:
        was = is_ = ""
    else:
        was, is_ = fingerprint_dtype(stored), fingerprint_dtype(own)
    if was and same_weight(stored, own):
        cause = (
            "the weights are the adapter's, but their singular vectors came out rotated "
            "(equal or vanishing singular values)"
        )
        remedy = "save the adapter with embed_basis=True where it was trained"
    elif was != is_:
        cause = f"the adapter was trained on {was} weights and these are {is_}"
        remedy = (
            f"load the base model in {was} (once on this machine is enough: the basis is then in the cache), or save "
            "the adapter with embed_basis=True where it was trained"
        )
    else:
        cause = "the weights are not those that the adapter was trained on"
        remedy = "load the base model that the adapter names, or save it with embed_basis=True where it was trained"
    message = f"{len(errors)} of {total} matrices do not match the adapter's basis ({names}): {cause}; {estimate}."
    if mismatch_allowed():
        warnings.warn(message, stacklevel=3)
        return
    raise BasisMismatchError(f"{message} To fix this, {remedy}, or accept the error with svft.allow_basis_mismatch().")
