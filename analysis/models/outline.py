"""The modules of a model as its class has them, and what files and adapters of any age call them.

One name a module: that of the class in the installed transformers. Files keep the names of the version in which a
family first came, adapters those of the version they were trained with, and trainers put wrappers into both.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from analysis.common.compat import LoadedNames
from analysis.common.errors import ArchitectureError
from analysis.models.modules import named_classes, without_wrappers

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

Shape = tuple[int, ...]

_TOWER = re.compile("vision|visual|image|audio|speech")


@dataclass(frozen=True, eq=False)
class Outline:
    """A model without its numbers.

    Attributes:
        model: Of the class, on the meta device.
    """

    model: PreTrainedModel
    _known: dict[str, str | None] = field(default_factory=dict, repr=False)

    @property
    def model_class(self) -> str:
        """Name of its class."""
        return type(self.model).__name__

    @cached_property
    def modules(self) -> dict[str, str]:
        """Name of each module -> name of its class ("Linear", "Conv1D", "Embedding", …)."""
        return {name: type(module).__name__ for name, module in self.model.named_modules() if name}

    @cached_property
    def shapes(self) -> dict[str, Shape]:
        """Name of each parameter -> its shape in the model."""
        return {name: tuple(tensor.shape) for name, tensor in self.model.state_dict().items()}

    @cached_property
    def tied(self) -> dict[str, str]:
        """Name of each parameter that is another one as well (a head tied to the embedding) -> that one."""
        return dict(self.model.all_tied_weights_keys)

    def is_transposed(self, module: str) -> bool:
        """Whether a module keeps its weight as (in, out), which GPT-2's Conv1D does."""
        return self.modules.get(module) == "Conv1D"

    def module_of(self, name: str) -> str | None:
        """Return the module that an adapter, file or wrapped model calls `name`; None if there is none, or several."""
        return self.modules_of([name])[name]

    def modules_of(self, names: Sequence[str]) -> dict[str, str | None]:
        """Return the module that each of `names` stands for; None if there is none, or several."""
        new = [name for name in names if name not in self._known]
        bare = {name: without_wrappers(name) for name in new}
        renamed = self._loaded.of({f"{stem}.weight" for stem in bare.values()})
        for name, stem in bare.items():
            loaded = renamed[f"{stem}.weight"][0].removesuffix(".weight")
            self._known[name] = next(
                (candidate for candidate in (stem, loaded) if candidate in self.modules), None
            ) or only_end(loaded, self._by_end, self.modules)
        return {name: self._known[name] for name in names}

    def parameters_of(self, tensors: Iterable[str]) -> dict[str, str]:
        """Return the parameter that each tensor of a file becomes; under its own new name if it is a part of one."""
        bare = {name: without_wrappers(name) for name in tensors}
        renamed = self._loaded.of(set(bare.values()))
        resolved, unclear = {}, {}
        for name, stem in bare.items():
            loaded, partly = renamed[stem]
            if not partly and loaded not in self.shapes:
                unclear[name] = loaded
            resolved[name] = loaded
        # What transformers itself finds goes first: the tensors of another part of the model may end alike.
        taken = set(resolved.values())
        for name, loaded in unclear.items():
            whole = only_end(loaded, self._by_end_of_shapes, self.shapes)
            resolved[name] = loaded if whole is None or whole in taken else whole
        return resolved

    def count(self, modules: Sequence[str]) -> int:
        """Return how many of `modules` the class has; the projections of an expert count as its experts' module."""
        owners = [re.sub(r"\.experts\..*", ".experts", name) for name in modules]
        resolved = self.modules_of(sorted(set(owners)))
        return sum(resolved[owner] is not None for owner in owners)

    def count_tensors(self, tensors: Sequence[str]) -> int:
        """Return how many of the tensors of a file the class has a place for."""
        return len(set(self.parameters_of(tensors).values()) & set(self.shapes))

    @cached_property
    def _loaded(self) -> LoadedNames:
        return LoadedNames(self.model)

    @cached_property
    def _by_end(self) -> dict[str, list[str]]:
        return by_end(self.modules)

    @cached_property
    def _by_end_of_shapes(self) -> dict[str, list[str]]:
        return by_end(self.shapes)


