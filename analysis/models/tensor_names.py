"""Which tensor of a base model's files is the weight of which module. Light: torch only when names are resolved."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

from analysis.common.errors import ArchitectureError
from analysis.models.modules import without_wrappers
from analysis.models.outline import Outline, by_end, choose_outline, only_end, outline_of


class TensorNames:
    """The names of one model's tensors, in its files and in its class. It can be sent to another process.

    Attributes:
        model_class: Name of the class of transformers whose modules these are; None if no class could be built:
            modules are called as in the files then, and all matrices pass for linear layers.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        tensors: Iterable[str],
        modules: Sequence[str] = (),
        named: Sequence[str] = (),
    ) -> None:
        """Choose the class.

        Args:
            config: Values of the model's config.json.
            tensors: Names of the tensors in its files.
            modules: What an adapter calls modules that must be found in the class; none for the model's own tensors.
            named: Names of classes to try first, by `modules.named_classes`.
        """
        self._config = json.dumps(config)
        self._tensors = list(tensors)
        self._found: dict[str, str | None] = {}
        self.model_class: str | None
        try:
            self.model_class = choose_outline(
                self._config, modules=modules, tensors=self._tensors, named=named
            ).model_class
        except ArchitectureError:
            self.model_class = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is computed from the rest."""
        return {name: self.__dict__[name] for name in ("_config", "_tensors", "_found", "model_class")}

    @property
    def outline(self) -> Outline | None:
        """The modules of the class; built once per process."""
        return outline_of(self._config, self.model_class) if self.model_class else None

    @cached_property
    def parameters(self) -> dict[str, str]:
        """Name of a parameter of the class -> name of the tensor that holds it, or a part of it."""
        match = (
            self.outline.parameters_of(self._tensors)
            if self.outline
            else {t: without_wrappers(t) for t in self._tensors}
        )
        kept: dict[str, str] = {}
        for tensor, parameter in match.items():
            if parameter not in kept or tensor == parameter:
                kept[parameter] = tensor
        if self.outline:
            for alias, other in self.outline.tied.items():  # the files hold one of the two
                if (alias in kept) != (other in kept):
                    there = kept[alias if alias in kept else other]
                    kept |= {alias: there, other: there}
        return kept

    def module(self, name: str) -> str | None:
        """Return what the class calls the module that others call `name`; None if there is none, or several."""
        if self.outline:
            match = self.outline.module_of(name)
            if match is not None:
                return match
        tensor = self._parameter(f"{name}.weight")
        return tensor.removesuffix(".weight") if tensor else None

    def find(self, module: str) -> str | None:
        """Return the tensor that is the weight of a module, by any of its names; None if there is none, or several."""
        if module not in self._found:
            bare = f"{without_wrappers(module)}.weight"
            own = None if bare in self.parameters else self.module(module)
            self._found[module] = self.parameters.get(f"{own}.weight" if own else bare)
        return self._found[module]

    def find_tensor(self, name: str) -> str | None:
        """Return what the files call the parameter that others call `name`; None if there is none, or several."""
        parameter = self._parameter(name)
        return self.parameters[parameter] if parameter else None

    def is_transposed(self, module: str) -> bool:
        """Whether the weight of a module is kept as (in, out), which Conv1D does."""
        own = self.module(module)
        return bool(own and self.outline and self.outline.is_transposed(own))

    def module_type(self, module: str) -> str | None:
        """Return the class of a module ("Linear", "Embedding", …); None if it is not known."""
        own = self.module(module)
        return self.outline.modules.get(own) if own and self.outline else None

    def why_missing(self, module: str) -> str:
        """Return why a module has no weight in the files, as the end of a sentence that begins with its name."""
        bare = without_wrappers(module)
        paths = self.outline.modules if self.outline else {path.rpartition(".")[0] for path in self.parameters}
        several = sorted(path for path in paths if path.endswith(f".{bare}"))
        if len(several) > 1:
            return (
                f"could be {' or '.join(several[:3])}: the adapter does not say which part of the model it belongs to"
            )
        own = self.module(module)
        if own and own in paths:
            return (
                "is not in its files: it is drawn at random when the model is loaded, so there is no weight to compare"
            )
        return "is not a module of it: name the base model that the adapter was trained on"

    def _parameter(self, name: str) -> str | None:
        bare = without_wrappers(name)
        own = self.outline.parameters_of([name])[name] if self.outline else bare
        if own in self.parameters:
            return own
        return only_end(own, self._ends, self.parameters)

    @cached_property
    def _ends(self) -> dict[str, list[str]]:
        return by_end(self.parameters)
