"""Bringing an adapter's coefficients into a basis that is at hand, or finding the one they were trained with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch

from ..basis import DTYPES, TOLERANCE, align, fingerprint, same_weight
from ..decomposition import Decomposer, Decomposition, is_randomized
from .spec import CoefficientSpec


class Settled(Protocol):
    """What is asked of a layer here: `svft.layer.SvftLayer` answers."""

    own_fingerprint: torch.Tensor | None
    own_signature: torch.Tensor
    spec: dict[str, CoefficientSpec]
    module_name: str
    decomposer: ClassVar[Decomposer]

    def get_matrix(self) -> torch.Tensor:
        """Return W (out, in)."""
        ...

    def weight_is_explained(self, exact: bool = False) -> bool:
        """Return whether W still is what was decomposed."""
        ...

    def coefficient_positions(
        self, adapter_name: str, stored: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (i, j) of each coefficient."""
        ...


@dataclass(frozen=True)
class Stored:
    """What a checkpoint says about an adapter in one matrix; None for what it does not say.

    Attributes:
        values: Coefficients (k,).
        fingerprint: Fingerprint of the weight they were trained on.
        signature: Signature of the basis they were trained with (2, m, 2).
        indices: Flat indices (k,), for patterns that store them.
        with_basis: Whether U and V come along.
    """

    values: torch.Tensor
    fingerprint: torch.Tensor | None
    signature: torch.Tensor | None
    indices: torch.Tensor | None = None
    with_basis: bool = False


@dataclass(frozen=True)
class Fit:
    """How stored coefficients are to be used.

    Attributes:
        values: Coefficients (k,) with repaired signs.
        basis: The decomposition they belong to, if it is not the one that the layer keeps.
        of_weight: Whether `basis` is that of the layer's present weight, so that the layer should keep it instead.
        error: Estimated relative error of ΔW if no basis fits, else None.
    """

    values: torch.Tensor
    basis: Decomposition | None = None
    of_weight: bool = False
    error: float | None = None


def fit(layer: Settled, adapter_name: str, stored: Stored) -> Fit:
    """Find the basis of stored coefficients; nothing is changed.

    The basis of the weight that the layer decomposed serves if the signatures agree, whatever weight that was: ΔW
    depends on U and V alone. Otherwise, in this order: the basis of the present weight, if that is what the adapter
    was trained on and what the layer decomposed has been replaced; that of the weight rounded to the type the adapter
    was trained on; that of the original weight from the cache, if the present one is a rounding of it.

    Args:
        layer: The layer with the adapter's pattern.
        adapter_name: The adapter.
        stored: What the checkpoint says.
    """
    if stored.with_basis:
        return Fit(stored.values)
    mark = stored.fingerprint
    same = same_weight(mark, layer.own_fingerprint)
    if mark is not None and not same and not layer.weight_is_explained():
        matrix = layer.get_matrix()
        if same_weight(fingerprint(matrix), mark):
            decomposition = layer.decomposer.decompose(matrix, layer.spec[adapter_name].rank, layer.module_name)
            return _against(layer, adapter_name, stored, decomposition.signature, decomposition, of_weight=True)
    here = Fit(stored.values, error=2**0.5)
    if layer.own_fingerprint is not None:
        here = _against(layer, adapter_name, stored, layer.own_signature)
    if here.error is None or mark is None or same:
        return here
    original = _original(layer, mark, layer.spec[adapter_name].rank)
    there = here if original is None else _against(layer, adapter_name, stored, original.signature, original)
    return here if there.error is not None else there


def _against(
    layer: Settled,
    adapter_name: str,
    stored: Stored,
    signature: torch.Tensor,
    basis: Decomposition | None = None,
    of_weight: bool = False,
) -> Fit:
    if stored.signature is None or stored.signature.shape[1] > signature.shape[1]:
        # Equal weights have equal U and V, except for what only a signature could tell.
        mark = layer.own_fingerprint if basis is None else basis.fingerprint
        same = stored.fingerprint is None or same_weight(stored.fingerprint, mark)
        return Fit(stored.values, basis, of_weight, None if same and stored.signature is None else 2**0.5)
    rows, cols = layer.coefficient_positions(adapter_name, stored.indices)
    alignment = align(stored.signature, signature[:, : stored.signature.shape[1]], rows, cols, stored.values)
    repaired = stored.values * alignment.signs.to(stored.values)
    return Fit(repaired, basis, of_weight, None if alignment.error <= TOLERANCE else alignment.error)


def _original(layer: Settled, mark: torch.Tensor, rank: int) -> Decomposition | None:
    """Return the decomposition of the weight with a fingerprint, if it can be had and W is a rounding of it."""
    matrix, code = layer.get_matrix(), int(mark[-1])
    randomized = rank if is_randomized(matrix.shape, rank) else None
    if code < len(DTYPES) and DTYPES[code].itemsize < matrix.dtype.itemsize:
        rounded = matrix.detach().to(DTYPES[code])
        if same_weight(fingerprint(rounded), mark):
            return layer.decomposer.decompose(rounded, randomized, layer.module_name)
    decomposition = layer.decomposer.recall(mark, randomized, matrix.device)
    return decomposition if decomposition is not None and _is_rounding(matrix, decomposition, DTYPES[code]) else None


def _is_rounding(matrix: torch.Tensor, of: Decomposition, dtype: torch.dtype) -> bool:
    """Whether W is the weight that was decomposed, but for the precision of its type: ‖Uᵀ W V − Σ‖ ≤ eps ‖Σ‖."""
    W = matrix.detach().to(of.U.dtype)
    rest = of.U.T @ (W @ of.V)
    rest.diagonal().sub_(of.sigma)
    return bool(rest.norm() <= max(torch.finfo(dtype).eps, torch.finfo(matrix.dtype).eps) * of.sigma.norm())
