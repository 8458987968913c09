"""Names for people: from the path of a module to its layer, kind and label ("Layer 2 · value")."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# The order in which kinds are shown everywhere. Kinds of other architectures follow, in order of appearance.
KINDS = ("query", "key", "value", "attention out", "MLP gate", "MLP up", "MLP down")


@dataclass(frozen=True)
class Place:
    """Where an adapted matrix sits in its model.

    Attributes:
        name: Path of the module in the base model.
        layer: Index of the layer as in the path (from 0), or None where the path has no index.
        kind: One of `KINDS`, or the last telling part of the path.
        label: What people read, "Layer 2 · value". Unique within one adapter.
    """

    name: str
    layer: int | None
    kind: str
    label: str


def places(names: Sequence[str]) -> list[Place]:
    """Return the place of each module, ordered by stack (encoder before decoder), layer, then kind.

    Args:
        names: Distinct module paths, without PEFT's prefix.
    """
    raise NotImplementedError
