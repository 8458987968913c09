"""Which class of transformers a model is: from its configuration, and from what an adapter says of itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import transformers
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.utils import logging as transformers_logging

from analysis.models.modules import AUTO_CLASSES

# Classes that a family may have besides, in the order in which they are tried.
_FURTHER = (
    "AutoModelForImageClassification",
    "AutoModelForMaskedLM",
    "AutoModelForImageTextToText",
    "AutoModelForSpeechSeq2Seq",
    "AutoModelForCTC",
    "AutoModelForAudioClassification",
    "AutoModelForPreTraining",
)


def candidates(
    config: PreTrainedConfig, named: Iterable[str] = ()
) -> Iterator[tuple[type[PreTrainedModel], PreTrainedConfig]]:
    """Yield the classes as which a model of a configuration can be loaded, the likeliest first, each with its config.

    The config is that of a part (the text half of a vision-language model) if the class is one of that part.

    Args:
        config: Of the base model.
        named: Classes that an adapter names, by `modules.named_classes`.
    """
    parts = [config, *_parts(config)]
    seen = set()
    for name in (*named, *(config.architectures or ()), *AUTO_CLASSES.values(), *_FURTHER):
        named_class = getattr(transformers, name, None) if name.isidentifier() else None
        for part in parts if name in named else parts[:1]:
            model_class = _resolve(named_class, part)
            if model_class is not None and model_class not in seen:
                seen.add(model_class)
                yield model_class, part
    for part in parts[1:]:
        for auto in ("AutoModel", "AutoModelForCausalLM"):
            model_class = _resolve(getattr(transformers, auto), part)
            if model_class is not None and model_class not in seen:
                seen.add(model_class)
                yield model_class, part


def build_empty(
    model_class: type[PreTrainedModel], config: PreTrainedConfig, dtype: torch.dtype = torch.float32
) -> PreTrainedModel:
    """Return a model on torch's meta device: its modules and their shapes, no numbers."""
    with quiet(), torch.device("meta"):
        return model_class._from_config(config, dtype=dtype)


def task_of(model_class: type, config: PreTrainedConfig) -> str | None:
    """Return PEFT's name of what a class is for; None if PEFT has none."""
    for task, auto in AUTO_CLASSES.items():
        if _resolve(getattr(transformers, auto), config) is model_class:
            return task
    return None


def _resolve(model_class: Any, config: PreTrainedConfig) -> type[PreTrainedModel] | None:
    """Return the class that a class or an auto class stands for; None if it is of another config."""
    mapping = getattr(model_class, "_model_mapping", None)
    if mapping is not None:
        model_class = mapping.get(type(config), None)
        model_class = model_class[0] if isinstance(model_class, (tuple, list)) else model_class
    if not (isinstance(model_class, type) and issubclass(model_class, PreTrainedModel)):
        return None
    fits = model_class.config_class is not None and isinstance(config, model_class.config_class)
    return model_class if fits else None


def _parts(config: PreTrainedConfig) -> list[PreTrainedConfig]:
    parts = (getattr(config, name, None) for name in config.sub_configs)
    return [part for part in parts if isinstance(part, PreTrainedConfig)]


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers from announcing the new head, which is meant, and from drawing its own progress bar."""
    verbosity = transformers_logging.get_verbosity()
    progress = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if progress:
            transformers_logging.enable_progress_bar()
