"""Containers of an adapter's buffers that keep their types, and notice when a loader writes to them."""

from __future__ import annotations

from collections.abc import Callable, KeysView
from typing import Any

import torch
from peft.tuners._buffer_dict import BufferDict
from torch import nn

from ..errors import SvftError


def as_stored_type(tensor: torch.Tensor, dtype: torch.dtype, name: str) -> torch.Tensor:
    """Return a loaded tensor in the type it is kept in; integers that were averaged as floats are rounded back.

    Args:
        tensor: The tensor as it was loaded.
        dtype: The type that it is kept in.
        name: What messages call it.

    Raises:
        SvftError: If integers come as floats that do not stand for integers: adapters with other entries were
            averaged, or the type could not hold them.
    """
    if tensor.dtype == dtype or dtype.is_floating_point or not tensor.dtype.is_floating_point:
        return tensor.to(dtype)
    if tensor.device.type == "meta" or not tensor.numel():
        return tensor.to(dtype)
    wide = tensor.double()
    slack = 1e-3 + 4 * wide.abs().max() * torch.finfo(torch.float32).eps
    exact_up_to = 2 / torch.finfo(tensor.dtype).eps
    if (wide - wide.round()).abs().max() > slack or wide.abs().max() > exact_up_to:
        raise SvftError(
            f"{name} holds integers, but was loaded as {tensor.dtype} with values that are not: average only adapters "
            "with the same entries, and leave this tensor out or in its own type."
        )
    return wide.round().to(dtype)


def _held(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: buffer for name, buffer in module._buffers.items() if buffer is not None}


class TypedBuffers(BufferDict):
    """Buffers by adapter name whose types neither casts of the model nor loaded files change."""

    def __init__(self) -> None:
        super().__init__(persistent=True)

    def __setitem__(self, adapter_name: str, buffer: torch.Tensor) -> None:
        # PEFT casts what it finds in half precision.
        held = self._buffers.get(adapter_name)
        super().__setitem__(adapter_name, buffer if held is None else buffer.to(held.dtype))  # type: ignore[no-untyped-call]

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> TypedBuffers:
        before = _held(self)
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, moved in _held(self).items():
            buffer = before[name]
            if moved.dtype != buffer.dtype:
                self._buffers[name] = buffer.to(moved.device)
        return self

    def _load_from_state_dict(
        self,
        state_dict: dict[str, torch.Tensor],
        prefix: str,
        local_metadata: Any,
        strict: bool,
        missing: list[str],
        unexpected: list[str],
        errors: list[str],
    ) -> None:
        for name, buffer in _held(self).items():
            key = prefix + name
            if key in state_dict:
                try:
                    state_dict[key] = as_stored_type(state_dict[key], buffer.dtype, key)
                except SvftError as error:
                    errors.append(str(error))
                    del state_dict[key]
        super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, missing, unexpected, errors)


class Marks(TypedBuffers):
    """Buffers that say in which basis an adapter's coefficients are.

    Args:
        written: Where the adapters are noted whose marks a loader replaces by others.
    """

    def __init__(self, written: set[str]) -> None:
        super().__init__()
        self.written = written

    def __delitem__(self, adapter_name: str) -> None:
        super().__delitem__(adapter_name)  # type: ignore[no-untyped-call]
        self.written.discard(adapter_name)

    def __setattr__(self, name: str, value: Any) -> None:
        # Loaders that assign (`assign=True`, transformers' own) replace a buffer as an attribute.
        if name in self.__dict__.get("_buffers", ()):
            self.written.add(name)
        super().__setattr__(name, value)

    def _load_from_state_dict(self, state_dict: dict[str, torch.Tensor], prefix: str, *args: Any) -> None:
        for name, mark in _held(self).items():
            loaded = state_dict.get(prefix + name)
            if loaded is not None and not _equal(loaded, mark):
                self.written.add(name)
        super()._load_from_state_dict(state_dict, prefix, *args)


def _equal(loaded: torch.Tensor, mark: torch.Tensor) -> bool:
    if mark.device.type == "meta" or loaded.device.type == "meta" or loaded.shape != mark.shape:
        return False
    return torch.equal(loaded.to(mark.device, mark.dtype), mark)


class OwnBasis(nn.Module):
    """One side, U or V, of each basis that belongs to a single adapter, by adapter name. PEFT does not cast them.

    Those that an adapter brought along are saved with it. Those that could be found again are not.

    Attributes:
        brought: Adapters whose basis came with a state dict, without being asked for by their configuration.
    """

    def __init__(self) -> None:
        super().__init__()
        self.brought: set[str] = set()

    def add(self, adapter_name: str, side: torch.Tensor, persistent: bool) -> None:
        """Keep one side of an adapter's basis."""
        self.register_buffer(adapter_name, side, persistent=persistent)

    def is_saved(self, adapter_name: str) -> bool:
        """Return whether the adapter's basis goes into its file."""
        return adapter_name in self._buffers and adapter_name not in self._non_persistent_buffers_set

    def __setitem__(self, adapter_name: str, side: torch.Tensor) -> None:
        self._buffers[adapter_name] = side

    def __contains__(self, adapter_name: str) -> bool:
        return adapter_name in self._buffers

    def __getitem__(self, adapter_name: str) -> torch.Tensor:
        return _held(self)[adapter_name]

    def __delitem__(self, adapter_name: str) -> None:
        del self._buffers[adapter_name]
        self._non_persistent_buffers_set.discard(adapter_name)
        self.brought.discard(adapter_name)

    def keys(self) -> KeysView[str]:
        """Return the names of the adapters."""
        return self._buffers.keys()
