"""The base model that an adapter belongs to: the class in which its modules have their names, and its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from analysis.common.errors import ArchitectureError, BaseModelError, UserError
from analysis.common.settings import is_public
from analysis.models.base_weights import locate_base
from analysis.models.classes import build_empty, quiet, task_of
from analysis.models.heads import HEADS
from analysis.models.modules import AUTO_CLASSES
from analysis.models.outline import Outline, choose_outline
from analysis.models.packed.unpacking import unpacked


@dataclass(frozen=True, eq=False)
class BaseModel:
    """A base model in memory.

    Attributes:
        name: Id or path, as adapters record it.
        model: In evaluation mode.
        task_type: PEFT's name of what it is for; None if PEFT has none (images).
        new: Names of the parameters that the base's files do not hold: a head that was drawn at random.
        outline: Its modules, and what others call them.
    """

    name: str
    model: PreTrainedModel
    task_type: str | None
    new: frozenset[str]
    outline: Outline

    def module(self, name: str) -> str | None:
        """Return what the model calls the module that an adapter or file calls `name`; None if it has none."""
        return self.outline.module_of(name)


def load_base_model(
    base: str,
    shapes: Mapping[str, tuple[int, ...]],
    *,
    also: Mapping[str, tuple[int, ...]] | None = None,
    named: Sequence[str] = (),
    labels: Sequence[str] | None = None,
    dtype: torch.dtype | str = "auto",
) -> BaseModel:
    """Load `base` in the class that has the modules of an adapter or checkpoint.

    Args:
        base: Id or local path.
        shapes: Names of modules (each with the empty tuple) and parameters (with their shapes) that the class must
            have, as any version of transformers calls them. A head's shape gives the number of classes.
        also: Further names that may be found there, and help to choose the class.
        named: Names of classes to try first, by `modules.named_classes`.
        labels: Names of the classes, if they are known.
        dtype: Type to load it in; "auto" is that of its files.

    Raises:
        BaseModelError: If it cannot be loaded, or no class has the names.
        AdapterError: On a public server, if it may not be opened.
    """
    if is_public():
        locate_base(base)  # refuses paths that strangers may not name, and downloads nothing
    try:
        with quiet():
            config = AutoConfig.from_pretrained(unpacked(base))
        outline = choose_outline(
            config.to_json_string(use_diff=False),
            modules=[_module(name, shape) for name, shape in _all(shapes, also)],
            named=(*named, *_classifiers(shapes)),
        )
        part = _part_of(config, outline)
        _check_names(base, outline, shapes)
        _fit_classes(base, outline, part, dict(_all(shapes, also)))
        if labels is not None and len(labels) == part.num_labels:
            part.id2label = dict(enumerate(labels))
            part.label2id = {label: index for index, label in enumerate(labels)}
        model_class = type(outline.model)
        with quiet(), torch.random.fork_rng(devices=[]):
            pair = model_class.from_pretrained(
                unpacked(base), config=part, dtype=dtype, ignore_mismatched_sizes=True, output_loading_info=True
            )
            model, loaded = cast(tuple[PreTrainedModel, dict[str, Any]], pair)  # as output_loading_info asks
    except ArchitectureError as error:
        raise BaseModelError(f"The base model {base!r} cannot be loaded: {error}") from error
    except UserError:
        raise
    except (OSError, ValueError) as error:
        raise BaseModelError(
            f"The base model {base!r} could not be loaded: it is neither in an installed package, nor a local "
            "directory with a config.json and weights, nor reachable on the Hugging Face Hub; check the name or the "
            "network."
        ) from error
    model.name_or_path = model.config._name_or_path = base
    new = frozenset(loaded["missing_keys"]) | {key for key, *_ in loaded["mismatched_keys"]}
    drawn = [name for name, shape in shapes.items() if not shape and f"{outline.module_of(name)}.weight" in new]
    if drawn:
        raise BaseModelError(
            f"transformers finds no weight for {drawn[0]} in the files of {base!r}, and would draw it at random: save "
            "that base model again with save_pretrained."
        )
    return BaseModel(base, model.eval(), task_of(model_class, part), new, outline)


def _all(
    shapes: Mapping[str, tuple[int, ...]], also: Mapping[str, tuple[int, ...]] | None
) -> list[tuple[str, tuple[int, ...]]]:
    return [*shapes.items(), *((name, shape) for name, shape in (also or {}).items() if name not in shapes)]


def _module(name: str, shape: tuple[int, ...]) -> str:
    """Return the module of a name; of a parameter, the one that it belongs to."""
    return name.rpartition(".")[0] if shape else name


def _classifiers(shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Return the classes in which a head is looked for if an adapter brings one but does not say of which kind."""
    heads = any(not set(HEADS).isdisjoint(name.split(".")) for name in shapes)
    further = ["AutoModelForImageClassification", "AutoModelForAudioClassification"]
    return [AUTO_CLASSES["SEQ_CLS"], *further] if heads else []


def _part_of(config: PreTrainedConfig, outline: Outline) -> PreTrainedConfig:
    """Return the config of the chosen class: the whole, or that of a part such as the text half."""
    wanted = type(outline.model.config)
    if isinstance(config, wanted):
        return config
    return next(part for part in (getattr(config, name) for name in config.sub_configs) if isinstance(part, wanted))


def _check_names(base: str, outline: Outline, shapes: Mapping[str, tuple[int, ...]]) -> None:
    missing = [name for name, shape in shapes.items() if outline.module_of(_module(name, shape)) is None]
    if missing:
        raise BaseModelError(
            f"The base model {base!r} has no {missing[0]}"
            + (f" (and {len(missing) - 1} more)" if len(missing) > 1 else "")
            + ": it is another architecture than what is to be converted; name the base that belongs to it."
        )


def _fit_classes(base: str, outline: Outline, config: PreTrainedConfig, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Give the configuration as many classes as the head has, and compare the shapes.

    Raises:
        BaseModelError: If a parameter has another shape in the base.
    """
    named = {name: shape for name, shape in shapes.items() if shape}
    parameters = outline.parameters_of(named)
    wanted = {parameters[name]: shape for name, shape in named.items() if parameters[name] in outline.shapes}
    unlike = {shape[0] for name, shape in wanted.items() if outline.shapes[name] != shape}
    state = outline.shapes
    if len(unlike) == 1:
        config.num_labels = unlike.pop()
        empty = build_empty(type(outline.model), config)
        state = {name: tuple(tensor.shape) for name, tensor in empty.state_dict().items()}
    for name, shape in wanted.items():
        if state[name] != shape:
            raise BaseModelError(
                f"{name} has shape {shape}, and {state[name]} in the base model {base!r}: "
                "name the base that belongs to it."
            )


def weight_matrix(module: nn.Module) -> torch.Tensor:
    """Return W (out, in) of a linear layer, whatever layout it keeps it in; a view, not a copy.

    Raises:
        BaseModelError: If the module is not a linear layer.
    """
    if not isinstance(module, (nn.Linear, Conv1D)):
        raise BaseModelError(f"A {type(module).__name__} is adapted, but only linear layers can be converted.")
    return module.weight.detach().T if isinstance(module, Conv1D) else module.weight.detach()
