"""Shapes of a base model's linear layers, read from the headers of its files. Light: no torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from safetensors import SafetensorError, safe_open

from analysis.models.modules import KNOWN_FAMILIES, choose_targets, inside_block, module_name
from analysis.models.naming import places
from analysis.models.packed.unpacking import unpacked

Shape = tuple[int, ...]

# Classes of families that are not among those: their files name modules as they do, and all matrices inside the blocks
# are linear layers.
_CLASSES = ("WhisperForAudioClassification",)


def block_shapes(base: str, target_modules: Sequence[str] | None = None) -> dict[str, tuple[int, int]]:
    """Return full module name -> (out, in) of the linear layers inside the blocks of `base`, by layer.

    Args:
        base: Id or local path. A model whose files are not here is built without weights, which loads torch.
        target_modules: Names, or ends of names, as in `TrainingSpec`; None takes all.

    Raises:
        UserError: If one of `target_modules` matches no layer.
        BaseModelError: If the model cannot be found or read.
    """
    shapes = _all_shapes(unpacked(base))
    return {name: shapes[name] for name in choose_targets(list(shapes), target_modules)}


@lru_cache(maxsize=32)
def _all_shapes(directory: str) -> dict[str, tuple[int, int]]:
    shapes = _shapes_in_files(Path(directory)) or _shapes_when_built(directory)
    return {place.name: shapes[place.name] for place in places(list(shapes))}


def _shapes_in_files(directory: Path) -> dict[str, tuple[int, int]]:
    """Return module -> (out, in), none if the files are not here or are of a family that is not known."""
    try:
        config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
        family, classes = config.get("model_type"), config.get("architectures") or ()
        tensors = _tensor_shapes(directory)
    except (OSError, ValueError, SafetensorError):
        return {}  # building it says what is wrong
    if family not in KNOWN_FAMILIES and not set(classes) & set(_CLASSES):
        return {}
    shapes = {}
    for tensor, shape in tensors.items():
        module, _, kind = tensor.rpartition(".")
        if kind == "weight" and len(shape) == 2 and inside_block(module):
            # GPT-2 stores its matrices transposed, (in, out); the bias, which is always (out,), gives it away.
            transposed = tensors.get(f"{module}.bias", shape[:1]) != shape[:1]
            shapes[module_name(module, family)] = shape[::-1] if transposed else shape
    return shapes


def _tensor_shapes(directory: Path) -> dict[str, Shape]:
    shapes: dict[str, Shape] = {}
    for path in directory.glob("*.safetensors"):
        with safe_open(path, framework="numpy") as file:
            shapes |= {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    return shapes


def _shapes_when_built(base: str) -> dict[str, tuple[int, int]]:
    from analysis.models.loading import build_without_weights, linear_shapes

    return linear_shapes(build_without_weights(base))
