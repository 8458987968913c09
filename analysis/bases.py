"""Base models: from a portable id to a model in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.pytorch_utils import Conv1D
from transformers.utils import logging as transformers_logging

from analysis.packages import DEFAULT_BASE as DEFAULT_BASE
from analysis.packages import resolve_base


class BaseModelError(ValueError):
    """A base model that cannot be loaded, in one sentence for people."""


def load_base(base: str, labels: Sequence[str]) -> PreTrainedModel:
    """Load `base` in float32 with a new classification head, drawn from torch's global generator.

    Args:
        base: Hub id or local path.
        labels: Names of the classes, in the order of the head's outputs.

    Returns:
        The model in eval mode. It records `base` itself as its name, so that no path of this machine reaches an
        adapter trained on it.

    Raises:
        BaseModelError: Where the model cannot be found or read.
    """
    with _quiet():
        try:
            model = AutoModelForSequenceClassification.from_pretrained(
                resolve_base(base),
                num_labels=len(labels),
                id2label=dict(enumerate(labels)),
                label2id={label: index for index, label in enumerate(labels)},
                dtype=torch.float32,
            )
        except (OSError, ValueError) as error:
            raise BaseModelError(_cannot_load(base)) from error
    model.name_or_path = model.config._name_or_path = base
    return model.eval()


Encoder = Callable[[Sequence[Any]], dict[str, torch.Tensor]]


def load_encoder(base: str) -> Encoder:
    """Return what makes the inputs of `base` from texts: input_ids, attention_mask, … each (texts, length)."""
    tokenizer = load_tokenizer(base)

    def encode(texts: Sequence[str]) -> dict[str, torch.Tensor]:
        return dict(tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt"))

    return encode


@lru_cache(maxsize=4)
def load_tokenizer(base: str) -> PreTrainedTokenizerBase:
    """Load the tokenizer of `base`, once per process.

    Raises:
        BaseModelError: Where it cannot be found or read.
    """
    try:
        return AutoTokenizer.from_pretrained(resolve_base(base))
    except (OSError, ValueError) as error:
        raise BaseModelError(_cannot_load(base)) from error


def block_linears(model: nn.Module) -> list[str]:
    """Return the names of the linear layers inside the model's blocks: 36 in the default base.

    Inside a block means inside a list of modules, so that embeddings, poolers and heads stay out.
    """
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, (nn.Linear, Conv1D)) and any(part.isdigit() for part in name.split("."))
    ]


def _cannot_load(base: str) -> str:
    return (
        f"The base model {base!r} could not be loaded: it is neither in an installed package, nor a local "
        "directory with a config.json, nor reachable on the Hugging Face Hub; check the name or the network."
    )


@contextmanager
def _quiet() -> Iterator[None]:
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
