"""Shapes of a base model's linear layers, read from its files' headers. Light: no torch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from safetensors import safe_open

from analysis.packages import resolve_base


@lru_cache(maxsize=32)
def block_shapes(base: str, target_modules: Sequence[str] | None = None) -> dict[str, tuple[int, int]]:
    """Return full module name -> (out, in) of the linear layers inside the blocks of `base`."""
    found = {}
    for file in sorted(Path(resolve_base(base)).glob("*.safetensors")):
        with safe_open(file, framework="numpy") as tensors:
            for name in tensors.keys():  # noqa: SIM118 (not a dict)
                shape = tensors.get_slice(name).get_shape()
                module = name.removesuffix(".weight")
                inside = any(part.isdigit() for part in module.split("."))
                if name.endswith(".weight") and len(shape) == 2 and inside:
                    found[module] = tuple(shape)
    if target_modules is not None:
        found = {n: s for n, s in found.items() if any(f".{n}".endswith(f".{t}") for t in target_modules)}
    return found
