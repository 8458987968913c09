"""CTranslate2's model.bin: names, shapes and numbers of a model's weights. Light: no torch, and not CTranslate2.

The format, version 6, little-endian (https://github.com/OpenNMT/CTranslate2, python/ctranslate2/specs/model_spec.py):
version (uint32), name of the kind of model (string), revision (uint32), number of weights (uint32); then of each
weight its name (string), number of axes (uint8), shape (uint32 each), type (uint8), bytes (uint32) and its numbers in
rows. A string is its length with a closing zero byte (uint16) and its bytes. What follows the weights, second names
of some, is not read.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from analysis.common.errors import BaseModelError

VERSION = 6
_TYPES = {0: "<f4", 1: "<i1", 2: "<i2", 3: "<i4", 4: "<f2"}  # bfloat16, which is 5, has no type in NumPy
_MOST_AXES = 8


@dataclass(frozen=True)
class _Weight:
    shape: tuple[int, ...]
    dtype: np.dtype
    offset: int


class CTranslate2File:
    """The weights of a model.bin, read one at a time.

    Attributes:
        path: The file.
        kind: What CTranslate2 calls the kind of model, "WhisperSpec".
    """

    def __init__(self, path: Path) -> None:
        """Read the names, types and shapes.

        Raises:
            BaseModelError: If the file cannot be read, is something else, or contradicts itself.
        """
        self.path = path
        self._weights: dict[str, _Weight] = {}
        try:
            with path.open("rb") as stream:
                size = path.stat().st_size
                if _number(stream, "<I") != VERSION:
                    raise ValueError(f"it does not begin with version {VERSION}")
                self.kind = _text(stream)
                _number(stream, "<I")  # the revision of that kind
                for _ in range(_number(stream, "<I")):
                    name, weight, end = _header(stream)
                    if end > size:
                        raise ValueError(f"{name} ends behind the file")
                    self._weights[name] = weight
                    stream.seek(end)
        except (OSError, ValueError, struct.error) as error:
            raise BaseModelError(
                f"{path} cannot be read as a model of CTranslate2 ({error}); install its package again."
            ) from error

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name of each weight -> its shape, () for a setting."""
        return {name: weight.shape for name, weight in self._weights.items()}

    def read(self, name: str) -> np.ndarray:
        """Return a weight in the type that it is stored in.

        Raises:
            BaseModelError: If there is none of this name, or the file has changed.
        """
        weight = self._weights.get(name)
        if weight is None:
            raise BaseModelError(f"{self.path} has no weight {name}: it is not the model that is expected here.")
        count = math.prod(weight.shape)
        numbers = np.fromfile(self.path, weight.dtype, count, offset=weight.offset)
        if len(numbers) != count:
            raise BaseModelError(f"{self.path} is cut short in {name}; install its package again.")
        return numbers.reshape(weight.shape)


def _header(stream: BinaryIO) -> tuple[str, _Weight, int]:
    """Return the name of the next weight, what it is, and where its numbers end."""
    name = _text(stream)
    axes = _number(stream, "<B")
    if axes > _MOST_AXES:
        raise ValueError(f"{name} has {axes} axes")
    shape = tuple(_number(stream, "<I") for _ in range(axes))
    type_id, size = _number(stream, "<B"), _number(stream, "<I")
    if type_id not in _TYPES:
        raise ValueError(f"{name} has the unknown type {type_id}")
    dtype = np.dtype(_TYPES[type_id])
    if math.prod(shape) * dtype.itemsize != size:
        raise ValueError(f"{name} of shape {shape} has {size} bytes")
    return name, _Weight(shape, dtype, stream.tell()), stream.tell() + size


def _number(stream: BinaryIO, form: str) -> int:
    return struct.unpack(form, stream.read(struct.calcsize(form)))[0]


def _text(stream: BinaryIO) -> str:
    length = _number(stream, "<H")
    raw = stream.read(length)
    if len(raw) != length or not raw.endswith(b"\0"):
        raise ValueError("a name is cut short")
    return raw[:-1].decode()
