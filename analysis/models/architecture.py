"""Any model from its configuration alone: what it consists of, without weights and without memory for them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from analysis.common.errors import ArchitectureError
from analysis.common.settings import may_open
from analysis.models.expert_counts import Stack, active_parameters, expert_kinds, fused_experts
from analysis.models.naming import places

Shape = tuple[int, int]

PRESETS: dict[str, dict[str, Any]] = json.loads(
    Path(__file__).with_name("architectures.json").read_text(encoding="utf-8")
)
MOST_BYTES = 2**20  # of a configuration
# Beyond these no model is built, on paper either: experts of some families are modules of their own, in every layer.
_MOST_LAYERS, _MOST_EXPERTS, _MOST_MODULES, _MOST_SIZE = 512, 4096, 2**18, 2**24


@dataclass(frozen=True, eq=False)
class Architecture:
    """A model without its numbers.

    Attributes:
        name: What people call it.
        config: The values of its configuration, as in its config.json.
        parameters: Of the model that the configuration names, or of the bare one; a classifier's head is not counted.
        shapes: Full module name -> (out, in) of each linear layer inside the blocks, by layer, then kind.
        fused: Full parameter name -> (experts, out, in) of the fused weights of experts inside the blocks.
        active: Parameters that one token passes through; None if the configuration of its experts does not say.
    """

    name: str
    config: Mapping[str, Any]
    parameters: int
    shapes: dict[str, Shape]
    fused: dict[str, Stack] = field(default_factory=dict)
    active: int | None = None

    @cached_property
    def kinds(self) -> dict[str, list[str]]:
        """Kinds of linear layers ("query", …, "expert up" of all experts), each with the names of its modules."""
        experts = expert_kinds(self.shapes, ())
        by_kind: dict[str, list[str]] = {}
        for place in places(list(self.shapes)):
            by_kind.setdefault(experts.get(place.name, place.kind), []).append(place.name)
        return by_kind

    @cached_property
    def fused_kinds(self) -> dict[str, list[str]]:
        """Kinds of fused weights of experts ("expert down (fused)"), each with the names of its parameters."""
        by_kind: dict[str, list[str]] = {}
        for name, kind in expert_kinds((), self.fused).items():
            by_kind.setdefault(kind, []).append(name)
        return by_kind

    def of_kinds(self, kinds: Sequence[str] | None) -> dict[str, list[Shape]]:
        """Return kind -> shapes of its matrices, of these kinds, or of all kinds of linear layers.

        Raises:
            ArchitectureError: If the model has no weights of a kind.
        """
        existing = [*self.kinds, *self.fused_kinds]
        for kind in kinds or ():
            if kind not in existing:
                raise ArchitectureError(f"{self.name} has no weights {kind!r}; it has {', '.join(existing)}.")
        return {kind: self._shapes_of(kind) for kind in existing if kind in (kinds or self.kinds)}

    def names_of(self, kind: str) -> list[str]:
        """Return the modules of a kind, or its parameters if they are fused."""
        return self.kinds.get(kind) or self.fused_kinds[kind]

    def _shapes_of(self, kind: str) -> list[Shape]:
        if kind in self.kinds:
            return [self.shapes[name] for name in self.kinds[kind]]
        stacks = [self.fused[name] for name in self.fused_kinds[kind]]
        return [(out, in_) for experts, out, in_ in stacks for _ in range(experts)]


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


def _check_sizes(values: Mapping[str, Any]) -> None:
    """Raise an ArchitectureError if a model of this configuration would take too long, or too much memory."""
    layers = experts = 1
    for key, value in _numbers(values):
        counts = "size" not in key
        of_experts = counts and "expert" in key
        of_layers = counts and not of_experts and any(word in key for word in ("layer", "block", "depth"))
        most = _MOST_EXPERTS if of_experts else _MOST_LAYERS if of_layers else _MOST_SIZE
        if any(word in key for word in ("theta", "token", "max")):
            continue
        if abs(value) > most:
            raise ArchitectureError(f"{key} = {value:g} is too large to be built: at most {most:,}.")
        layers, experts = max(layers, value * of_layers), max(experts, value * of_experts)
    if layers * experts > _MOST_MODULES:
        raise ArchitectureError(
            f"{experts:g} experts in {layers:g} layers are too many to be built: at most {_MOST_MODULES:,} together."
        )


def _numbers(values: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Yield the whole numbers in a configuration, also those in lists and in the configurations of its parts."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _numbers(value)
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, int) and not isinstance(item, bool):
                yield key, item


@lru_cache(maxsize=64)
def _build(name: str, config: str) -> Architecture:
    from analysis.models.heads import is_head
    from analysis.models.loading import as_published, build_from_config, linear_shapes

    values = json.loads(config)
    try:
        configuration = config_from_values(values)
        model = build_from_config(configuration)
        published = as_published(configuration, model)
    except ArchitectureError:
        raise
    except Exception as error:  # a configuration may be wrong in any way
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ArchitectureError(f"No model can be built from the configuration of {name}: {reason[0]}") from error
    shapes = linear_shapes(model)
    if not shapes:
        raise ArchitectureError(f"{name} has no linear layers inside blocks, so there is nothing to adapt.")
    parameters = sum(p.numel() for key, p in published.named_parameters() if not is_head(key))
    fused = fused_experts(model)
    return Architecture(
        name,
        values,
        parameters,
        {place.name: shapes[place.name] for place in places(list(shapes))},
        fused,
        active_parameters(model, parameters, fused, expert_kinds(shapes, ())),
    )


def config_from_values(values: Mapping[str, Any]) -> Any:
    """Return transformers' configuration object of the values of a config.json.

    Raises:
        ArchitectureError: If transformers has no such architecture.
    """
    from transformers import CONFIG_MAPPING, AutoConfig

    from analysis.common.compat import decoded_floats

    _check_sizes(values)
    family = values.get("model_type")
    if not isinstance(family, str) or family not in CONFIG_MAPPING:
        raise ArchitectureError(
            f"transformers has no architecture {family!r}; a model that brings code of its own is not built."
        )
    left_out = ("model_type", "auto_map", "quantization_config", "transformers_version", "torch_dtype", "dtype")
    kept = {key: value for key, value in values.items() if key not in left_out}
    return AutoConfig.for_model(family, **decoded_floats(kept))


_TOO_LARGE = "{} is larger than 1 MB: a model's config.json is expected."
