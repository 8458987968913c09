"""State of an adapted weight: its coefficients M by adapter, U and V, and merging."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import ClassVar

import torch
from peft.tuners._buffer_dict import BufferDict
from peft.tuners.tuners_utils import BaseTunerLayer, check_adapters_to_merge
from torch import nn
from transformers.pytorch_utils import Conv1D

from . import decomposition
from .basis import TOLERANCE, align, report_mismatch, same_weight
from .coefficients import dense_coefficients
from .decomposition import Decomposer, is_randomized
from .patterns import banded_indices, plain_indices


@dataclass(frozen=True)
class CoefficientSpec:
    """What one adapter trains in one matrix.

    Attributes:
        pattern: Name of the pattern that the matrix really gets.
        rank: Number r of leading directions that are open; n where nothing restricts it.
        off_diag: Half-width, for plain (0) and banded; None for patterns whose indices are stored.
    """

    pattern: str
    rank: int
    off_diag: int | None


class EmbeddedBasis(nn.Module):
    """Bases that adapters bring along, by adapter name: buffers that are saved and that PEFT does not cast."""

    def __setitem__(self, adapter_name: str, basis: torch.Tensor) -> None:
        self.register_buffer(adapter_name, basis)

    def __contains__(self, adapter_name: str) -> bool:
        return adapter_name in self._buffers

    def __getitem__(self, adapter_name: str) -> torch.Tensor:
        return self._buffers[adapter_name]

    def __delitem__(self, adapter_name: str) -> None:
        del self._buffers[adapter_name]

    def keys(self):
        """Return the names of the adapters."""
        return self._buffers.keys()


class SvftLayer(BaseTunerLayer):
    """State of the adapters of one weight, in dicts keyed by adapter name.

    U and V are kept once a weight, whatever the number of adapters; only an adapter with `embed_basis` has its own.
    """

    # Set it to have decompositions from elsewhere.
    decomposer: ClassVar[Decomposer] = decomposition

    # M, the only trained state
    adapter_layer_names = ("svft_coefficients",)
    # What goes into the adapter file beside it, and what only lives in memory
    other_param_names = (
        "svft_indices",
        "svft_sigma",
        "svft_shape",
        "svft_fingerprint",
        "svft_signature",
        "svft_U",
        "svft_V",
        "spec",
        "scaling",
        "aligned",
    )

    def __init__(self, base_layer: nn.Module) -> None:
        self.base_layer = base_layer
        self.svft_coefficients = nn.ParameterDict({})
        self.svft_indices = BufferDict({}, persistent=True)
        self.svft_sigma = BufferDict({}, persistent=True)
        self.svft_shape = BufferDict({}, persistent=True)
        self.svft_fingerprint = BufferDict({}, persistent=True)
        self.svft_signature = BufferDict({}, persistent=True)
        self.svft_U = EmbeddedBasis()
        self.svft_V = EmbeddedBasis()
        self.register_buffer("svft_shared_U", None, persistent=False)
        self.register_buffer("svft_shared_V", None, persistent=False)
        self.spec: dict[str, CoefficientSpec] = {}
        self.scaling: dict[str, float] = {}
        self.aligned: dict[str, bool] = {}  # adapter -> whether its basis was compared with ours since it was loaded
        # Of the weight as it was when decomposed; merging and unmerging drifts the weight itself.
        self.own_fingerprint: torch.Tensor | None = None
        self.own_signature: torch.Tensor | None = None
        self.own_sigma: torch.Tensor | None = None
        self.module_name = ""
        self._disable_adapters = False
        self.merged_adapters = []
        self.fan_in_fan_out = isinstance(self.get_base_layer(), Conv1D)
        weight = self.get_base_layer().weight
        self.out_features, self.in_features = reversed(weight.shape) if self.fan_in_fan_out else weight.shape

    def get_matrix(self) -> torch.Tensor:
        """Return W (out, in), whatever layout the layer keeps it in."""
        weight = self.get_base_weight()
        return weight.T if self.fan_in_fan_out else weight

    def update_layer(self, adapter_name: str) -> None:
        """Make a place for an adapter; `SvftModel` sizes and fills it when all matrices are known."""
        self.svft_coefficients[adapter_name] = nn.Parameter(torch.empty(0))
        self.scaling[adapter_name] = 1.0

    def ensure_basis(self, rank: int, dtype: torch.dtype | None) -> None:
        """Decompose W, or extend what is kept of its decomposition, so that U and V serve another adapter.

        Args:
            rank: Leading directions needed.
            dtype: Type to keep them in at least, None for W's own.

        Raises:
            ValueError: Where the weight no longer is what was decomposed: another adapter is merged into it, or it
                has drifted; or where the basis at hand is a randomized one that cannot be extended.
        """
        if self.has_basis(rank, dtype):
            return
        if self.merged:
            raise ValueError(
                f"{self.module_name} has the adapter {', '.join(self.merged_adapters)} merged into it: "
                "unmerge it before adding an adapter that needs a decomposition of the weight."
            )
        matrix = self.get_matrix()
        dtype = dtype or matrix.dtype
        kept = self.svft_shared_U
        if kept is None:
            found = self.decomposer.decompose(matrix, rank, self.module_name)
        else:
            if len(self.own_sigma) < min(matrix.shape):
                raise ValueError(
                    f"{self.module_name} keeps a randomized basis of rank {len(self.own_sigma)}; an adapter of rank "
                    f"{rank} needs another one. Load it onto a base model of its own."
                )
            found = self.decomposer.decompose(matrix, name=self.module_name)
            if not same_weight(found.fingerprint, self.own_fingerprint):
                raise ValueError(
                    f"{self.module_name} has changed since it was decomposed (merging and unmerging drifts a "
                    "weight). Load this adapter onto a fresh base model."
                )
            rank = max(rank, kept.shape[1])
            dtype = max(dtype, kept.dtype, key=lambda d: torch.finfo(d).bits)
        self.svft_shared_U = found.U[:, :rank].to(dtype).contiguous()
        self.svft_shared_V = found.V[:, :rank].to(dtype).contiguous()
        self.own_fingerprint = found.fingerprint
        self.own_signature = found.signature
        self.own_sigma = found.sigma

    def basis_size(self, rank: int) -> int:
        """Return m, the number of singular directions that an adapter of this rank records, whatever basis is kept."""
        shape = (self.out_features, self.in_features)
        return rank if is_randomized(shape, rank) else min(shape)

    def has_basis(self, rank: int, dtype: torch.dtype | None) -> bool:
        """Return whether U and V are at hand for the leading `rank` directions in at least this precision."""
        U = self.svft_shared_U
        if U is None or U.shape[1] < rank:
            return False
        return dtype is None or torch.finfo(dtype).bits <= torch.finfo(U.dtype).bits

    def init_adapter(
        self,
        adapter_name: str,
        spec: CoefficientSpec,
        indices: torch.Tensor,
        init: torch.Tensor,
        embed_basis: bool,
    ) -> None:
        """Give an adapter its pattern and its first coefficients.

        Args:
            adapter_name: The adapter.
            spec: Pattern, rank and half-width.
            indices: Flat indices (k,) into M (m, m), in storage order.
            init: First values (k,).
            embed_basis: Whether the adapter carries U and V itself.
        """
        device = self.get_base_weight().device
        placeholder = self.svft_coefficients[adapter_name]
        values = init.to(device, torch.float32)
        self.svft_coefficients[adapter_name] = nn.Parameter(values, requires_grad=placeholder.requires_grad)
        if spec.off_diag is None:
            self.svft_indices[adapter_name] = indices.to(device, torch.int32)
        m = self.basis_size(spec.rank)
        self.svft_sigma[adapter_name] = self.own_sigma[:m].to(device, torch.float32).clone()
        self.svft_shape[adapter_name] = torch.tensor(
            [self.out_features, self.in_features], dtype=torch.int32, device=device
        )
        self.svft_fingerprint[adapter_name] = self.own_fingerprint.to(device).clone()
        self.svft_signature[adapter_name] = self.own_signature[:, :m].to(device, torch.float16)
        if embed_basis:
            self.svft_U[adapter_name] = self.svft_shared_U[:, : spec.rank].clone()
            self.svft_V[adapter_name] = self.svft_shared_V[:, : spec.rank].clone()
        self.spec[adapter_name] = spec
        self.aligned[adapter_name] = False

    def set_scale(self, adapter_name: str, scale: float) -> None:
        """Turn the dial α of an adapter: the layer applies U (Σ + αM) Vᵀ. Not saved with the adapter.

        Raises:
            ValueError: While the adapter is merged, since unmerging would take out another multiple of it.
        """
        if adapter_name in self.merged_adapters:
            raise ValueError(f"{adapter_name} is merged into {self.module_name}: unmerge it before turning its dial.")
        if adapter_name in self.scaling:
            self.scaling[adapter_name] = float(scale)

    # -- the basis

    def get_basis(self, adapter_name: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (U, V) of an adapter, (out, r) and (in, r)."""
        if adapter_name in self.svft_U:
            return self.svft_U[adapter_name], self.svft_V[adapter_name]
        rank = self.spec[adapter_name].rank
        return self.svft_shared_U[:, :rank], self.svft_shared_V[:, :rank]

    def coefficient_positions(
        self, adapter_name: str, stored: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (i, j) of each coefficient, int64 (k,) each; `stored` indices replace the layer's own."""
        spec = self.spec[adapter_name]
        m = len(self.svft_sigma[adapter_name])
        if spec.off_diag is not None:
            flat = banded_indices(m, spec.off_diag, spec.rank) if spec.off_diag else plain_indices(m, spec.rank)
        else:
            flat = (self.svft_indices[adapter_name] if stored is None else stored).long()
        return flat // m, flat % m

    def align_adapter(
        self,
        adapter_name: str,
        values: torch.Tensor,
        stored_fingerprint: torch.Tensor,
        stored_signature: torch.Tensor,
        stored_indices: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, float | None]:
        """Bring stored coefficients into this layer's basis.

        Returns:
            The coefficients (k,) with repaired signs, and None where the bases agree; else the estimated relative
            error of ΔW.
        """
        known = same_weight(stored_fingerprint, self.own_fingerprint)
        if adapter_name in self.svft_U:  # it brought its own basis: nothing to repair
            return values, None
        rows, cols = self.coefficient_positions(adapter_name, stored_indices)
        own_signature = self.own_signature[:, : stored_signature.shape[1]]
        found = align(stored_signature, own_signature, rows, cols, values)
        repaired = values * found.signs.to(values)
        return repaired, None if known and found.error <= TOLERANCE else found.error

    @torch.compiler.disable
    def _align_once(self, adapter_name: str) -> None:
        # Loaders that bypass `SvftModel` (transformers' own) fill our buffers without telling us.
        parameter = self.svft_coefficients[adapter_name]
        if parameter.device.type == "meta":
            raise ValueError(f"The adapter {adapter_name} on {self.module_name} has no values yet: load them first.")
        mark, seen = self.svft_fingerprint[adapter_name], self.svft_signature[adapter_name]
        # Tensors made in inference mode could not be trained with later.
        with torch.inference_mode(False), torch.no_grad():
            values, error = self.align_adapter(adapter_name, parameter, mark, seen)
            if error is not None:
                report_mismatch({self.module_name: error}, 1, mark, self.own_fingerprint)
            parameter.copy_(values)
            self.take_over(adapter_name)

    def take_over(self, adapter_name: str) -> None:
        """Record that the adapter now speaks this layer's basis."""
        self.aligned[adapter_name] = True
        if adapter_name in self.svft_U:
            return
        m, device = len(self.svft_sigma[adapter_name]), self.svft_sigma[adapter_name].device
        self.svft_signature[adapter_name] = self.own_signature[:, :m].to(device, torch.float16)
        self.svft_fingerprint[adapter_name] = self.own_fingerprint.to(device).clone()
        self.svft_sigma[adapter_name] = self.own_sigma[:m].to(device, torch.float32).clone()

    # -- PEFT's calls

    def _move_adapter_to_device_of_base_layer(self, adapter_name: str, device: torch.device | None = None) -> None:
        # PEFT would cast M to the base's type; M is float32.
        device = device or self.get_base_weight().device
        for name in (*self.adapter_layer_names, *self.other_param_names):
            entries = getattr(self, name)
            held = isinstance(entries, (nn.ParameterDict, BufferDict, EmbeddedBasis)) and adapter_name in entries
            if held and entries[adapter_name].device.type != "meta":
                entries[adapter_name] = entries[adapter_name].to(device)

    def get_delta_weight(self, adapter: str) -> torch.Tensor:
        """Return the update ΔW = U (αM) Vᵀ in the layout and type of the base weight."""
        return self._delta(adapter).to(self.get_base_weight().dtype)

    def _delta(self, adapter: str) -> torch.Tensor:
        """Return the update in at least float32, in the layout of the base weight."""
        if not self.aligned[adapter]:
            self._align_once(adapter)
        U, V = self.get_basis(adapter)
        wide = torch.float64 if U.dtype == torch.float64 else torch.float32
        U, V, values = U.to(wide), V.to(wide), self._values(adapter).detach().to(wide)
        if self.spec[adapter].off_diag == 0:
            left = U * values
        else:
            left = U @ dense_coefficients(values, self._block_indices(adapter), U.shape[1])
        return V @ left.T if self.fan_in_fan_out else left @ V.T

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Merge adapters into the base weight.

        Args:
            safe_merge: Whether to check the merged weight for NaN and infinity before it is used.
            adapter_names: The adapters; None means the active ones.

        Raises:
            ValueError: With `safe_merge`, where the merged weight would not be finite.
        """
        for adapter_name in check_adapters_to_merge(self, adapter_names):
            if adapter_name not in self.svft_coefficients:
                continue
            weight = self.get_base_weight()
            delta = self._delta(adapter_name)
            merged = (weight.to(delta.dtype) + delta).to(weight.dtype)
            if safe_merge and not torch.isfinite(merged).all():
                raise ValueError(
                    f"NaN or infinity in the merged weight of {self.module_name}: adapter {adapter_name} is broken."
                )
            self.set_base_weight(merged)
            self.merged_adapters.append(adapter_name)

    def unmerge(self) -> None:
        """Take all merged adapters out of the base weight."""
        if not self.merged:
            warnings.warn("Already unmerged. Nothing to do.", stacklevel=2)
            return
        while self.merged_adapters:
            adapter_name = self.merged_adapters.pop()
            if adapter_name in self.svft_coefficients:
                weight = self.get_base_weight()
                delta = self._delta(adapter_name)
                self.set_base_weight((weight.to(delta.dtype) - delta).to(weight.dtype))

    def _values(self, adapter: str) -> torch.Tensor:
        scale = self.scaling[adapter]
        values = self.svft_coefficients[adapter]
        return values if scale == 1.0 else values * scale

    def _block_indices(self, adapter: str) -> torch.Tensor:
        """Return the flat indices within the leading r×r block, int64 (k,)."""
        spec = self.spec[adapter]
        if spec.off_diag is None and spec.rank == len(self.svft_sigma[adapter]):
            return self.svft_indices[adapter].long()
        rows, cols = self.coefficient_positions(adapter)
        return (rows * spec.rank + cols).to(self.svft_sigma[adapter].device)

    def supports_lora_conversion(self, adapter_name: str = "default") -> bool:
        """Return True: ΔW is additive."""
        return True
