"""Files that may come from anyone: how large they claim to be is checked before anything parses them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, TypeGuard

from analysis.common.errors import AdapterError
from analysis.common.settings import max_header

# Bytes of one number, by the name that safetensors gives its type.
BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2,
    "I32": 4, "U32": 4, "F32": 4, "F64": 8, "I64": 8, "U64": 8, "C64": 8,
}  # fmt: skip

_POINTER = b"version https://git-lfs.github.com/spec/"


def read_json(file: Path) -> dict[str, Any]:
    """Read a JSON object of bounded size.

    Raises:
        AdapterError: If it cannot be read, or is something else.
    """
    try:
        if file.stat().st_size > max_header():
            raise AdapterError(f"{file} is larger than SVFT_MAX_HEADER_MB allows; it is not a config.")
        content = json.loads(file.read_text(encoding="utf-8-sig"))  # some editors put a mark in front
    except AdapterError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise AdapterError(f"{file} cannot be read as JSON ({error}); save it again.") from error
    if not isinstance(content, dict):
        raise AdapterError(f"{file} must hold a JSON object; save it again.")
    return content


def read_header(file: Path) -> dict[str, tuple[str, tuple[int, ...], int, int]]:
    """Read the header of a safetensors file, after the size that it claims for itself has been checked.

    The format: eight bytes with the length of the header, the header (a JSON object), and the numbers.
    https://huggingface.co/docs/safetensors

    Returns:
        For each tensor its type ("F32"), shape, and where its bytes begin and end in the file.

    Raises:
        AdapterError: If the file cannot be read, claims more than it has or may have, or contradicts itself.
    """
    damaged = f"{file} is damaged or cut short ({{}}); copy or save it again."
    try:
        size = file.stat().st_size
        with file.open("rb") as stream:
            first = stream.read(8)
            if first == _POINTER[:8] and first + stream.read(len(_POINTER) - 8) == _POINTER:
                raise AdapterError(f"{file} is a pointer of Git LFS, not the file itself: fetch it by `git lfs pull`.")
            claimed = int.from_bytes(first, "little")
            if size < 8 or claimed > size - 8:
                raise AdapterError(damaged.format("its header does not fit into it"))
            if claimed > max_header():
                raise AdapterError(f"{file} has a header of {claimed:,} bytes, more than SVFT_MAX_HEADER_MB allows.")
            header = json.loads(stream.read(claimed))
    except AdapterError:
        raise
    except OSError as error:
        raise AdapterError(f"{file} cannot be read ({error.strerror}); copy the whole directory.") from error
    except (ValueError, RecursionError) as error:
        raise AdapterError(damaged.format("its header is not JSON")) from error
    if not isinstance(header, dict):
        raise AdapterError(damaged.format("its header is not an object"))
    header.pop("__metadata__", None)
    start, entries, covered = 8 + claimed, {}, 0
    for name, entry in header.items():
        if not _is_sound(entry, size - start):
            raise AdapterError(damaged.format(f"the header's entry for {name[:80]!r} does not fit"))
        begin, end = entry["data_offsets"]
        entries[name] = (entry["dtype"], tuple(entry["shape"]), start + begin, start + end)
        covered += end - begin
    if covered != size - start:
        raise AdapterError(damaged.format("its tensors do not fill it"))
    return entries


def _is_sound(entry: Any, most: int) -> bool:
    """Whether a header's entry has a type, a shape, and a place of the size that both ask for."""
    if not isinstance(entry, dict) or not isinstance(entry.get("dtype"), str):
        return False
    shape, place = entry.get("shape"), entry.get("data_offsets")
    if not _are_sizes(shape) or not _are_sizes(place) or len(place) != 2 or not place[0] <= place[1] <= most:
        return False
    width = BYTES.get(entry["dtype"])
    return width is None or math.prod(shape) * width == place[1] - place[0]


def _are_sizes(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(size) is int and 0 <= size < 2**63 for size in value)
