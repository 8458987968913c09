"""Different adapters for the examples of one batch: what PEFT's `adapter_names` does in forward and generate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

from peft.utils.other import AuxiliaryTrainingWrapper
from torch import nn
from torch.utils.hooks import RemovableHandle

from ..errors import SvftError
from ..layer import SvftLayer

BASE = "__base__"  # PEFT's name for no adapter


@contextmanager
def mixed_batch(model: nn.Module, adapter_names: Sequence[str], num_beams: int) -> Iterator[None]:
    """Give every adapted layer its adapter for each example within the block.

    Args:
        model: The model with the layers, in evaluation mode.
        adapter_names: The adapter of each example, "__base__" for none.
        num_beams: Number of beams that `generate` makes of each example; the encoder of an encoder-decoder sees each
            example once.

    Raises:
        SvftError: In training mode, or if an adapter does not exist.
        TypeError: If `adapter_names` is not a list or tuple.
    """
    if model.training:
        raise SvftError("Cannot pass `adapter_names` when the model is in training mode.")
    if not isinstance(adapter_names, (list, tuple)):
        raise TypeError(f"Got adapter names of type {type(adapter_names)}, expected a list of str.")
    existing = {name for layer in model.modules() if isinstance(layer, SvftLayer) for name in layer.svft_coefficients}
    if unknown := sorted(set(adapter_names) - existing - {BASE}):
        raise SvftError(f"Trying to infer with non-existing adapter(s): {', '.join(unknown)}")
    repeated = [name for name in adapter_names for _ in range(num_beams)]
    encoder = _encoder(model) if num_beams > 1 else None
    once = set() if encoder is None else set(encoder.modules())
    handles: list[RemovableHandle] = []
    try:
        for module in model.modules():
            if isinstance(module, (SvftLayer, AuxiliaryTrainingWrapper)):
                hook = partial(_pass_names, adapter_names=adapter_names if module in once else repeated)
                handles.append(module.register_forward_pre_hook(hook, with_kwargs=True))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _pass_names(
    module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], adapter_names: Sequence[str]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return args, kwargs | {"adapter_names": adapter_names}


def _encoder(model: nn.Module) -> nn.Module | None:
    if not hasattr(model, "get_encoder"):
        return None
    encoder = cast(Any, model).get_encoder()
    # transformers returns the model itself if it has no encoder.
    return encoder if isinstance(encoder, nn.Module) and encoder is not model else None
