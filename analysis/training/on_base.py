"""Which task a base model can be trained for here, from its files. Light: no torch."""

from __future__ import annotations

from pathlib import Path

from analysis.common.bounded_files import read_json
from analysis.common.errors import TaskError
from analysis.training.data.spoken import RATE
from analysis.training.tasks import TASKS

_DIGIT_PIXELS = 8  # along each side of the images of the one task that has some


def task_for(directory: Path) -> str:
    """Return the first task that a base model can be trained for.

    Args:
        directory: Where its files are.

    Raises:
        TaskError: If there is none, with the reason.
        AdapterError: If its configuration is missing or damaged.
    """
    config = read_json(directory / "config.json")
    if "image_size" in config and "vocab_size" not in config:
        if config["image_size"] not in (_DIGIT_PIXELS, [_DIGIT_PIXELS] * 2):
            raise TaskError(
                f"The task with images has digits of {_DIGIT_PIXELS} × {_DIGIT_PIXELS} pixels, and this model reads "
                f"images of size {config['image_size']}: it cannot be trained here."
            )
        return _first("image")
    features = directory / "preprocessor_config.json"
    if features.is_file() and "sampling_rate" in (values := read_json(features)):
        if values["sampling_rate"] != RATE:
            raise TaskError(
                f"The task with sounds has {RATE:,} samples a second, and this model reads {values['sampling_rate']}: "
                "it cannot be trained here."
            )
        return _first("audio")
    settings = directory / "tokenizer_config.json"
    if not settings.is_file():
        raise TaskError(
            f"{directory.name} has no tokenizer_config.json: put the model's tokenizer beside its weights."
        )
    if not read_json(settings).get("pad_token") and not _is_padded(directory):
        raise TaskError(
            f"The tokenizer of {directory.name} has no padding token, which batches of texts need: set its pad_token "
            "and save it again."
        )
    return _first("text")


def _is_padded(directory: Path) -> bool:
    special = directory / "special_tokens_map.json"
    return special.is_file() and bool(read_json(special).get("pad_token"))


def _first(kind: str) -> str:
    return next(name for name, task in TASKS.items() if task.kind == kind)
