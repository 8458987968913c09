"""The update ΔW of one layer that PEFT adapts: the one place that derives it, for files and for models in training."""

from __future__ import annotations

import copy

import torch
from peft.tuners.adalora import AdaLoraLayer
from peft.tuners.lora import LoraLayer
from peft.tuners.tuners_utils import BaseTunerLayer
from transformers.pytorch_utils import Conv1D

from analysis.adapters.projection import Update


def layer_update(layer: BaseTunerLayer, adapter: str, pristine: torch.Tensor | None = None) -> Update:
    """Return the update of an adapter in one layer, in float64: factors for plain LoRA, else merged minus pristine.

    `get_delta_weight` is not asked: it leaves out DoRA's magnitude, and for OFT it is a rotation. The layer itself
    stays as it is: merging and unmerging would drift its weight.

    Args:
        layer: With nothing merged.
        adapter: Name of the adapter.
        pristine: W (out, in) as it was before the adapter was added, which PiSSA and OLoRA change; None if it is the
            weight of the base layer.
    """
    out, in_ = stored_weight(layer).shape
    plain = pristine is None and not isinstance(layer, AdaLoraLayer)
    if plain and isinstance(layer, LoraLayer) and adapter not in layer.lora_magnitude_vector:
        left, right = (getattr(layer, part)[adapter].weight.detach().double() for part in ("lora_B", "lora_A"))
        return Update(layer.scaling[adapter] * left, right, min(out, in_, len(right)))
    before = (stored_weight(layer) if pristine is None else pristine).double().clone()
    merged = copy.deepcopy(layer)
    assert isinstance(merged, torch.nn.Module)  # as all layers of PEFT's tuners are
    merged.double()
    merged.merge(adapter_names=[adapter])
    return Update(stored_weight(merged) - before, None, min(out, in_))


def stored_weight(layer: torch.nn.Module | BaseTunerLayer) -> torch.Tensor:
    """Return W (out, in) of a layer, or of the base layer of an adapted one, whatever layout it is kept in."""
    base = layer.get_base_layer() if isinstance(layer, BaseTunerLayer) else layer
    weight = base.weight
    assert isinstance(weight, torch.Tensor)
    weight = weight.detach()
    return weight.mT if isinstance(base, Conv1D) else weight
