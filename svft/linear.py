"""The adapted linear layer: U (Σ + M) Vᵀ beside, or instead of, the frozen W."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import nn
from transformers.pytorch_utils import Conv1D

from .coefficients import band_width_worth, multiply
from .errors import SvftError
from .layer import SvftLayer


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _tf32_allowed() -> bool:
    # Two ways to ask for it; reading the older one raises if the newer was used.
    precision = torch.backends.cuda.matmul.fp32_precision
    return bool(precision == "tf32" or (precision == "none" and torch.backends.cuda.matmul.allow_tf32))


def _autocast(device_type: str) -> bool:
    # torch raises for meta tensors, of which a model without weights is made: they have no autocast.
    return device_type != "meta" and torch.is_autocast_enabled(device_type)


def _in_graph(x: torch.Tensor) -> bool:
    """Whether what is computed is being recorded or transformed, so that a later change of W could not be noticed."""
    return (
        torch.compiler.is_compiling()
        or torch._C._is_tracing()
        or torch._C._are_functorch_transforms_active()
        or (x.is_cuda and torch.cuda.is_current_stream_capturing())
    )


class Linear(nn.Module, SvftLayer):
    """SVFT on a dense layer: `nn.Linear` or transformers' `Conv1D`."""

    def __init__(self, base_layer: nn.Module, adapter_name: str) -> None:
        super().__init__()
        SvftLayer.__init__(self, base_layer)
        self._active_adapter = adapter_name
        self.update_layer(adapter_name)

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Linear:
        before = self._derived()
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._check_moved(before)
        return self

    def _save_to_state_dict(self, destination: dict[str, torch.Tensor], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        for name in self.spec:
            for side, basis in zip("UV", self.basis_to_save(name) or ()):
                destination[f"{prefix}svft_{side}.{name}"] = basis

    def _load_from_state_dict(self, state_dict: dict[str, torch.Tensor], prefix: str, *args: Any) -> None:
        self._expect_basis(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def forward(
        self, x: torch.Tensor, *args: Any, adapter_names: Sequence[str] | None = None, **kwargs: Any
    ) -> torch.Tensor:
        """Return the adapted layer's output.

        Args:
            x: Input (..., in).
            *args: Passed on to the base layer.
            adapter_names: The adapter of each example of the batch, "__base__" for none; None applies the active
                adapters to all of them.
            **kwargs: Passed on to the base layer.

        Returns:
            Output (..., out).

        Raises:
            SvftError: If `adapter_names` has another length than the batch, or an adapter is merged.
        """
        if adapter_names is not None:
            self._check_adapter_names(x, adapter_names)
        if self.disable_adapters:
            if self.merged:
                self.unmerge()
            return self._base(x, *args, **kwargs)
        if self.merged:
            return self._base(x, *args, **kwargs)
        used = self.active_adapters if adapter_names is None else dict.fromkeys(adapter_names)
        names = [name for name in used if name in self.svft_coefficients]
        for name in names:
            if not self.is_settled(name):
                self.settle(name)
        if adapter_names is None and len(names) == 1 and not (args or kwargs) and self._can_fold(names[0], x):
            return self._folded(names[0], x)
        result = self._base(x, *args, **kwargs)
        for name in names:
            if adapter_names is None:
                result = result + self._update(name, x).to(result.dtype)
            else:
                rows = torch.tensor([row for row, of in enumerate(adapter_names) if of == name], device=x.device)
                result = result.index_add(0, rows, self._update(name, x[rows]).to(result.dtype))
        return result

    def _base(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        result: torch.Tensor = self.base_layer(x, *args, **kwargs)
        return result

    def _check_adapter_names(self, x: torch.Tensor, adapter_names: Sequence[str]) -> None:
        if len(x) != len(adapter_names):
            raise SvftError(
                "Length of `adapter_names` should be the same as the number of inputs, but got "
                f"{len(adapter_names)} and {len(x)} respectively."
            )
        if self.merged:
            raise SvftError(
                "Cannot pass `adapter_names` when there are merged adapters, please call `unmerge_adapter` first."
            )

    def _can_fold(self, adapter: str, x: torch.Tensor) -> bool:
        """Whether U((Σ+M)(Vᵀx)) may stand for Wx + U(M(Vᵀx)): only if both are equal to float32 rounding."""
        base, U = self.base_layer, self.svft_shared_U
        return (
            U is not None
            and adapter not in self.svft_U
            and x.dtype == U.dtype == self.basis_precision == torch.float32
            and self.spec[adapter].rank == min(self.out_features, self.in_features)
            and not _in_graph(x)
            and not _autocast(x.device.type)
            and not (x.is_cuda and _tf32_allowed())
            and type(base) in (nn.Linear, Conv1D)
            and not (base._forward_hooks or base._forward_pre_hooks)
            and "forward" not in vars(base)  # accelerate's hooks replace it
            and not base.weight.requires_grad  # it asks for a gradient, and will change
            and not hasattr(self, "_is_replica")
            and self.weight_seems_decomposed()
        )

    def _product(self, adapter: str, t: torch.Tensor, rows: int, sigma: torch.Tensor | None) -> torch.Tensor:
        """Return (diag(sigma) + M) t, for M with so many rows."""
        spec = self.spec[adapter]
        off_diag = 0 if self._is_diagonal(adapter) else spec.off_diag
        banded = off_diag is not None and off_diag <= band_width_worth(spec.rank)
        return multiply(
            t,
            self._values(adapter),
            off_diag=off_diag if banded else None,
            indices=None if banded else self.flat_places(adapter),
            rows=rows,
            sigma=sigma,
        )

    def _folded(self, adapter: str, x: torch.Tensor) -> torch.Tensor:
        U, V = self.get_basis(adapter)
        y = self._product(adapter, x @ V, U.shape[1], self.svft_sigma[adapter])
        return F.linear(y, U, cast(nn.Linear, self.base_layer).bias)

    def _update(self, adapter: str, x: torch.Tensor) -> torch.Tensor:
        U, V = self.get_basis(adapter)
        x = self._cast_input_dtype(x, U.dtype)
        return F.linear(self._product(adapter, x @ V, U.shape[1], None), U)

    def extra_repr(self) -> str:
        """Return pattern and size of each adapter."""
        return ", ".join(
            f"{name}: {s.pattern}, k={self.svft_coefficients[name].numel()}" for name, s in self.spec.items()
        )

    def __repr__(self) -> str:
        return "svft." + super().__repr__()
