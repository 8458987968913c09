"""From a path that a person gives to the files that belong together: a config, and the weights beside it."""

from __future__ import annotations

import re
from pathlib import Path

from analysis.common.errors import AdapterError
from analysis.common.tensor_files import PICKLES, model_files, weight_files

CONFIG_FILE, MODEL_CONFIG, PROJECTION_CONFIG = "adapter_config.json", "config.json", "projection.json"
CONFIGS = (CONFIG_FILE, PROJECTION_CONFIG, MODEL_CONFIG)  # an adapter beside a model counts first
WEIGHTS_FILE, PROJECTION_FILE = "adapter_model.safetensors", "projection.safetensors"
_SHARD = re.compile(r"-\d{5}-of-\d{5}\.")
# What else an adapter's weights are called: PEFT's pickle, and the file of mlx-lm.
_ADAPTER_FILES = (WEIGHTS_FILE, "adapter_model.bin", "adapters.safetensors")


def locate_config(path: Path) -> Path:
    """Return the config that says what `path` holds, one of `CONFIGS`.

    Args:
        path: A directory; one with a single subfolder that holds an adapter or model; or a file of weights.

    Raises:
        AdapterError: If there is nothing, or more than one thing, that could be meant.
    """
    if path.is_file():
        if path.name in CONFIGS:
            return path
        if path.suffix != ".safetensors" and path.suffix not in PICKLES:
            raise AdapterError(f"{path} is not a file of weights; give a safetensors file or a directory.")
        if config := _config_in(path.parent):
            return config
        raise AdapterError(
            f"{path.parent} has no {CONFIG_FILE} and no config.json, which say what {path.name} is; copy the whole "
            "directory."
        )
    if not path.is_dir():
        raise AdapterError(f"There is no file or directory {path}; give the directory that holds {CONFIG_FILE}.")
    if config := _config_in(path):
        return config
    inside = sorted(filter(None, (_config_in(folder) for folder in path.iterdir() if folder.is_dir())))
    if len(inside) > 1:
        names = ", ".join(config.parent.name for config in inside[:5]) + (", …" if len(inside) > 5 else "")
        raise AdapterError(f"{path} holds several adapters or models ({names}); give one of these folders.")
    if inside:
        return inside[0]
    raise AdapterError(f"{path} is not an adapter: it has no {CONFIG_FILE}, and no config.json of a model either.")


def locate_weights(path: Path, config: Path) -> list[Path]:
    """Return the files with the tensors that `path` holds, of which a shard stands for its whole model.

    Raises:
        AdapterError: If they are missing.
    """
    if path.is_file() and path.name not in CONFIGS and not _SHARD.search(path.name):
        return [path]
    if config.name == MODEL_CONFIG:
        return model_files(config.parent)
    names = (PROJECTION_FILE,) if config.name == PROJECTION_CONFIG else _ADAPTER_FILES
    if files := weight_files(config.parent, names):
        return files
    others = sorted(file.name for file in config.parent.glob("*.safetensors"))
    hint = f"give the file itself if it is {others[0]}" if others else "copy the whole directory"
    raise AdapterError(f"{config.parent} has no {names[0]}; {hint}.")


def reopening_path(path: Path, config: Path) -> Path:
    """Return the path by which the same is opened again: the directory, but a file that it does not stand for."""
    usual = (*_ADAPTER_FILES, PROJECTION_FILE, "model.safetensors", "pytorch_model.bin", *CONFIGS)
    special = path.is_file() and path.name not in usual and not _SHARD.search(path.name)
    return path if special else config.parent


def _config_in(directory: Path) -> Path | None:
    """Return the config that says what a directory holds: an adapter's before a model's."""
    for name in CONFIGS:
        if (directory / name).is_file():
            return directory / name
    return None