def by_end(names: Iterable[str]) -> dict[str, list[str]]:
    """Return last part -> names that end in it."""
    ends = defaultdict(list)
    for name in names:
        ends[name.rpartition(".")[2]].append(name)
    return ends


def only_end(name: str, ends: dict[str, list[str]], names: Iterable[str]) -> str | None:
    """Return the one known name of which `name` is the end, or that is the end of `name`; None if there are several.

    What stands before may differ: a head was added to a model, or a model was put into another one. A tower of images
    or sounds is not taken for a model without one.
    """
    parts = name.split(".")
    inside = next((end for place in range(1, len(parts)) if (end := ".".join(parts[place:])) in names), None)
    if inside is not None and "." in inside and not _TOWER.search(name.removesuffix(inside)):
        return inside
    around = [candidate for candidate in ends.get(parts[-1], ()) if candidate.endswith(f".{name}")]
    return around[0] if len(around) == 1 else None


def choose_outline(
    config: str, *, modules: Sequence[str] = (), tensors: Sequence[str] = (), named: Sequence[str] = ()
) -> Outline:
    """Return the outline of the class that fits what is known best.

    Args:
        config: A config.json, as text.
        modules: What an adapter calls modules, which are looked for in one class after the other; without any
        tensors: names of the tensors in the model's files, which tell the class if the config names none.
        named: Classes to try first, by `modules.named_classes`.

    Raises:
        ArchitectureError: If no model can be built from this configuration.
    """
    fits: list[tuple[int, Outline]] = []
    reason: str | Exception = "there is no class for it"
    for model_class in _classes(config, tuple(named)):
        try:
            outline = outline_of(config, model_class)
        except Exception as error:  # a configuration may be wrong for one class in any way, and right for another
            reason = error
            continue
        if not modules and model_class in named_classes(json.loads(config)):
            return outline
        fits.append((outline.count(modules) if modules else outline.count_tensors(tensors), outline))
        if fits[-1][0] == len(modules or tensors) and (model_class in named or not _is_part(outline, fits[0][1])):
            return outline
    if not fits:
        raise ArchitectureError(f"No model can be built from this configuration: {reason}")
    most = max(count for count, _ in fits)
    best = [outline for count, outline in fits if count == most]
    configs = {type(outline.model.config) for outline in best}
    # Two parts of a model (the towers of CLIP) may both have all the modules: then it is not known which is meant.
    ambiguous = _is_part(best[0], fits[0][1]) and len(configs) > 1
    return fits[0][1] if ambiguous else best[0]


def _is_part(outline: Outline, first: Outline) -> bool:
    """Whether a class is that of a part of the model, which is tried first as a whole."""
    return type(outline.model.config) is not type(first.model.config)


@lru_cache(maxsize=32)
def outline_of(config: str, model_class: str) -> Outline:
    """Return the outline of one class of transformers for a config.json, or for the part of it that the class is of.

    Raises:
        ArchitectureError: If the configuration is not one of this class.
    """
    from analysis.models.classes import build_empty

    pair = _classes(config, (model_class,)).get(model_class)
    if pair is None:
        raise ArchitectureError(f"{model_class} is not a class of such a model.")
    return Outline(build_empty(*pair))


@lru_cache(maxsize=32)
def _classes(config: str, named: tuple[str, ...]) -> dict[str, tuple[type, PreTrainedConfig]]:
    """Return the classes to try, by name, each with its configuration."""
    from analysis.models.architecture import config_from_values
    from analysis.models.classes import candidates, quiet

    with quiet():
        possible = candidates(config_from_values(json.loads(config)), named)
        return {model_class.__name__: (model_class, part) for model_class, part in possible}
