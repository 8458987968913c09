"""A disk cache of decompositions: one safetensors file per weight, named by its content.

Files appear whole (written aside, then renamed), so that processes may share the directory.

| variable | default | what it sets |
|---|---|---|
| SVFT_CACHE_DIR | `svft` in the user's cache directory | Where the files are. |
| SVFT_CACHE_LIMIT_GB | 10 | The size that they may have together. |
| SVFT_DECOMPOSITIONS | none | Further directories to read, separated as in PATH; `svft decompose` writes such. |
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import warnings
import zlib
from contextlib import suppress
from pathlib import Path

import platformdirs
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from . import decomposition
from .basis import fingerprint, fingerprint_dtype
from .decomposition import Decomposition, is_randomized

_FORMAT = "2"  # goes into the names of files: a change makes old ones unused, never misread
_ABANDONED = 3600  # seconds without a change after which a part is nobody's: its writer was interrupted


def decompose(weight: torch.Tensor, rank: int | None = None, name: str = "The weight") -> Decomposition:
    """Return `svft.decomposition.decompose` of a weight, from the cache if it has been computed before."""
    mark = fingerprint(weight)
    file = _file_name(mark, rank if is_randomized(weight.shape, rank) else None)
    result = _find(file, weight.device, mark)
    if result is None:
        result = decomposition.decompose(weight, rank, name)
        _cache(cache_directory() / file, result)
    return result


def save_decomposition(
    weight: torch.Tensor, directory: Path, rank: int | None = None, name: str = "The weight"
) -> Path:
    """Write the decomposition of a weight into a directory, unless it is there, and return its file.

    A process with this directory in SVFT_DECOMPOSITIONS reads it instead of computing it.

    Args:
        weight: W, (out, in).
        directory: It is made if it is not there.
        rank: As in `svft.decomposition.decompose`.
        name: Of the weight, for errors.

    Raises:
        SvftError: If the weight cannot be decomposed.
        OSError: If the file cannot be written.
    """
    mark = fingerprint(weight)
    file = directory / _file_name(mark, rank if is_randomized(weight.shape, rank) else None)
    if not file.exists():
        directory.mkdir(parents=True, exist_ok=True)
        result = _find(file.name, weight.device, mark)
        _write(file, decomposition.decompose(weight, rank, name) if result is None else result)
    return file


def recall(mark: torch.Tensor, rank: int | None, device: torch.device) -> Decomposition | None:
    """Return the cached decomposition of the weight with a fingerprint, None if the cache has none.

    Args:
        mark: The fingerprint, see `svft.basis.fingerprint`.
        rank: The rank of a randomized decomposition, None for the exact one.
        device: Where to put it.
    """
    mark = mark.cpu()
    return _find(_file_name(mark, rank), device, mark)


def _file_name(mark: torch.Tensor, rank: int | None) -> str:
    wide = "-f64" if fingerprint_dtype(mark) == "float64" else ""  # kept in another type
    size = "full" if rank is None else f"r{rank}"
    return f"{bytes(mark[:-1].tolist()).hex()}-{size}{wide}-v{_FORMAT}.safetensors"


def cache_directory() -> Path:
    """Return the cache directory: $SVFT_CACHE_DIR, else `svft` in the user's (on Linux ~/.cache/svft)."""
    if chosen := os.environ.get("SVFT_CACHE_DIR"):
        return Path(chosen)
    return platformdirs.user_cache_path("svft", appauthor=False)


def shared_directories() -> list[Path]:
    """Return the directories of $SVFT_DECOMPOSITIONS, which are read and never written."""
    return [Path(part) for part in os.environ.get("SVFT_DECOMPOSITIONS", "").split(os.pathsep) if part]


def cache_limit() -> int:
    """Return the size in bytes that the cache may have: $SVFT_CACHE_LIMIT_GB, 10 if that is not set."""
    return int(float(os.environ.get("SVFT_CACHE_LIMIT_GB", "10")) * 1e9)


def cache_files() -> list[Path]:
    """Return the files of the cache, the least recently used first, with what interrupted writers left behind.

    What another process is still writing is not among them.
    """
    used: dict[Path, float] = {}
    for file in cache_directory().glob("*"):
        with suppress(FileNotFoundError):
            changed = file.stat().st_mtime
            if file.suffix == ".safetensors" or (file.suffix == ".part" and time.time() - changed > _ABANDONED):
                used[file] = changed
    return sorted(used, key=lambda file: used[file])


