"""Adapters made of others: a weighted sum of coefficients, exact since they belong to the same singular vectors."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import torch
from peft.utils.other import ModulesToSaveWrapper
from torch import nn

from ..config import SvftConfig
from ..errors import SvftError
from ..layer import SvftLayer

# Names that LoRA's users know. There they are ways to approximate a sum; here the sum is exact, so they are one.
COMBINATION_TYPES = ("linear", "svd", "cat")

Layers = dict[str, SvftLayer]


def check_request(
    configs: dict[str, SvftConfig],
    model: nn.Module,
    adapters: Sequence[str],
    weights: Sequence[float],
    adapter_name: str,
    combination_type: str,
) -> None:
    """Raise an SvftError that says why adapters cannot be added as asked, if they cannot."""
    if combination_type not in COMBINATION_TYPES:
        raise SvftError(
            f"Invalid combination_type: {combination_type}. SVFT adds coefficients exactly: "
            f"{', '.join(COMBINATION_TYPES)} all mean that."
        )
    if adapter_name in configs:
        raise SvftError(f"Adapter {adapter_name} exists already: choose another name, or delete it first.")
    if not adapters or len(adapters) != len(weights):
        raise SvftError(f"{len(adapters)} adapters need as many weights, but got {len(weights)}.")
    for adapter in adapters:
        if adapter not in configs:
            raise SvftError(f"Adapter {adapter} does not exist")
    shared = [
        name
        for name, module in model.named_modules()
        if isinstance(module, ModulesToSaveWrapper)
        and sum(adapter in module.modules_to_save for adapter in adapters) > 1
    ]
    if shared:
        raise SvftError(
            "Cannot add weighted adapters if they target the same module with modules_to_save, but found "
            f"{len(shared)} such instance(s)."
        )


def sum_config(configs: dict[str, SvftConfig], layers: Layers, adapters: Sequence[str]) -> SvftConfig:
    """Return the configuration of a sum: that of an adapter whose Ω holds all others', else their union as custom."""
    host = next((adapter for adapter in adapters if _holds_all(layers, adapter, adapters)), None)
    if host is not None:
        return replace(configs[host])
    rank = max((configs[adapter].rank for adapter in adapters), key=lambda r: (r is None, r or 0))
    return replace(
        configs[adapters[0]],
        target_modules=_union_of_targets([configs[adapter].target_modules for adapter in adapters]),
        rank=rank,
        pattern="custom",
        custom_indices={layer.module_name: _union_pairs(layer, adapters) for layer in layers.values()},
        off_diag=None,
        budget=None,
        overrides=None,
    )


def _holds_all(layers: Layers, host: str, adapters: Sequence[str]) -> bool:
    return all(
        host in layer.spec and len(_union(layer, adapters)) == len(layer.svft_coefficients[host])
        for layer in layers.values()
    )


def _union(layer: SvftLayer, adapters: Sequence[str]) -> torch.Tensor:
    """Return the flat indices into M (m, m) that any of the adapters trains, sorted."""
    union: torch.Tensor = torch.cat([_flat(layer, adapter) for adapter in adapters if adapter in layer.spec]).unique()
    return union


def _union_pairs(layer: SvftLayer, adapters: Sequence[str]) -> list[list[int]]:
    flat = _union(layer, adapters)
    m = len(layer.svft_sigma[next(adapter for adapter in adapters if adapter in layer.spec)])
    return [list(pair) for pair in zip((flat // m).tolist(), (flat % m).tolist())]


def _flat(layer: SvftLayer, adapter: str) -> torch.Tensor:
    rows, cols = layer.coefficient_positions(adapter)
    return (rows * len(layer.svft_sigma[adapter]) + cols).to(layer.svft_coefficients[adapter].device)


def _union_of_targets(targets: list[Any]) -> Collection[str] | str:
    if len({type(target) for target in targets}) > 1:
        raise SvftError(
            "all adapter configs should follow the same target modules type. "
            "Combining adapters with `target_modules` type being a mix of list/set and string is not supported."
        )
    if isinstance(targets[0], str):
        return "|".join(f"({target})" for target in dict.fromkeys(targets))
    return set().union(*targets)


def check_bases(layers: Layers, adapters: Sequence[str]) -> None:
    """Raise an SvftError that names the matrices on which the adapters belong to different singular vectors."""
    different = [layer.module_name for layer in layers.values() if not _one_basis(layer, adapters)]
    if different:
        raise SvftError(
            f"The adapters {', '.join(adapters)} belong to different singular vectors on {', '.join(different[:5])}, "
            "so their coefficients cannot be added: convert them with peft.convert_to_lora and add those."
        )


def _one_basis(layer: SvftLayer, adapters: Sequence[str]) -> bool:
    here = [adapter for adapter in adapters if adapter in layer.spec]
    for adapter in here:
        if not layer.is_settled(adapter):
            layer.settle(adapter)
    return all(map(layer.is_of_weight, here)) or all(
        torch.equal(layer.svft_signature[adapter], layer.svft_signature[here[0]]) for adapter in here
    )


def fill(layer: SvftLayer, adapter_name: str, adapters: Sequence[str], weights: Sequence[float]) -> None:
    """Set the coefficients of one matrix to the weighted sum of those of adapters, dials included."""
    here = {adapter: weight for adapter, weight in zip(adapters, weights) if adapter in layer.spec}
    target = layer.svft_coefficients[adapter_name]
    if adapter_name in layer.svft_indices:  # a random Ω is the adapters', whatever would be drawn for the new one
        layer.svft_indices[adapter_name] = _union(layer, adapters).to(torch.int32)
    if all(map(layer.is_of_weight, here)):
        layer.adopt_from_weight(adapter_name)
    else:
        layer.take_basis_of(adapter_name, list(here))
    flat = _flat(layer, adapter_name)
    order = flat.argsort()
    total = torch.zeros(len(target), dtype=torch.float64, device=target.device)
    for adapter, weight in here.items():
        places = order[torch.searchsorted(flat[order], _flat(layer, adapter))]
        values = layer.svft_coefficients[adapter].detach().to(total)
        total.index_add_(0, places, values * (weight * layer.scaling[adapter]))
    target.data.copy_(total)
