"""U and V of a weight: decomposed once, found again if they are needed again, told apart from W when that changes."""

from __future__ import annotations

from typing import ClassVar, cast

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from .. import decomposition
from ..basis import PROBES
from ..decomposition import Decomposer, Decomposition, is_randomized
from ..errors import SvftError
from .freshness import Witness, is_plain
from .spec import CoefficientSpec


class WeightBasis(BaseTunerLayer):
    """The part of an SVFT layer that knows the singular vectors of its weight."""

    # What `SvftLayer` has beside it
    spec: dict[str, CoefficientSpec]
    module_name: str
    out_features: int
    in_features: int
    fan_in_fan_out: bool

    # U and V (out, r) and (in, r), None if no adapter needs more than the columns it has as its own
    svft_shared_U: torch.Tensor | None
    svft_shared_V: torch.Tensor | None
    # Of the weight as it was when decomposed; None before the first decomposition and after W has gone its way
    own_fingerprint: torch.Tensor | None
    own_signature: torch.Tensor
    own_sigma: torch.Tensor
    witness: Witness | None
    basis_precision: torch.dtype  # the narrowest type that U and V have been through

    # Set it to have decompositions from elsewhere.
    decomposer: ClassVar[Decomposer] = decomposition

    def _init_basis(self) -> None:
        for side in "UV":
            cast(nn.Module, self).register_buffer(f"svft_shared_{side}", None, persistent=False)
        self.own_fingerprint = self.witness = None

    def get_matrix(self) -> torch.Tensor:
        """Return W (out, in), whatever layout the layer keeps it in."""
        weight = self.get_base_weight()
        return weight.T if self.fan_in_fan_out else weight

    def singular_vectors(self, rank: int, dtype: torch.dtype | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Return at least the leading `rank` columns of U and V of W, and keep its marks, but not them.

        If W was changed since it was decomposed, adapters that are here keep the U and V they have, and W is
        decomposed anew.

        Args:
            rank: Leading directions needed.
            dtype: Type that they are needed in at least, None for W's own.

        Raises:
            SvftError: If what was decomposed can no longer be had: another adapter is merged into W, or W has drifted
                by merging; or if the basis at hand is a randomized one that cannot be extended.
        """
        if self.own_fingerprint is not None and not self.weight_is_explained(exact=True):
            self._part_from_weight()
        return self._vectors_as_decomposed(rank, dtype)

    def _vectors_as_decomposed(self, rank: int, dtype: torch.dtype | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Return at least the leading columns of U and V of W as it was when it was decomposed, if it has been."""
        kept, kept_V = self.svft_shared_U, self.svft_shared_V
        if kept is not None and kept_V is not None and self.has_basis(rank, dtype):
            return kept, kept_V
        dtype = dtype or self.weight.dtype
        if kept is not None:
            rank = max(rank, kept.shape[1])
            dtype = max(dtype, kept.dtype, key=lambda d: torch.finfo(d).bits)
        decomposition = self._decomposition(rank)
        return decomposition.U[:, :rank].to(dtype), decomposition.V[:, :rank].to(dtype)

    def _decomposition(self, rank: int) -> Decomposition:
        """Return the decomposition of W as it was when it was decomposed first, from wherever it can be had."""
        if self.own_fingerprint is None:
            self._refuse_merged()
            decomposition = self.decomposer.decompose(self.get_matrix(), rank, self.module_name)
            self._remember(decomposition)
            return decomposition
        m = len(self.own_sigma)
        randomized = m if m < min(self.out_features, self.in_features) else None
        if randomized is not None and rank > m:
            raise SvftError(
                f"{self.module_name} keeps a randomized basis of rank {m}; an adapter of rank {rank} needs another "
                "one. Load it onto a base model of its own."
            )
        recalled = self.decomposer.recall(self.own_fingerprint, randomized, self.weight.device)
        return recalled or self._decompose_again(randomized)

    def _refuse_merged(self) -> None:
        if self.merged:
            raise SvftError(
                f"{self.module_name} has the adapter {', '.join(self.merged_adapters)} merged into it: "
                "unmerge it before adding an adapter that needs a decomposition of the weight."
            )

    def _decompose_again(self, rank: int | None) -> Decomposition:
        self._refuse_merged()
        if self.witness is None or not self.witness.is_decomposed(self.weight, exact=True):
            raise SvftError(
                f"{self.module_name} has changed since it was decomposed (merging and unmerging drifts a "
                "weight). Load this adapter onto a fresh base model."
            )
        return self.decomposer.decompose(self.get_matrix(), rank, self.module_name)

    def _remember(self, decomposition: Decomposition) -> None:
        """Keep the marks of a decomposition of W."""
        self.witness = Witness(self.weight, decomposition.fingerprint, self.fan_in_fan_out)
        self.own_fingerprint = decomposition.fingerprint
        self.own_signature = decomposition.signature
        self.own_sigma = decomposition.sigma

    def keep_basis(self, U: torch.Tensor, V: torch.Tensor) -> None:
        """Keep U and V (out, r) and (in, r) of W for all adapters that need more than a few of their columns."""
        if U is not self.svft_shared_U:
            self.svft_shared_U, self.svft_shared_V = U.contiguous(), V.contiguous()
            self.basis_precision = U.dtype

    def ensure_basis(self, rank: int, dtype: torch.dtype | None) -> None:
        """Keep U and V for the leading `rank` directions in at least this type, see `singular_vectors`."""
        self.keep_basis(*self.singular_vectors(rank, dtype))

    def _part_from_weight(self) -> None:
        """Let W go its way, with what belongs to it as it was."""
        raise NotImplementedError

    def _forget_weight(self) -> None:
        self.svft_shared_U = self.svft_shared_V = self.own_fingerprint = self.witness = None

    def weight_seems_decomposed(self) -> bool:
        """Return whether W seems to be what U and V were computed from, see `svft.state.freshness.Witness`."""
        weight = self.weight
        if weight.device.type == "meta":  # a model without values is made to see what one with values would do
            return True
        return self.witness is not None and is_plain(weight) and self.witness.seems_decomposed(weight)

    def weight_is_explained(self, exact: bool = False) -> bool:
        """Return whether W is what U and V were computed from, but for what merging here has made of it.

        A weight that cannot be looked at, being sharded or not in memory, is not taken for another one.
        """
        weight = self.weight
        if not is_plain(weight):
            return True
        return self.witness is not None and self.witness.is_explained(weight, exact)

    def basis_size(self, rank: int) -> int:
        """Return m, the number of singular directions that an adapter of this rank records, whatever basis is kept."""
        shape = (self.out_features, self.in_features)
        return rank if is_randomized(shape, rank) else min(shape)

    def has_basis(self, rank: int, dtype: torch.dtype | None) -> bool:
        """Return whether U and V are at hand for the leading `rank` directions in at least this precision."""
        U = self.svft_shared_U
        if U is None or U.shape[1] < rank:
            return False
        return torch.finfo(dtype or U.dtype).bits <= torch.finfo(self.basis_precision).bits

    def kept_basis(self, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the leading `rank` directions of U and V that the layer keeps, (out, rank) and (in, rank)."""
        assert self.svft_shared_U is not None
        assert self.svft_shared_V is not None
        return self.svft_shared_U[:, :rank], self.svft_shared_V[:, :rank]

    def marks_of_kept_basis(self, adapter_name: str) -> dict[str, torch.Tensor]:
        """Return fingerprint, signature and sigma of the basis that the layer keeps, as an adapter's file has them."""
        m = self.basis_size(self.spec[adapter_name].rank)
        if self.own_fingerprint is None:  # they are to come with a file; until then they are zero
            return {
                "svft_fingerprint": torch.zeros(33, dtype=torch.uint8),
                "svft_signature": torch.zeros(2, m, PROBES, dtype=torch.float16),
                "svft_sigma": torch.zeros(m),
            }
        return {
            "svft_fingerprint": self.own_fingerprint.clone(),
            "svft_signature": self.own_signature[:, :m].to(torch.float16),
            "svft_sigma": self.own_sigma[:m].to(torch.float32, copy=True),
        }
