"""Experts of a mixture (MoE): modules of their own, or fused, all experts of a layer in one 3-D tensor."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from analysis.models.modules import inside_block
from analysis.models.naming import places

Stack = tuple[int, int, int]

_EXPERT = re.compile(r"(?<=\.)experts\.(?:expert_)?\d+(?=\.)")
_CHOSEN = ("num_experts_per_tok", "num_experts_per_token", "moe_top_k", "moe_topk", "moe_k", "top_k_experts")


def fused_experts(model: Any) -> dict[str, Stack]:
    """Return full parameter name -> (experts, out, in) of the fused weights inside the blocks.

    Which of the last two dimensions is the output is what transformers says of the module (`is_transposed`).
    """
    from torch import nn

    stacks = {}
    for name, module in model.named_modules():
        if not inside_block(name) or isinstance(module, nn.modules.conv._ConvNd):
            continue
        for key, parameter in module.named_parameters(recurse=False):
            if parameter.ndim == 3:
                experts, rows, columns = parameter.shape
                transposed = getattr(module, "is_transposed", False)
                stacks[f"{name}.{key}"] = (experts, columns, rows) if transposed else (experts, rows, columns)
    return stacks


def expert_kinds(names: Iterable[str], fused: Iterable[str]) -> dict[str, str]:
    """Return the kind of each expert's weights: "expert up" for every expert of every layer.

    Args:
        names: Modules; those that are not inside an expert are left out.
        fused: Parameters.

    Returns:
        Module or parameter -> kind. A fused weight says so: "expert down (fused)".
    """
    alike = {name: _EXPERT.sub("experts", name) for name in names if _EXPERT.search(name)}
    kinds = {place.name: place.kind for place in places(list(dict.fromkeys([*alike.values(), *fused])))}
    by_name = {name: f"expert {kinds[path].removeprefix('MLP ')}" for name, path in alike.items()}
    return by_name | {name: f"expert {_bare(kinds[name])} (fused)" for name in fused}


def _bare(kind: str) -> str:
    return kind.removeprefix("MLP ").removesuffix(".weight")


def active_parameters(model: Any, parameters: int, fused: dict[str, Stack], experts: dict[str, str]) -> int | None:
    """Return how many of a model's parameters one token passes through; None if its configuration does not say.

    Args:
        model: Without numbers.
        parameters: Of the model, as it is counted.
        fused: Of `fused_experts`.
        experts: Modules inside an expert, as keys.
    """
    in_modules = {name: sum(p.numel() for p in model.get_submodule(name).parameters()) for name in experts}
    if not fused and not in_modules:
        return parameters
    text = model.config.get_text_config()
    chosen = next((value for key in _CHOSEN if isinstance(value := getattr(text, key, None), int)), None)
    if chosen is None:
        return None
    idle = sum((number - chosen) * out * in_ for number, out, in_ in fused.values())
    layers: dict[str, set[str]] = {}
    places: dict[str, str] = {}  # module -> its layer's part of the name
    for name in in_modules:
        match = _EXPERT.search(name)
        assert match is not None  # it is inside an expert
        places[name] = name[: match.start()]
        layers.setdefault(places[name], set()).add(match.group())
    for name, size in in_modules.items():
        number = len(layers[places[name]])
        idle += size * (number - chosen) / number
    return parameters - round(idle)
