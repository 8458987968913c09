"""Names for people: from the path of a module to its layer, kind and label ("Layer 2 · value")."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from analysis.models.experts import split_expert

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
        layer: Index of the layer as in the path (from 0), or None if the path has no index.
        kind: One of `KINDS`, a fused or other one. Unique within a layer ("query (decoder)" if it must be), but for
            experts, which share one: "expert up".
        label: What people read, "Layer 2 · value", "Layer 2 · expert 17 · up". Unique within one adapter.
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
    experts = {name: parsed for name in names if (parsed := _expert(name))}
    others = [name for name in names if name not in experts]
    kinds = dict(zip(others, _distinct_kinds(others))) | {
        name: f"expert {part}" for name, (_, part) in experts.items()
    }
    ordered = list(KINDS) + sorted(set(kinds.values()) - set(KINDS), key=_kind_order)
    rank = {kind: place for place, kind in enumerate(ordered)}
    placed = []
    for name, kind in kinds.items():
        layer, (expert, part) = _layer(name), experts.get(name, (-1, ""))
        what = f"expert {expert} · {part}" if part else kind
        place = Place(name, layer, kind, what if layer is None else f"Layer {layer} · {what}")
        placed.append(((-1 if layer is None else layer, rank[kind], expert), place))
    return [place for _, place in sorted(placed, key=lambda pair: pair[0])]


def _expert(name: str) -> tuple[int, str] | None:
    """Return number and projection ("up") of a module that is a projection of one expert."""
    split = split_expert(name)
    return None if split is None or "experts" not in split[0] else (split[1], split[2].removesuffix("_proj"))


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
    """Return the kind of each module; if two of one layer share it, followed by what tells their paths apart."""
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
