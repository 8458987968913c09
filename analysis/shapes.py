"""Shapes of a base model's linear layers, read from the headers of its files. Light: no torch."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from safetensors import SafetensorError, safe_open

from analysis.naming import places
from analysis.packages import resolve_base
from analysis.specification import SpecificationError

Shape = tuple[int, ...]

# model_type -> what a classifier's modules begin with; files of a model without head lack it. Of these families it is
# known that all matrices inside the blocks are linear layers, and how files call them. Others are built (see below).
_PREFIXES = {
    "bert": "bert",
    "roberta": "roberta",
    "distilbert": "distilbert",
    "gpt2": "transformer",
    "llama": "model",
    "mistral": "model",
    "qwen2": "model",
    "vit": "vit",
}
# Files keep the names that these modules had first.
_VIT_NAMES = {
    r"^vit\.encoder\.layer\.": "vit.layers.",
    r"attention\.attention\.(q|k|v)(uery|ey|alue)$": r"attention.\1_proj",
    r"attention\.output\.dense$": "attention.o_proj",
    r"intermediate\.dense$": "mlp.fc1",
    r"output\.dense$": "mlp.fc2",
}


def block_shapes(base: str, target_modules: Sequence[str] | None = None) -> dict[str, tuple[int, int]]:
    """Return full module name -> (out, in) of the linear layers inside the blocks of `base`, by layer.

    Args:
        base: Id or local path. A model whose files are not here is built without weights, which loads torch.
        target_modules: Names, or ends of names, as in `TrainingSpec`; None takes all.

    Raises:
        SpecificationError: Where one of `target_modules` matches no layer.
        BaseModelError: Where the model cannot be found or read.
    """
    shapes = _all_shapes(resolve_base(base))
    return {name: shapes[name] for name in choose_targets(list(shapes), target_modules)}


def choose_targets(linears: Sequence[str], target_modules: Sequence[str] | None) -> list[str]:
    """Return those of the linear layers inside the blocks whose name is, or ends in, one of `target_modules`.

    Args:
        linears: Full names, in the order of the blocks.
        target_modules: None takes all.

    Raises:
        SpecificationError: Where one of them matches no layer.
    """
    if target_modules is None:
        return list(linears)
    for target in target_modules:
        if not any(f".{name}".endswith(f".{target}") for name in linears):
            first = [name for name in linears if _block(name) == _block(linears[0])]
            raise SpecificationError(
                f"target_modules names {target!r}, which is no linear layer inside the blocks of this model; "
                f"the first block has {', '.join(first)}."
            )
    return [name for name in linears if any(f".{name}".endswith(f".{target}") for target in target_modules)]


def inside_block(name: str) -> bool:
    """Whether a module is inside a block, that is inside a list of modules: no embedding, pooler or head is."""
    return _block(name) is not None


def _block(name: str) -> str | None:
    """Return the path of the block that a module is in."""
    found = re.match(r"(?:.*?\.)?\d+(?=\.|$)", name)
    return found.group() if found else None


@lru_cache(maxsize=32)
def _all_shapes(directory: str) -> dict[str, tuple[int, int]]:
    shapes = _shapes_in_files(Path(directory)) or _shapes_when_built(directory)
    return {place.name: shapes[place.name] for place in places(list(shapes))}


def _shapes_in_files(directory: Path) -> dict[str, tuple[int, int]]:
    """Return module -> (out, in), none where the files are not here or are of a family that is not known."""
    try:
        family = json.loads((directory / "config.json").read_text(encoding="utf-8")).get("model_type")
        tensors = _tensor_shapes(directory)
    except (OSError, ValueError, SafetensorError):
        return {}  # building it says what is wrong
    if family not in _PREFIXES:
        return {}
    found = {}
    for tensor, shape in tensors.items():
        module, _, kind = tensor.rpartition(".")
        if kind == "weight" and len(shape) == 2 and inside_block(module):
            # GPT-2 stores its matrices transposed, (in, out); the bias, which is always (out,), gives it away.
            transposed = tensors.get(f"{module}.bias", shape[:1]) != shape[:1]
            found[module_name(module, family)] = shape[::-1] if transposed else shape
    return found


def _tensor_shapes(directory: Path) -> dict[str, Shape]:
    shapes: dict[str, Shape] = {}
    for path in directory.glob("*.safetensors"):
        with safe_open(path, framework="numpy") as file:
            shapes |= {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    return shapes


def module_name(module: str, family: str | None) -> str:
    """Return what a classifier of the family calls a module that files call `module`; itself for unknown families."""
    if family not in _PREFIXES:
        return module
    prefix = _PREFIXES[family]
    name = module if module.startswith(f"{prefix}.") else f"{prefix}.{module}"
    for old, new in _VIT_NAMES.items() if family == "vit" else ():
        name = re.sub(old, new, name)
    return name


def _shapes_when_built(base: str) -> dict[str, tuple[int, int]]:
    from analysis.bases import build_without_weights, linear_shapes

    return linear_shapes(build_without_weights(base))