def clear_cache() -> int:
    """Delete every cached decomposition and return the number of bytes freed."""
    files = cache_files()
    freed = sum(map(_size, files))
    for file in files:
        file.unlink(missing_ok=True)
    return freed


def _size(file: Path) -> int:
    with suppress(FileNotFoundError):  # another process may delete it meanwhile
        return file.stat().st_size
    return 0


def _find(file: str, device: torch.device, mark: torch.Tensor) -> Decomposition | None:
    """Return what the cache, or else one of the shared directories, has under a name."""
    for directory in (cache_directory(), *shared_directories()):
        path = directory / file
        if path.exists() and (result := _read(path, device, mark)) is not None:
            return result
    return None


def _read(file: Path, device: torch.device, mark: torch.Tensor) -> Decomposition | None:
    try:
        with safe_open(file, framework="pt") as f:
            U, sigma, V, sign = (f.get_tensor(name) for name in ("U", "sigma", "V", "signature"))
            stated = f.metadata()
        error = float(stated["error"])
        if stated["checksum"] != _checksum(mark[:-1], U, sigma, V, sign):
            raise ValueError("its contents do not agree with its checksum")
        with suppress(OSError):  # a cache that others own is used as it is
            os.utime(file)  # least recently used goes first
    except (SafetensorError, OSError, RuntimeError, KeyError, ValueError, TypeError) as error_:
        if not file.exists():  # another process made room meanwhile, perhaps between two reads
            return None
        warnings.warn(f"The cached decomposition {file} is damaged ({error_}); it is computed anew.", stacklevel=3)
        return None
    return Decomposition(U.to(device), sigma.to(device), V.to(device), sign, mark, error)


def _cache(file: Path, result: Decomposition) -> None:
    """Keep a decomposition if there is room: a cache is a convenience, which leaves the disk a reserve."""
    size = sum(t.nbytes for t in (result.U, result.sigma, result.V, result.signature))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if size > cache_limit() or shutil.disk_usage(file.parent).free < 2 * size + 1_000_000_000:
            return
        _write(file, result)
        _make_room(_size(file))
    except OSError as error:
        warnings.warn(f"The decomposition could not be cached in {file.parent}: {error}.", stacklevel=3)


def _write(file: Path, result: Decomposition) -> None:
    """Write a decomposition aside, then rename it: a file is whole or not there."""
    tensors = {
        "U": result.U.cpu(),
        "sigma": result.sigma.cpu(),
        "V": result.V.cpu(),
        "signature": result.signature.cpu(),
    }
    stated = {
        "error": str(result.error),
        "checksum": _checksum(result.fingerprint[:-1], *tensors.values()),
    }
    handle, aside = tempfile.mkstemp(dir=file.parent, suffix=".part")
    os.close(handle)
    try:
        save_file(tensors, aside, metadata=stated)
        os.replace(aside, file)
    finally:
        Path(aside).unlink(missing_ok=True)


def _checksum(*tensors: torch.Tensor) -> str:
    """Return a checksum of types, shapes and values; damage is found by it, forgery is not."""
    checksum = 0
    for t in tensors:
        checksum = zlib.crc32(f"{t.dtype}{tuple(t.shape)}".encode(), checksum)
        checksum = zlib.crc32(t.numpy().data.cast("B"), checksum)
    return str(checksum)


# Bytes that may still be written before the directory is measured again, by directory and limit: measuring it after
# each of N files would take time in proportion to N².
_room: dict[tuple[Path, int], float] = {}


def _make_room(size: int) -> None:
    """Delete the least recently used files if the cache may be above its limit, now that `size` bytes were added."""
    key = (cache_directory(), cache_limit())
    _room[key] = _room.get(key, 0) - size
    if _room[key] >= 0:
        return
    files, limit = cache_files(), key[1]
    total = sum(map(_size, files))
    if total > limit:
        for file in files:
            if total <= limit * 15 / 16:  # room for the next ones
                break
            total -= _size(file)
            file.unlink(missing_ok=True)
    _room[key] = (limit - total) / 8  # other processes write, too
