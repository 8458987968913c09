"""State of an adapted weight: its coefficients M by adapter, U and V, and merging."""

from __future__ import annotations

import warnings

import torch
from peft.tuners.tuners_utils import check_adapters_to_merge
from torch import nn
from transformers.pytorch_utils import Conv1D

from .coefficients import dense_coefficients
from .errors import SvftError
from .patterns import banded_indices, plain_indices
from .state.buffers import Marks, OwnBasis, TypedBuffers
from .state.columns import Columns
from .state.freshness import is_plain
from .state.kept_basis import KeptBasis
from .state.spec import CoefficientSpec as CoefficientSpec


class SvftLayer(KeptBasis):
    """State of the adapters of one weight, in dicts keyed by adapter name.

    U and V are kept once per weight, whatever the number of adapters that need them. An adapter has the columns that
    its entries use as its own if they are few (`svft.state.columns.keeps_used_columns`), if it is saved with them
    (`embed_basis`), or if it belongs to another weight than the layer's.
    """

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
        "svft_places",
        "columns",
        "spec",
        "scaling",
    )

    def __init__(self, base_layer: nn.Module) -> None:
        self.base_layer = base_layer
        self.svft_coefficients = nn.ParameterDict({})
        # Adapters with marks or indices that a loader has replaced by others, and that nobody has compared since
        self.unsettled: set[str] = set()
        self.svft_indices = Marks(self.unsettled)
        self.svft_sigma = Marks(self.unsettled)
        self.svft_shape = TypedBuffers()
        self.svft_fingerprint = Marks(self.unsettled)
        self.svft_signature = Marks(self.unsettled)
        self.svft_U = OwnBasis()
        self.svft_V = OwnBasis()
        self.svft_places = OwnBasis()
        self.columns: dict[str, Columns] = {}
        self._init_basis()
        self.spec: dict[str, CoefficientSpec] = {}
        self.scaling: dict[str, float] = {}
        self.module_name = ""
        self._disable_adapters = False
        self.merged_adapters = []
        self.fan_in_fan_out = isinstance(self.get_base_layer(), Conv1D)
        self.out_features, self.in_features = self.get_matrix().shape

    def update_layer(self, adapter_name: str) -> None:
        """Make a place for an adapter; `SvftModel` sizes and fills it when all matrices are known.

        Raises:
            ValueError: If the name is one that PyTorch's modules use themselves.
        """
        if adapter_name not in self.svft_coefficients:
            for container in (self.svft_coefficients, self.svft_sigma, self.svft_U):
                if hasattr(container, adapter_name):
                    raise ValueError(f"{adapter_name} is an attribute of modules: give the adapter another name.")
        self.svft_coefficients[adapter_name] = nn.Parameter(torch.empty(0))
        self.scaling[adapter_name] = 1.0

    def init_adapter(
        self,
        adapter_name: str,
        spec: CoefficientSpec,
        indices: torch.Tensor,
        init: torch.Tensor,
        basis: tuple[torch.Tensor, torch.Tensor] | None,
        embed_basis: bool = False,
        basis_dtype: torch.dtype | None = None,
    ) -> None:
        """Give an adapter its pattern and its first coefficients.

        Args:
            adapter_name: The adapter.
            spec: Pattern, rank and half-width.
            indices: Flat indices (k,) into M (m, m), in storage order.
            init: First values (k,).
            basis: At least the leading columns of U and V that are open to it; None if a file is going to bring those
                that it uses.
            embed_basis: Whether the adapter is saved with the columns that it uses.
            basis_dtype: Type of what a file brings; None is W's own.
        """
        placeholder = self.svft_coefficients[adapter_name]
        # Values on the meta device stand for those that a checkpoint will bring: so does all that it has.
        device = init.device if init.device.type == "meta" else self.get_base_weight().device
        self.spec[adapter_name] = spec
        values = init.to(device, torch.float32)
        self.svft_coefficients[adapter_name] = nn.Parameter(values, requires_grad=placeholder.requires_grad)
        if spec.off_diag is None:
            self.svft_indices[adapter_name] = indices.to(device, torch.int32)
        self.svft_shape[adapter_name] = torch.tensor(
            [self.out_features, self.in_features], dtype=torch.int32, device=device
        )
        for name, mark in self.marks_of_kept_basis(adapter_name).items():
            getattr(self, name)[adapter_name] = mark.to(device)
        if basis is None:
            self.promise_basis(adapter_name, indices, basis_dtype)
        else:
            self.adopt(adapter_name, *basis, embed_basis, indices)
        if device.type == "meta" and self.get_base_weight().device.type != "meta":
            self.unsettled.add(adapter_name)
            if embed_basis:
                for sides in (self.svft_U, self.svft_V):
                    sides[adapter_name] = sides[adapter_name].to(device)

    def set_scale(self, adapter_name: str, scale: float) -> None:
        """Turn the dial α of an adapter: the layer applies U (Σ + αM) Vᵀ. Not saved with the adapter.

        Raises:
            SvftError: While the adapter is merged, since unmerging would take out another multiple of it.
        """
        if adapter_name in self.merged_adapters:
            raise SvftError(f"{adapter_name} is merged into {self.module_name}: unmerge it before turning its dial.")
        if adapter_name in self.scaling:
            self.scaling[adapter_name] = float(scale)

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

    # -- PEFT's calls

    def _move_adapter_to_device_of_base_layer(self, adapter_name: str, device: torch.device | None = None) -> None:
        # PEFT would cast M to the base's type; M is float32.
        device = device or self.get_base_weight().device
        for name in (*self.adapter_layer_names, *self.other_param_names):
            entries = getattr(self, name)
            held = isinstance(entries, (nn.ParameterDict, TypedBuffers, OwnBasis)) and adapter_name in entries
            if held and entries[adapter_name].device.type != "meta":
                entries[adapter_name] = entries[adapter_name].to(device)

    def get_delta_weight(self, adapter: str) -> torch.Tensor:
        """Return the update ΔW = U (αM) Vᵀ in the layout and type of the base weight."""
        return self._delta(adapter).to(self.get_base_weight().dtype)

    def _delta(self, adapter: str) -> torch.Tensor:
        """Return the update in at least float32, in the layout of the base weight."""
        if not self.is_settled(adapter):
            self.settle(adapter)
        U, V = self.get_basis(adapter)
        wide = torch.float64 if U.dtype == torch.float64 else torch.float32
        U, V, values = U.to(wide), V.to(wide), self._values(adapter).detach().to(wide)
        if self._is_diagonal(adapter):
            left = U * values
        else:
            left = U @ dense_coefficients(values, self.flat_places(adapter), U.shape[1], V.shape[1])
        return V @ left.T if self.fan_in_fan_out else left @ V.T

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Merge adapters into the base weight.

        Args:
            safe_merge: Whether to check the merged weight for NaN and infinity before it is used.
            adapter_names: The adapters; None means the active ones.

        Raises:
            SvftError: With `safe_merge`, if the merged weight would not be finite.
        """
        for adapter_name in check_adapters_to_merge(self, adapter_names):
            if adapter_name not in self.svft_coefficients:
                continue
            weight = self.get_base_weight()
            delta = self._delta(adapter_name)
            merged = (weight.to(delta.dtype) + delta).to(weight.dtype)
            if safe_merge and not torch.isfinite(merged).all():
                raise SvftError(f"NaNs detected in the merged weights. The adapter {adapter_name} seems to be broken")
            self._set_weight(merged)
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
                self._set_weight((weight.to(delta.dtype) - delta).to(weight.dtype))

    def _set_weight(self, weight: torch.Tensor) -> None:
        explained = self.weight_is_explained()
        self.set_base_weight(weight)
        if explained and self.witness is not None and is_plain(self.weight):
            self.witness.explain(self.weight)

    def _values(self, adapter: str) -> torch.Tensor:
        scale = self.scaling[adapter]
        values: torch.Tensor = self.svft_coefficients[adapter]
        return values if scale == 1.0 else values * scale

    def _is_diagonal(self, adapter: str) -> bool:
        """Whether an adapter's M is diagonal as seen from the columns that `get_basis` returns."""
        return self.spec[adapter].off_diag == 0 or (adapter in self.svft_U and adapter not in self.svft_places)

    def flat_places(self, adapter: str) -> torch.Tensor:
        """Return the flat indices of the coefficients in M as seen from those columns, int64 (k,)."""
        if adapter in self.svft_places:
            return self.svft_places[adapter]
        if adapter in self.svft_U:  # diagonal
            U = self.svft_U[adapter]
            return torch.arange(U.shape[1], device=U.device) * (U.shape[1] + 1)
        spec = self.spec[adapter]
        if spec.off_diag is None and spec.rank == len(self.svft_sigma[adapter]):
            indices: torch.Tensor = self.svft_indices[adapter]
            return indices.long()
        rows, cols = self.coefficient_positions(adapter)
        return (rows * spec.rank + cols).to(self.svft_sigma[adapter].device)

    def supports_lora_conversion(self, adapter_name: str = "default") -> bool:
        """Return True: ΔW is additive."""
        return True


def layers_of(model: nn.Module, adapter_name: str) -> dict[str, SvftLayer]:
    """Return the layers of `model` that hold an adapter, by module name."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, SvftLayer) and adapter_name in module.svft_coefficients
    }
