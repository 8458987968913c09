"""Names for people: from the path of a module to its layer, kind and label ("Layer 2 · value")."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

# The order in which kinds are shown everywhere. Fused and unknown ones come after them.
KINDS = ("query", "key", "value", "attention out", "MLP gate", "MLP up", "MLP down")

# Last part of the path -> kind, as the families that PEFT knows call their linear layers.
_KIND_BY_NAME = {
    name: kind
    for kind, names in {
        "query": "query q_proj q_lin q query_proj",
        "key": "key k_proj k_lin k key_proj",
        "value": "value v_proj v_lin v value_proj",
        "query, key, value": "c_attn qkv qkv_proj query_key_value in_proj Wqkv",
        "attention out": "o_proj out_lin o",
        "MLP gate": "gate_proj wi_0",
        "MLP up": "up_proj c_fc fc1 lin1 wi wi_1 dense_h_to_4h ffn",
        "MLP down": "down_proj fc2 lin2 wo dense_4h_to_h ffn_output",
        "MLP gate, up": "gate_up_proj Wi",
    }.items()
    for name in names.split()
}
_OUTPUTS = {"dense", "out_proj", "c_proj", "proj", "Wo"}  # "attention out" or "MLP down", by what they belong to


@dataclass(frozen=True)
class Place:
    """Where an adapted matrix sits in its model.

    Attributes:
        name: Path of the module in the base model.
        layer: Index of the layer as in the path (from 0), or None where the path has no index.
        kind: One of `KINDS`, a fused or other one. Unique within a layer: "query (decoder)" where it must be.
        label: What people read, "Layer 2 · value". Unique within one adapter.
    """

    name: str
    layer: int | None
    kind: str
    label: str


def places(names: Sequence[str]) -> list[Place]:
    """Return the place of each module, ordered by layer, then kind.

    Args:
        names: Distinct module paths, without PEFT's prefix.
    """
    found = [(name, _layer(name), kind) for name, kind in zip(names, _distinct_kinds(names))]
    kinds = list(KINDS) + sorted({kind for _, _, kind in found} - set(KINDS), key=_kind_order)
    found.sort(key=lambda place: (-1 if place[1] is None else place[1], kinds.index(place[2])))
    return [
        Place(name, layer, kind, kind if layer is None else f"Layer {layer} · {kind}") for name, layer, kind in found
    ]


def _kind_order(kind: str) -> tuple[int, str]:
    base = kind.split(" (")[0]
    return KINDS.index(base) if base in KINDS else len(KINDS), kind


def _layer(name: str) -> int | None:
    return next((int(part) for part in name.split(".") if part.isdigit()), None)


def _kind(name: str) -> str:
    *parents, last = name.split(".")
    parent = parents[-1] if parents else ""
    if last in _OUTPUTS:
        if any("att" in part.lower() for part in parents):
            return "attention out"
        return "MLP up" if parent == "intermediate" else "MLP down" if parent in ("output", "mlp") else last
    return _KIND_BY_NAME.get(last, last)


def _distinct_kinds(names: Sequence[str]) -> list[str]:
    """Return the kind of each module; where two of one layer share it, followed by what tells their paths apart."""
    kinds = [_kind(name) for name in names]
    shared = {kind for (_, kind), count in Counter(zip(map(_layer, names), kinds)).items() if count > 1}
    for kind in shared:
        members = [position for position, k in enumerate(kinds) if k == kind]
        # Compared over all layers, so that a kind is called alike in all of them.
        parts = {position: _without_layer(names[position]) for position in members}
        common = set.intersection(*(set(enumerate(p)) for p in parts.values()))
        for position in members:
            rest = [part for place, part in enumerate(parts[position]) if (place, part) not in common]
            kinds[position] = f"{kind} ({'.'.join(rest)})"
    return kinds


def _without_layer(name: str) -> list[str]:
    parts = name.split(".")
    index = next((place for place, part in enumerate(parts) if part.isdigit()), None)
    return parts if index is None else parts[:index] + parts[index + 1 :]
