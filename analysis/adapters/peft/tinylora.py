"""Which of TinyLoRA's vectors v belongs to which module: PEFT numbers groups of modules in the order of the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from analysis.adapters.peft.tensors import NUMBERED
from analysis.common.errors import AdapterError
from analysis.models.base_weights import BaseWeights


def vectors_of(
    modules: Sequence[str], shared: Sequence[str], config: dict[str, Any], weights: BaseWeights
) -> dict[str, str]:
    """Return the vector of each module ("tinylora_v.3").

    Args:
        modules: All that the adapter has, those that cannot be shown included.
        shared: Names of the vectors in its file.
        config: The adapter's.
        weights: Of the base model, whose class has the order of modules.

    Raises:
        AdapterError: If the file has other vectors than the config asks for, or the order is not known.
    """
    tying = config.get("weight_tying", 0.0)
    if not isinstance(tying, int | float) or isinstance(tying, bool) or not 0 <= tying <= 1:
        raise AdapterError(f"The adapter has weight_tying={tying!r}, which is no share of its modules.")
    groups = max(1, round(len(modules) * (1 - tying)))  # as in peft.tuners.tinylora.model
    size = max(1, len(modules) // groups)
    names = [f"{NUMBERED}.{group}" for group in range(groups)]
    if set(names) != set(shared):
        raise AdapterError(
            f"The adapter's file has {len(shared)} vectors {NUMBERED}, and its config asks for {groups} for "
            f"{len(modules)} modules: one of the two files belongs to another adapter."
        )
    if groups == 1:
        return dict.fromkeys(modules, names[0])
    return {name: names[min(place // size, groups - 1)] for place, name in enumerate(_in_order(modules, weights))}


def _in_order(modules: Sequence[str], weights: BaseWeights) -> list[str]:
    """Return modules in the order in which their model has them."""
    outline = weights.names.outline
    places = {name: place for place, name in enumerate(outline.modules)} if outline else {}
    of_class = {name: weights.names.module(name) for name in modules}
    if unknown := next((name for name, own in of_class.items() if own not in places), None):
        raise AdapterError(
            f"{unknown} has no known place in the base model, and the vectors of this TinyLoRA are numbered by the "
            "order of its modules: name the base model that the adapter was trained on."
        )
    return sorted(modules, key=lambda name: places[of_class[name] or ""])
