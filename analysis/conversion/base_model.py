"""The base model that an adapter belongs to: the class in which its modules have their names, and its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import transformers
from torch import nn
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from analysis.common.errors import BaseModelError
from analysis.common.settings import is_public
from analysis.models.base_weights import locate_base
from analysis.models.loading import quiet
from analysis.models.packages import resolve_base

# PEFT's name of a task -> transformers' class for it; what comes first wins if several fit alike.
AUTO_CLASSES = {
    "SEQ_CLS": "AutoModelForSequenceClassification",
    "IMAGE_CLS": "AutoModelForImageClassification",  # PEFT has no such task
    "CAUSAL_LM": "AutoModelForCausalLM",
    "SEQ_2_SEQ_LM": "AutoModelForSeq2SeqLM",
    "TOKEN_CLS": "AutoModelForTokenClassification",
    "QUESTION_ANS": "AutoModelForQuestionAnswering",
    "MASKED_LM": "AutoModelForMaskedLM",
    "FEATURE_EXTRACTION": "AutoModel",
}
PEFT_TASKS = set(AUTO_CLASSES) - {"IMAGE_CLS", "MASKED_LM"}


@dataclass(frozen=True, eq=False)
class BaseModel:
    """A base model in memory.

    Attributes:
        name: Id or path, as adapters record it.
        model: In evaluation mode.
        task_type: PEFT's name of what it is for; None if PEFT has none (images).
        new: Names of the parameters that the base's files do not hold: a head that was drawn at random.
    """

    name: str
    model: PreTrainedModel
    task_type: str | None
    new: frozenset[str]


def load_base_model(
    base: str,
    shapes: Mapping[str, tuple[int, ...]],
    *,
    also: Mapping[str, tuple[int, ...]] | None = None,
    task_type: str | None = None,
    labels: Sequence[str] | None = None,
    dtype: torch.dtype | str = "auto",
) -> BaseModel:
    """Load `base` in the class whose modules have the names that an adapter or checkpoint uses.

    Args:
        base: Id or local path.
        shapes: Names of parameters or modules that must be found in the model, with the shapes of parameters (the
            empty tuple for modules). A head's shape gives the number of classes.
        also: Further names that may be found there, and help to choose the class.
        task_type: PEFT's name of the task, which decides if several classes fit alike.
        labels: Names of the classes, if they are known.
        dtype: Type to load it in; "auto" is that of its files.

    Raises:
        BaseModelError: If it cannot be loaded, or no class has the names.
        AdapterError: On a public server, if it may not be opened.
    """
    if is_public():
        locate_base(base)  # refuses paths that strangers may not name, and downloads nothing
    try:
        config = AutoConfig.from_pretrained(resolve_base(base))
        chosen, config = _choose(base, config, shapes, also or {}, task_type)
        if labels is not None and len(labels) == config.num_labels:
            config.id2label = dict(enumerate(labels))
            config.label2id = {label: index for index, label in enumerate(labels)}
        with quiet(), torch.random.fork_rng(devices=[]):
            model, loaded = getattr(transformers, AUTO_CLASSES[chosen]).from_pretrained(
                resolve_base(base), config=config, dtype=dtype, ignore_mismatched_sizes=True, output_loading_info=True
            )
    except (OSError, ValueError) as error:
        raise BaseModelError(
            f"The base model {base!r} could not be loaded: it is neither in an installed package, nor a local "
            "directory with a config.json and weights, nor reachable on the Hugging Face Hub; check the name or the "
            "network."
        ) from error
    model.name_or_path = model.config._name_or_path = base
    new = frozenset(loaded["missing_keys"]) | {key for key, *_ in loaded["mismatched_keys"]}
    return BaseModel(base, model.eval(), chosen if chosen in PEFT_TASKS else None, new)


def _choose(
    base: str,
    config: PreTrainedConfig,
    shapes: Mapping[str, tuple[int, ...]],
    also: Mapping[str, tuple[int, ...]],
    task_type: str | None,
) -> tuple[str, PreTrainedConfig]:
    """Return the task whose class has most of the names, and the config with as many classes as the head has."""
    best, found = None, -1
    for task in sorted(AUTO_CLASSES, key=lambda task: task != task_type):
        skeleton = _skeleton(task, config)
        if skeleton is None:
            continue
        known = {name for name, _ in skeleton.named_modules()} | set(skeleton.state_dict())
        count = len(known & (set(shapes) | set(also)))
        if count > found:
            best, found, names, state = task, count, known, skeleton.state_dict()
    missing = sorted(set(shapes) - names) if best else sorted(shapes)
    if missing:
        raise BaseModelError(
            f"The base model {base!r} has no {missing[0]}"
            + (f" (and {len(missing) - 1} more)" if len(missing) > 1 else "")
            + ": it is another architecture than what is to be converted; name the base that belongs to it."
        )
    shapes = dict(shapes) | {name: shape for name, shape in also.items() if name in state}
    classes = {shape[0] for name, shape in shapes.items() if shape and tuple(state[name].shape) != shape}
    if len(classes) == 1 and best in ("SEQ_CLS", "IMAGE_CLS", "TOKEN_CLS"):
        config.num_labels = classes.pop()
        state = _skeleton(best, config).state_dict()
    for name, shape in shapes.items():
        if shape and tuple(state[name].shape) != shape:
            raise BaseModelError(
                f"{name} has shape {shape}, and {tuple(state[name].shape)} in the base model {base!r}: "
                "name the base that belongs to it."
            )
    return best, config


def _skeleton(task: str, config: PreTrainedConfig) -> nn.Module | None:
    """Return the model without numbers, None if the family has no such class."""
    auto = getattr(transformers, AUTO_CLASSES[task])
    if type(config) not in auto._model_mapping:
        return None
    with quiet(), torch.device("meta"):
        return auto.from_config(config)


def weight_matrix(module: nn.Module) -> torch.Tensor:
    """Return W (out, in) of a linear layer, whatever layout it keeps it in; a view, not a copy.

    Raises:
        BaseModelError: If the module is not one.
    """
    if not isinstance(module, (nn.Linear, Conv1D)):
        raise BaseModelError(f"A {type(module).__name__} is adapted, but only linear layers can be converted.")
    return module.weight.detach().T if isinstance(module, Conv1D) else module.weight.detach()
