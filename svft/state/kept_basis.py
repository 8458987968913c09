"""U and V of a layer: kept once per weight, told apart from the weight when that changes, met by what is loaded."""

from __future__ import annotations

from typing import ClassVar, cast

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from .. import decomposition
from ..basis import report_mismatch
from ..decomposition import Decomposer, Decomposition, is_randomized
from ..errors import SvftError
from .buffers import Marks, OwnBasis
from .freshness import Witness, is_plain
from .settling import Settled, Stored, fit
from .spec import CoefficientSpec


class KeptBasis(BaseTunerLayer):
    """The part of an SVFT layer that knows which U and V the coefficients of each adapter belong to."""

    # What `SvftLayer` has beside it
    svft_coefficients: nn.ParameterDict
    svft_fingerprint: Marks
    svft_signature: Marks
    svft_sigma: Marks
    unsettled: set[str]
    svft_U: OwnBasis
    svft_V: OwnBasis
    spec: dict[str, CoefficientSpec]
    module_name: str
    out_features: int
    in_features: int
    fan_in_fan_out: bool

    # U and V (out, r) and (in, r), None before the first decomposition and after W has gone its way
    svft_shared_U: torch.Tensor | None
    svft_shared_V: torch.Tensor | None
    # Of the weight as it was when decomposed
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

    def ensure_basis(self, rank: int, dtype: torch.dtype | None) -> None:
        """Decompose W, or extend what is kept of its decomposition, so that U and V serve another adapter.

        If W was changed since, adapters that are here keep the U and V they have, and W is decomposed anew.

        Args:
            rank: Leading directions needed.
            dtype: Type to keep them in at least, None for W's own.

        Raises:
            SvftError: If what was decomposed can no longer be had: another adapter is merged into W, or W has drifted
                by merging; or if the basis at hand is a randomized one that cannot be extended.
        """
        if self.svft_shared_U is not None and not self.weight_is_explained(exact=True):
            self._part_from_weight()
        if self.has_basis(rank, dtype):
            return
        weight, kept = self.weight, self.svft_shared_U
        dtype = dtype or weight.dtype
        if kept is None:
            self._refuse_merged()
            decomposition = self.decomposer.decompose(self.get_matrix(), rank, self.module_name)
        else:
            if len(self.own_sigma) < min(self.out_features, self.in_features):
                raise SvftError(
                    f"{self.module_name} keeps a randomized basis of rank {len(self.own_sigma)}; an adapter of rank "
                    f"{rank} needs another one. Load it onto a base model of its own."
                )
            decomposition = self.decomposer.recall(self._fingerprint(), None, weight.device) or self._decompose_again()
            rank = max(rank, kept.shape[1])
            dtype = max(dtype, kept.dtype, key=lambda d: torch.finfo(d).bits)
        self._keep(decomposition, rank, dtype)

    def _refuse_merged(self) -> None:
        if self.merged:
            raise SvftError(
                f"{self.module_name} has the adapter {', '.join(self.merged_adapters)} merged into it: "
                "unmerge it before adding an adapter that needs a decomposition of the weight."
            )

    def _decompose_again(self) -> Decomposition:
        self._refuse_merged()
        if self.witness is None or not self.witness.is_decomposed(self.weight, exact=True):
            raise SvftError(
                f"{self.module_name} has changed since it was decomposed (merging and unmerging drifts a "
                "weight). Load this adapter onto a fresh base model."
            )
        return self.decomposer.decompose(self.get_matrix(), name=self.module_name)

    def _keep(self, found: Decomposition, rank: int, dtype: torch.dtype) -> None:
        """Keep the leading part of a decomposition of W; of the same weight, what is known of merging stays known."""
        if self.svft_shared_U is None:
            self.witness = Witness(self.weight, found.fingerprint, self.fan_in_fan_out)
        self.svft_shared_U = found.U[:, :rank].to(dtype).contiguous()
        self.svft_shared_V = found.V[:, :rank].to(dtype).contiguous()
        self.basis_precision = dtype
        self.own_fingerprint = found.fingerprint
        self.own_signature = found.signature
        self.own_sigma = found.sigma

    def _part_from_weight(self) -> None:
        """Let W go its way: adapters that share U and V take them along as their own."""
        for adapter_name in self.spec:
            if adapter_name not in self.svft_U and self.is_settled(adapter_name):
                U, V = self.get_basis(adapter_name)
                self._own(adapter_name, U, V, persistent=True)
        self.svft_shared_U = self.svft_shared_V = self.witness = None

    def _own(self, adapter_name: str, U: torch.Tensor, V: torch.Tensor, persistent: bool) -> None:
        self.svft_U.add(adapter_name, U.contiguous(), persistent)
        self.svft_V.add(adapter_name, V.contiguous(), persistent)

    def take_basis_of(self, adapter_name: str, other: str) -> None:
        """Give an adapter the U and V that another one has as its own."""
        U, V = self.get_basis(other)
        self._own(adapter_name, U, V, persistent=self.svft_U.is_saved(other))
        for container in (self.svft_fingerprint, self.svft_signature, self.svft_sigma):
            container[adapter_name] = container[other].clone()
        self.unsettled.discard(adapter_name)

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

    def get_basis(self, adapter_name: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (U, V) of an adapter, (out, r) and (in, r)."""
        if adapter_name in self.svft_U:
            return self.svft_U[adapter_name], self.svft_V[adapter_name]
        return self.kept_basis(self.spec[adapter_name].rank)

    def kept_basis(self, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the leading `rank` directions of U and V that the layer keeps, (out, rank) and (in, rank)."""
        assert self.svft_shared_U is not None
        assert self.svft_shared_V is not None
        return self.svft_shared_U[:, :rank], self.svft_shared_V[:, :rank]

    def is_settled(self, adapter_name: str) -> bool:
        """Return whether the adapter's coefficients are known to be in the basis that `get_basis` returns."""
        return adapter_name not in self.unsettled and (self.svft_shared_U is not None or adapter_name in self.svft_U)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def settle(self, adapter_name: str) -> None:
        """Bring coefficients that were loaded from elsewhere into the basis at hand, or find theirs.

        Loading is `load_state_dict` as well as PEFT's and transformers' own ways, and W may have come along, before or
        after. So this is done where the coefficients are first needed.

        Raises:
            BasisMismatchError: If no basis fits.
            SvftError: If the adapter has no values yet.
        """
        parameter = self.svft_coefficients[adapter_name]
        mark, seen = self.svft_fingerprint[adapter_name], self.svft_signature[adapter_name]
        own = [side[adapter_name] for side in (self.svft_U, self.svft_V) if adapter_name in side]
        if any(t.device.type == "meta" for t in (parameter, mark, seen, self.svft_sigma[adapter_name], *own)):
            raise SvftError(f"The adapter {adapter_name} on {self.module_name} has no values yet: load them first.")
        # Tensors made in inference mode could not be trained with later.
        with torch.inference_mode(False), torch.no_grad():
            if adapter_name in self.svft_U and not self.svft_U.is_saved(adapter_name):
                del self.svft_U[adapter_name], self.svft_V[adapter_name]  # found for what was loaded before
            stored = Stored(parameter, mark, seen, with_basis=self.svft_U.is_saved(adapter_name))
            fitted = fit(cast(Settled, self), adapter_name, stored)
            if fitted.error is not None:
                report_mismatch({self.module_name: fitted.error}, 1, mark, self.own_fingerprint)
            parameter.copy_(fitted.values)
            rank = self.spec[adapter_name].rank
            if fitted.basis is not None and fitted.of_weight:
                kept = self.svft_shared_U
                self._part_from_weight()
                ranks = [spec.rank for name, spec in self.spec.items() if name not in self.svft_U]
                self._keep(fitted.basis, max(ranks), self.weight.dtype if kept is None else kept.dtype)
            elif fitted.basis is not None:
                dtype = self.weight.dtype if self.svft_shared_U is None else self.svft_shared_U.dtype
                U, V = (side[:, :rank].to(dtype) for side in (fitted.basis.U, fitted.basis.V))
                self._own(adapter_name, U, V, persistent=False)
            self._mark(adapter_name, fitted.basis)

    def _mark(self, adapter_name: str, basis: Decomposition | None) -> None:
        """Record that the adapter's coefficients are in a basis, None for the one that the layer keeps."""
        containers = self.svft_fingerprint, self.svft_signature, self.svft_sigma
        if self.svft_U.is_saved(adapter_name):
            marks = [container[adapter_name] for container in containers]
        elif basis is None:
            marks = list(self.marks_of_kept_basis(adapter_name).values())
        else:
            m = len(self.svft_sigma[adapter_name])
            marks = [basis.fingerprint, basis.signature[:, :m], basis.sigma[:m]]
        device = self.svft_coefficients[adapter_name].device
        for container, mark, dtype in zip(containers, marks, (torch.uint8, torch.float16, torch.float32)):
            container[adapter_name] = mark.to(device, dtype, copy=True)
        self.unsettled.discard(adapter_name)

    def _fingerprint(self) -> torch.Tensor:
        assert self.own_fingerprint is not None
        return self.own_fingerprint

    def marks_of_kept_basis(self, adapter_name: str) -> dict[str, torch.Tensor]:
        """Return fingerprint, signature and sigma of the basis that the layer keeps, as an adapter's file has them."""
        m = self.basis_size(self.spec[adapter_name].rank)
        return {
            "svft_fingerprint": self._fingerprint().clone(),
            "svft_signature": self.own_signature[:, :m].to(torch.float16),
            "svft_sigma": self.own_sigma[:m].to(torch.float32, copy=True),
        }

    # -- what casts, moves and files do to U and V

    def _check_moved(self, was_U: torch.Tensor | None, was_V: torch.Tensor | None) -> None:
        """Notice what a cast or a move of the module has made of U and V.

        What lost precision is not folded any more, and what lost its values (`to_empty`) is computed anew.
        """
        U, V = self.svft_shared_U, self.svft_shared_V
        if U is None or V is None or was_U is None or was_V is None or U.device.type == "meta":
            return
        for was, now in ((was_U, U), (was_V, V)):
            lost = was.device.type == "meta" or not torch.equal(was.to(now.device, now.dtype), now)
            if lost:
                self.svft_shared_U = self.svft_shared_V = self.witness = None
                return
        self.basis_precision = min(self.basis_precision, U.dtype, key=lambda d: torch.finfo(d).bits)

    def basis_to_save(self, adapter_name: str, exact: bool = False) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Return U and V if they must be saved with an adapter, since W no longer is what they were computed from.

        Args:
            adapter_name: The adapter.
            exact: Whether to hash W to find out, see `svft.state.freshness.Witness.is_decomposed`.
        """
        if adapter_name in self.svft_U or not self.is_settled(adapter_name) or self.weight_is_explained(exact):
            return None
        U, V = self.get_basis(adapter_name)
        return U.contiguous(), V.contiguous()

    def _expect_basis(self, state_dict: dict[str, torch.Tensor], prefix: str) -> None:
        """Make a place for the U and V that a state dict has for an adapter, and take it away if it has none."""
        for name, coefficients in self.svft_coefficients.items():
            brings = f"{prefix}svft_U.{name}" in state_dict
            if brings and not self.svft_U.is_saved(name):
                dtype = self.weight.dtype if self.svft_shared_U is None else self.svft_shared_U.dtype
                for sides, rows in ((self.svft_U, self.out_features), (self.svft_V, self.in_features)):
                    side = torch.empty(rows, self.spec[name].rank, dtype=dtype, device=coefficients.device)
                    sides.add(name, side, persistent=True)
                    sides.brought.add(name)
            elif not brings and name in self.svft_U.brought and f"{prefix}svft_fingerprint.{name}" in state_dict:
                del self.svft_U[name], self.svft_V[name]
