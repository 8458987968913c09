"""The tensors of a checkpoint, one at a time: safetensors, whole or in shards, and pickles that hold nothing else."""

from __future__ import annotations

from pathlib import Path

import torch

from analysis.common.bounded_files import read_json
from analysis.common.errors import AdapterError
from analysis.common.tensor_files import PICKLES, TensorFiles

_INDEX_SUFFIX = ".index.json"


class Checkpoint:
    """An open checkpoint; made by `open_checkpoint`.

    Attributes:
        path: The file or directory.
        shapes: Shape of each tensor, by name.
    """

    def __init__(self, path: Path, files: TensorFiles) -> None:
        self.path = path
        self.shapes = {name: info.shape for name, info in files.tensors.items()}
        self._files = files

    def read(self, name: str) -> torch.Tensor:
        """Read one tensor, in its own type.

        Raises:
            AdapterError: If it is damaged.
        """
        return self._files.read_any(name)


def open_checkpoint(path: str | Path) -> Checkpoint:
    """Open the checkpoint at `path`, a file or a directory that holds one; its tensors are read on demand.

    A pickle is read with torch's `weights_only`, which runs nothing, and mapped into memory if its format allows.

    Raises:
        AdapterError: If there is none, or it is damaged.
    """
    path = Path(path)
    return Checkpoint(path, TensorFiles(_files(path)))


def _files(path: Path) -> list[Path]:
    if path.is_file():
        if path.suffix == ".safetensors" or path.suffix in PICKLES:
            return [path]
        raise AdapterError(f"{path} is neither a safetensors file nor a PyTorch file (.bin, .pt, .pth).")
    if not path.is_dir():
        raise AdapterError(f"There is no file or directory {path}.")
    for index in sorted(path.glob(f"*{_INDEX_SUFFIX}")):
        return _shards(path, index)
    for suffix in (".safetensors", *PICKLES):
        files = [file for file in sorted(path.glob(f"*{suffix}")) if not _is_training_state(file)]
        if len(files) > 1:
            names = ", ".join(file.name for file in files[:4])
            raise AdapterError(f"{path} holds several checkpoints ({names}); name one of the files.")
        if files:
            return files
    raise AdapterError(f"{path} holds no checkpoint: no safetensors file and no PyTorch file (.bin, .pt, .pth).")


def _is_training_state(file: Path) -> bool:
    """Whether a trainer wrote this file beside the model's: optimizer, schedule, random numbers, arguments."""
    return file.name in ("optimizer.pt", "scheduler.pt", "scaler.pt", "training_args.bin") or file.name.startswith(
        "rng_state"
    )


def _shards(directory: Path, index: Path) -> list[Path]:
    shards = read_json(index).get("weight_map")
    if not isinstance(shards, dict) or not all(isinstance(shard, str) for shard in shards.values()):
        raise AdapterError(f"{index} has no weight_map of tensor names to files; copy or save the model again.")
    files = [directory / name for name in sorted(set(shards.values()))]
    for file in files:
        if file.parent != directory or not file.is_file() or file.suffix not in (".safetensors", *PICKLES):
            raise AdapterError(f"{index} names the shard {file.name!r}, which is not beside it; copy all files.")
    return files
