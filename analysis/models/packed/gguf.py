"""GGUF: a language model quantised in one file. Its weights become float32, exactly what the quantised ones stand for.

That takes some 15 s; reading what was written takes less than one.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.common.errors import BaseModelError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TAKES_LONG = True
_EXPANDS = 6  # times its size a file of 4 to 5 bits a weight becomes, at most


def room(file: Path) -> int:
    """Return how many bytes `write` writes at most."""
    return _EXPANDS * file.stat().st_size


def write(file: Path, directory: Path) -> None:
    """Write the model and its tokenizer as transformers loads them.

    Raises:
        BaseModelError: If the file cannot be read.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    from analysis.models.classes import quiet

    source = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    try:
        with quiet():
            dense = GgufConfig(dequantize=True)
            loaded = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32, quantization_config=dense)
            _plain(loaded).save_pretrained(directory)
            AutoTokenizer.from_pretrained(**source).save_pretrained(directory)
    except (ValueError, KeyError, RuntimeError, struct.error) as error:
        raise BaseModelError(f"{file.name} cannot be unpacked: {error}.") from error


def _plain(model: PreTrainedModel) -> PreTrainedModel:
    """Return the same model as one that was never quantised, which transformers saves."""
    from analysis.models.classes import build_empty

    config = type(model.config).from_dict(model.config.to_dict())
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    plain = build_empty(type(model), config)
    plain.load_state_dict(model.state_dict(), assign=True)
    plain.tie_weights()
    plain.generation_config = model.generation_config
    return plain
