"""Two of PEFT's helpers under their own names: PEFT's take LoRA's layers only.

`peft.helpers.rescale_adapter_scale` and `peft.utils.hotswap.hotswap_adapter` look for `LoraLayer`, and refuse models
without. Those here take models with SVFT.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from peft import PeftConfig, PeftModel
from peft.utils.other import infer_device
from peft.utils.save_and_load import load_peft_weights, set_peft_model_state_dict
from torch import nn

from ..config import PEFT_TYPE, SvftConfig
from ..errors import SvftError
from ..layer import SvftLayer, layers_of
from ..patterns import directions_within
from ..state.loading import stem_of


@contextmanager
def rescale_adapter_scale(model: nn.Module, multiplier: float) -> Iterator[None]:
    """Multiply the dial α of all SVFT adapters within the block.

    Args:
        model: A model with SVFT adapters.
        multiplier: The factor; in [0, 1] it is WiSE-FT (arXiv 2109.01903).

    Raises:
        TypeError: If the multiplier is not a number.
        SvftError: If the model has no SVFT adapter, or one is merged.
    """
    if not isinstance(multiplier, (float, int)):
        raise TypeError(f"Argument multiplier should be of type float, got {type(multiplier)}")
    layers = [module for module in model.modules() if isinstance(module, SvftLayer)]
    if not layers:
        raise SvftError("scaling is only supported for models with `SvftLayer`s")
    before = [(layer, dict(layer.scaling)) for layer in layers]
    try:
        for layer, scaling in before:
            for adapter_name, scale in scaling.items():
                layer.set_scale(adapter_name, scale * multiplier)
        yield
    finally:
        for layer, scaling in before:
            layer.scaling = scaling


def hotswap_adapter(
    model: PeftModel, model_name_or_path: str, adapter_name: str, torch_device: str | None = None, **kwargs: Any
) -> None:
    """Replace the values of an adapter by those of another one with the same Ω, in place.

    No tensor is replaced, so that a compiled model is not compiled again, unless the new adapter belongs to other
    singular vectors and brings them along. Matrices that it does not have get M = 0.

    Args:
        model: The model with the adapter.
        model_name_or_path: Directory or Hub name of the adapter that comes in.
        adapter_name: The adapter that goes out. The name stays.
        torch_device: Where to load the file to, None for the accelerator if there is one.
        **kwargs: For `PeftConfig.from_pretrained` and the loading of the file, such as `subfolder`.

    Raises:
        SvftError: If the adapter is merged, or the other one is not SVFT.
        RuntimeError: If the other one has further matrices or another Ω.
        BasisMismatchError: If its singular vectors cannot be found.
    """
    config = PeftConfig.from_pretrained(model_name_or_path, **kwargs)
    for other in (model.peft_config[adapter_name], config):
        if not isinstance(other, SvftConfig):
            raise SvftError(f"Incompatible PEFT types found: {PEFT_TYPE} and {other.peft_type}")
    layers = layers_of(model, adapter_name)
    if any(adapter_name in layer.merged_adapters for layer in layers.values()):
        raise SvftError(f"Cannot hot-swap the adapter {adapter_name} while it is merged: unmerge it first.")
    state = load_peft_weights(model_name_or_path, device=torch_device or infer_device(), **kwargs)
    stems = {stem_of(name, state): layer for name, layer in layers.items()}
    modules = {key.partition(".svft_")[0] for key in state if ".svft_" in key}
    if unexpected := sorted(modules - set(stems)):
        raise RuntimeError(
            f"Hot swapping the adapter did not succeed, unexpected keys found: {', '.join(unexpected)}."
        )
    present = {stem: layer for stem, layer in stems.items() if stem in modules}
    for stem, layer in present.items():
        _refuse_other_indices(layer, adapter_name, config, stem, state)
    set_peft_model_state_dict(model, state, adapter_name)
    with torch.no_grad():
        for stem, layer in stems.items():
            if stem not in present:
                layer.svft_coefficients[adapter_name].zero_()
            if not layer.is_settled(adapter_name):
                layer.settle(adapter_name)


def _refuse_other_indices(
    layer: SvftLayer, adapter_name: str, config: SvftConfig, stem: str, state: dict[str, torch.Tensor]
) -> None:
    n, k = min(layer.out_features, layer.in_features), len(state[f"{stem}.svft_coefficients"])
    rank = min(config.rank or n, n)
    if config.budget is not None:
        rank = directions_within(config.pattern, rank, k)
    own = layer.svft_indices[adapter_name] if adapter_name in layer.svft_indices else None  # noqa: SIM401
    indices = state.get(f"{stem}.svft_indices")
    same = (
        k == len(layer.svft_coefficients[adapter_name])
        and rank == layer.spec[adapter_name].rank
        and (torch.equal(own.cpu(), indices.cpu()) if own is not None and indices is not None else own is indices)
    )
    if not same:
        raise RuntimeError(f"Hot swapping the adapter did not succeed: it has another Ω in {layer.module_name}.")
