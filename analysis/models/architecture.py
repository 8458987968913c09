"""Any model from its configuration alone: what it consists of, without weights and without memory for them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from analysis.common.errors import ArchitectureError
from analysis.common.settings import may_open
from analysis.models.naming import places
from analysis.models.packages import DEFAULT_BASE

Shape = tuple[int, int]

PRESETS: dict[str, dict[str, Any]] = json.loads(
    Path(__file__).with_name("architectures.json").read_text(encoding="utf-8")
)
MOST_BYTES = 2**20  # of a configuration
_MOST_LAYERS, _MOST_SIZE = 512, 2**24  # beyond that no model is built, on paper either


@dataclass(frozen=True, eq=False)
class Architecture:
    """A model without its numbers.

    Attributes:
        name: What people call it.
        config: The values of its configuration, as in its config.json.
        parameters: Of the whole model; the head of a classifier is not counted.
        shapes: Full module name -> (out, in) of each linear layer inside the blocks, by layer, then kind.
    """

    name: str
    config: Mapping[str, Any]
    parameters: int
    shapes: dict[str, Shape]

    @cached_property
    def kinds(self) -> dict[str, list[str]]:
        """Kinds of weights ("query", …), each with the names of its modules."""
        found: dict[str, list[str]] = {}
        for place in places(list(self.shapes)):
            found.setdefault(place.kind, []).append(place.name)
        return found

    def of_kinds(self, kinds: list[str] | tuple[str, ...] | None) -> dict[str, list[Shape]]:
        """Return kind -> shapes of its matrices, of these kinds or of all.

        Raises:
            ArchitectureError: If the model has no weights of a kind.
        """
        for kind in kinds or ():
            if kind not in self.kinds:
                raise ArchitectureError(f"{self.name} has no weights {kind!r}; it has {', '.join(self.kinds)}.")
        chosen = list(self.kinds) if not kinds else [kind for kind in self.kinds if kind in kinds]
        return {kind: [self.shapes[name] for name in self.kinds[kind]] for kind in chosen}


def open_architecture(model: str) -> Architecture:
    """Return the architecture of a preset, a local directory or file with a config.json, or a Hub id.

    Args:
        model: A name in `PRESETS`, an id or a path.

    Raises:
        ArchitectureError: If its configuration cannot be read, or is that of no model that can be built.
        BaseModelError: If it cannot be found.
    """
    if model in PRESETS:
        return _build(model, json.dumps(PRESETS[model]))
    path = Path(model).expanduser()
    if path.exists():
        return _open_file(path / "config.json" if path.is_dir() else path)
    from analysis.models.loading import load_config

    return _build(model.rsplit("/", 1)[-1], json.dumps(load_config(model).to_dict()))


def _open_file(path: Path) -> Architecture:
    if not may_open(path):
        raise ArchitectureError(f"{path} is outside the directories that this server opens.")
    if not path.is_file():
        raise ArchitectureError(f"There is no file {path}.")
    if path.stat().st_size > MOST_BYTES:
        raise ArchitectureError(_TOO_LARGE.format(path))
    name = path.parent.name if path.name == "config.json" else path.stem
    return read_architecture(path.read_text(encoding="utf-8", errors="replace"), name)


def read_architecture(text: str, name: str = "Your model") -> Architecture:
    """Return the architecture that the text of a config.json describes. No code of the model's own is run.

    Raises:
        ArchitectureError: If it is not the configuration of a model that can be built.
    """
    if len(text) > MOST_BYTES:
        raise ArchitectureError(_TOO_LARGE.format(name))
    try:
        values = json.loads(text)
    except ValueError as error:
        raise ArchitectureError(f"This is not JSON ({error}): a model's config.json is expected.") from error
    if not isinstance(values, dict) or not isinstance(values.get("model_type"), str):
        raise ArchitectureError(
            'A model\'s config.json is expected: a JSON object with "model_type", such as "llama".'
        )
    return _build(str(values.get("_name_or_path") or name).rsplit("/", 1)[-1], json.dumps(values))


def default_architecture() -> Architecture:
    """Return the architecture of the base model that comes with this project."""
    return open_architecture(DEFAULT_BASE)


def _check_sizes(values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        if isinstance(value, dict):
            _check_sizes(value)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            counts = "size" not in key and any(word in key for word in ("layer", "block", "expert", "depth"))
            most = _MOST_LAYERS if counts else _MOST_SIZE
            if abs(value) > most and "theta" not in key and "token" not in key and "max" not in key:
                raise ArchitectureError(f"{key} = {value:g} is too large to be built: at most {most:,}.")


@lru_cache(maxsize=64)
def _build(name: str, config: str) -> Architecture:
    from analysis.models.heads import is_head
    from analysis.models.loading import build_from_config, linear_shapes

    values = json.loads(config)
    _check_sizes(values)
    try:
        model = build_from_config(config_from_values(values))
    except ArchitectureError:
        raise
    except Exception as error:  # a configuration may be wrong in any way
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ArchitectureError(f"No model can be built from the configuration of {name}: {reason[0]}") from error
    shapes = linear_shapes(model)
    if not shapes:
        raise ArchitectureError(f"{name} has no linear layers inside blocks, so there is nothing to adapt.")
    parameters = sum(p.numel() for key, p in model.named_parameters() if not is_head(key))
    return Architecture(name, values, parameters, {place.name: shapes[place.name] for place in places(list(shapes))})


def config_from_values(values: Mapping[str, Any]) -> Any:
    """Return transformers' configuration object of the values of a config.json.

    Raises:
        ArchitectureError: If transformers has no such architecture.
    """
    from transformers import CONFIG_MAPPING, AutoConfig

    family = values.get("model_type")
    if family not in CONFIG_MAPPING:
        raise ArchitectureError(
            f"transformers has no architecture {family!r}; a model that brings code of its own is not built."
        )
    left_out = ("model_type", "auto_map", "quantization_config", "transformers_version", "torch_dtype", "dtype")
    return AutoConfig.for_model(family, **{key: value for key, value in values.items() if key not in left_out})


_TOO_LARGE = "{} is larger than 1 MB: a model's config.json is expected."
