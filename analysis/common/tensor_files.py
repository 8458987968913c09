"""Tensors in files, by name: headers are read once, numbers when they are asked for, one tensor at a time."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.common.bounded_files import read_header, read_json
from analysis.common.errors import AdapterError
from analysis.common.settings import max_weight

if TYPE_CHECKING:
    import torch

FLOATS = ("F64", "F32", "F16", "BF16")
# eps of a type: the relative distance of neighbouring numbers.
EPS = {"F64": 2.0**-52, "F32": 2.0**-23, "F16": 2.0**-10, "BF16": 2.0**-7}
PICKLES = (".bin", ".pt", ".pth")

_NUMPY = {
    "BOOL": np.bool_, "U8": np.uint8, "I8": np.int8, "I16": np.int16, "U16": np.uint16, "I32": np.int32,
    "U32": np.uint32, "I64": np.int64, "U64": np.uint64, "F16": np.float16, "F32": np.float32, "F64": np.float64,
    "BF16": np.uint16,
}  # fmt: skip
_TORCH = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "I16": "int16", "I32": "int32", "I64": "int64", "F16": "float16",
    "BF16": "bfloat16", "F32": "float32", "F64": "float64", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2",
}  # fmt: skip
_INSIDE = ("state_dict", "model_state_dict", "model", "module")  # where trainers put a model's state


@dataclass(frozen=True)
class TensorInfo:
    """What a header says of one tensor.

    Attributes:
        file: The file it is in.
        dtype: "F32", "BF16", …
        shape: Its shape.
        place: Where its bytes begin and end in a safetensors file; None in a pickle.
    """

    file: Path
    dtype: str
    shape: tuple[int, ...]
    place: tuple[int, int] | None = None


class TensorFiles:
    """The tensors of one or more files, safetensors or PyTorch's pickles. It can be sent to another process.

    A pickle is read with torch's `weights_only`, which runs nothing, and mapped into memory if its format allows.

    Attributes:
        files: The files.
        tensors: What their headers say, by name.
    """

    def __init__(self, files: Iterable[Path]) -> None:
        """Read the headers.

        Raises:
            AdapterError: If a file is missing, damaged, or claims more than is allowed.
        """
        self.files = tuple(files)
        self.tensors: dict[str, TensorInfo] = {}
        self._stamps: dict[Path, tuple[int, int]] = {}
        self._unpickled: dict[Path, dict[str, torch.Tensor]] = {}
        for file in self.files:
            if file.suffix in PICKLES:
                for name, tensor in self._content(file).items():
                    self.tensors[name] = TensorInfo(file, _type_name(tensor), tuple(tensor.shape))
            else:
                for name, (dtype, shape, begin, end) in read_header(file).items():
                    self.tensors[name] = TensorInfo(file, dtype, shape, (begin, end))
            self._stamps[file] = _stamp(file)

    def __getstate__(self) -> dict[str, Any]:
        """Leave what was unpickled behind: another process reads it anew."""
        return self.__dict__ | {"_unpickled": {}}

    def read(self, name: str, index: int | None = None) -> torch.Tensor:
        """Read one tensor of floats, in its own type.

        Args:
            name: One of `tensors`.
            index: Of one entry along the first axis, such as one expert; None reads all of it.

        Raises:
            AdapterError: If it is missing, too large, not a tensor of floats, or has NaN or infinite entries.
        """
        import torch

        info = self.info(name)
        if info.dtype not in FLOATS:
            raise AdapterError(
                f"{name} in {info.file} has the type {info.dtype}: quantized weights cannot be compared; "
                "use a copy in float32, bfloat16 or float16."
            )
        if math.prod(info.shape if index is None else info.shape[1:]) * 4 > max_weight():
            raise AdapterError(
                f"{name} in {info.file} has the shape {info.shape}, larger than SVFT_MAX_WEIGHT_MB allows."
            )
        tensor = self.read_any(name, index)
        if not torch.isfinite(tensor).all():
            raise AdapterError(f"{name} in {info.file} has NaN or infinite entries; its training diverged.")
        return tensor

    def read_any(self, name: str, index: int | None = None) -> torch.Tensor:
        """Read one tensor of any type, unchecked."""
        import torch

        info = self.info(name)
        if info.place is None:
            tensor = self._content(info.file)[name].detach()
            return tensor if index is None else tensor[index]
        if info.dtype not in _TORCH:
            raise AdapterError(f"{name} in {info.file} has the type {info.dtype}, which is not read here.")
        shape, data = self._bytes(info, index)
        dtype = getattr(torch, _TORCH[info.dtype])
        return torch.frombuffer(data, dtype=dtype).reshape(shape) if data else torch.zeros(shape, dtype=dtype)

    def read_numpy(self, name: str) -> np.ndarray:
        """Read one tensor of any type, unchecked, without torch; bfloat16, which NumPy does not have, as float32."""
        info = self.info(name)
        if info.place is None:
            tensor = self._content(info.file)[name].detach()
            return (tensor.float() if info.dtype == "BF16" else tensor).numpy()
        if info.dtype not in _NUMPY:
            raise AdapterError(f"{name} in {info.file} has the type {info.dtype}, which is not read here.")
        shape, data = self._bytes(info, None)
        numbers: np.ndarray = np.frombuffer(data, dtype=_NUMPY[info.dtype]).reshape(shape)
        return (numbers.astype(np.uint32) << 16).view(np.float32) if info.dtype == "BF16" else numbers

    def info(self, name: str) -> TensorInfo:
        """Return what the header says of one tensor.

        Raises:
            AdapterError: If there is no such tensor.
        """
        if name not in self.tensors:
            raise AdapterError(f"There is no tensor {name!r} in these files; copy the whole directory.")
        return self.tensors[name]

    def numbers(self, name: str) -> int:
        """Return how many numbers a tensor has, 0 if there is no such tensor."""
        return math.prod(self.tensors[name].shape) if name in self.tensors else 0

    def bytes_of(self, name: str) -> int:
        """Return the number of bytes of one tensor as float32, from the header."""
        return 4 * math.prod(self.tensors[name].shape)

    def _bytes(self, info: TensorInfo, index: int | None) -> tuple[tuple[int, ...], bytearray]:
        """Return the shape and the bytes of a tensor, or of one entry along its first axis."""
        assert info.place is not None  # a pickle is read whole
        begin, end = info.place
        shape = info.shape
        if index is not None:
            step = (end - begin) // shape[0]
            begin, end, shape = begin + index * step, begin + (index + 1) * step, shape[1:]
        data = bytearray(end - begin)
        try:
            if _stamp(info.file) != self._stamps[info.file]:
                raise AdapterError(f"{info.file} has changed since it was opened; open it again.")
            with info.file.open("rb") as stream:
                stream.seek(begin)
                read = stream.readinto(data)
        except OSError as error:
            raise AdapterError(f"{info.file} cannot be read ({error.strerror}); copy the whole directory.") from error
        if read != len(data):
            raise AdapterError(f"{info.file} has been cut short since it was opened; copy it again.")
        return shape, data

    def _content(self, file: Path) -> dict[str, torch.Tensor]:
        if file not in self._unpickled:
            self._unpickled[file] = _unpickle(file)
        return self._unpickled[file]


def model_files(directory: Path) -> list[Path]:
    """Return the files of the model in `directory`: a single one, or all shards that its index names.

    Safetensors are preferred to PyTorch's pickles.

    Raises:
        AdapterError: If there are none, or the index names files elsewhere.
    """
    if files := weight_files(directory, ("model.safetensors", "pytorch_model.bin")):
        return files
    raise AdapterError(
        f"{directory} has no model.safetensors and no pytorch_model.bin, single or sharded; copy the whole directory."
    )


def weight_files(directory: Path, names: Iterable[str]) -> list[Path]:
    """Return the first of the files in `directory` that have these names, or all its shards; none if there is none.

    Raises:
        AdapterError: If an index names files that are missing or elsewhere.
    """
    for name in names:
        if (directory / name).is_file():
            return [directory / name]
        index = directory / f"{name}.index.json"
        if index.is_file():
            return _shards(index, Path(name).suffix)
    return []


def _shards(index: Path, suffix: str) -> list[Path]:
    shards = read_json(index).get("weight_map")
    if not isinstance(shards, dict) or not all(isinstance(shard, str) for shard in shards.values()):
        raise AdapterError(f"{index} has no weight_map of tensor names to files; copy or save the model again.")
    names = sorted(set(shards.values()))
    for name in names:
        if name != Path(name).name or "\\" in name or not name.endswith(suffix):
            raise AdapterError(f"{index} names the file {name!r}, which is not a {suffix} file beside it.")
        if not (index.parent / name).is_file():
            raise AdapterError(f"{index} names the shard {name}, which is missing; copy the whole directory.")
    return [index.parent / name for name in names]


def _stamp(file: Path) -> tuple[int, int]:
    status = os.stat(file)
    return status.st_size, status.st_mtime_ns


def _type_name(tensor: torch.Tensor) -> str:
    own = str(tensor.dtype).removeprefix("torch.")
    return next((name for name, other in _TORCH.items() if other == own), own)


def _unpickle(file: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a pickle by name.

    Raises:
        AdapterError: If it holds anything but tensors, or cannot be read.
    """
    import torch

    content = None
    for mapped in (True, False):  # PyTorch's older format cannot be mapped
        try:
            content = torch.load(file, map_location="cpu", weights_only=True, mmap=mapped)
            break
        except Exception as error:  # a damaged pickle raises almost every type there is
            reason = error
    if content is None:
        sentence = str(reason).strip().split("\n")[0].split(". ")[0]  # torch goes on to advise running it
        raise AdapterError(
            f"{file} cannot be read as tensors alone ({sentence}), and nothing else in a pickle is ever run; "
            "save the model's state as safetensors."
        )
    for key in _INSIDE:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content:
        raise AdapterError(f"{file} holds no tensors by name; save the model's state_dict().")
    return {name: t for name, t in content.items() if isinstance(name, str) and isinstance(t, torch.Tensor)}
