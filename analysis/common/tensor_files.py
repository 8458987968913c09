"""Reading tensors from safetensors files, single or sharded: checked, and one at a time. No torch to open them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from analysis.common.bounded_files import check_header, read_json
from analysis.common.errors import AdapterError
from analysis.common.settings import max_weight

if TYPE_CHECKING:
    import torch

FLOATS = ("F64", "F32", "F16", "BF16")
# eps of a type: the relative distance of neighbouring numbers.
EPS = {"F64": 2.0**-52, "F32": 2.0**-23, "F16": 2.0**-10, "BF16": 2.0**-7}


@dataclass(frozen=True)
class TensorInfo:
    """What a header says of one tensor: its file, type ("F32", "BF16", …) and shape."""

    file: Path
    dtype: str
    shape: tuple[int, ...]


class TensorFiles:
    """The tensors of one or more safetensors files. It holds no open file, so it can be sent to another process.

    Attributes:
        tensors: What the headers say, by name.
    """

    def __init__(self, files: Iterable[Path]) -> None:
        """Read the headers.

        Raises:
            AdapterError: Where a file is missing, damaged, or claims more than is allowed.
        """
        self.tensors: dict[str, TensorInfo] = {}
        for file in files:
            with _opened(file) as opened:
                for name in opened.keys():  # noqa: SIM118  (it is no dict)
                    part = opened.get_slice(name)
                    self.tensors[name] = TensorInfo(file, part.get_dtype(), tuple(part.get_shape()))

    def read(self, name: str) -> torch.Tensor:
        """Read one tensor of floats, in its own type.

        Raises:
            AdapterError: Where it is missing, too large, no tensor of floats, or has NaN or infinite entries.
        """
        import torch

        info = self.tensors.get(name)
        if info is None:
            raise AdapterError(f"There is no tensor {name!r} in these files; copy the whole directory.")
        if info.dtype not in FLOATS:
            raise AdapterError(
                f"{name} in {info.file} has the type {info.dtype}: quantized weights cannot be compared; "
                "use a copy in float32, bfloat16 or float16."
            )
        if math.prod(info.shape) * 4 > max_weight():
            raise AdapterError(
                f"{name} in {info.file} has the shape {info.shape}, more than SVFT_MAX_WEIGHT_MB allows to read."
            )
        tensor = self.read_any(name)
        if not torch.isfinite(tensor).all():
            raise AdapterError(f"{name} in {info.file} has NaN or infinite entries; its training diverged.")
        return tensor

    def read_any(self, name: str) -> torch.Tensor:
        """Read one tensor of any type, unchecked."""
        with _opened(self.tensors[name].file, framework="pt") as opened:
            return opened.get_tensor(name)

    def bytes_of(self, name: str) -> int:
        """Return the number of bytes of one tensor as float32, from the header."""
        return 4 * math.prod(self.tensors[name].shape)


def model_files(directory: Path) -> list[Path]:
    """Return the safetensors files of the model in `directory`: a single one, or all shards that its index names.

    Raises:
        AdapterError: Where there are none, or the index names files elsewhere.
    """
    single, index = directory / "model.safetensors", directory / "model.safetensors.index.json"
    if single.is_file():
        return [single]
    if not index.is_file():
        raise AdapterError(f"{directory} has no model.safetensors, single or sharded; save the model as safetensors.")
    shards = read_json(index).get("weight_map")
    if not isinstance(shards, dict) or not all(isinstance(shard, str) for shard in shards.values()):
        raise AdapterError(f"{index} has no weight_map of tensor names to files; copy or save the model again.")
    names = sorted(set(shards.values()))
    for name in names:
        if name != Path(name).name or "\\" in name or not name.endswith(".safetensors"):
            raise AdapterError(f"{index} names the file {name!r}, which is no safetensors file beside it.")
    return [directory / name for name in names]


@contextmanager
def _opened(file: Path, framework: str = "numpy") -> Iterator[Any]:
    check_header(file)
    try:
        with safe_open(file, framework=framework) as opened:
            yield opened
    except (SafetensorError, OSError, ValueError) as error:
        raise AdapterError(f"{file} is damaged or cut short ({error}); copy or save it again.") from error
