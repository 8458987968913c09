"""Where to load a base model from, whatever its package keeps it in. Light: torch is imported if a format needs it.

A packed model is written once as a directory that everything else here reads, beside the cache of decompositions. If
it cannot be written there, one that does not take long goes to a temporary directory of this process.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path

from analysis.common import disk_cache
from analysis.common.errors import BaseModelError
from analysis.models.packages import packed_file, resolve_base
from analysis.models.packed import gguf, whisper

# How a file ends -> its format, with `write(file, directory)`, `room(file)`, the bytes that this takes at most, and
# `TAKES_LONG`.
_FORMATS = {".bin": whisper, ".gguf": gguf}
_RESERVE = 1_000_000_000  # bytes that stay free on the disk


def unpacked(base: str) -> str:
    """Return where to load `base` from, as `resolve_base` does; a packed one is unpacked first, once.

    Args:
        base: Id or local path, as an adapter records it.

    Raises:
        BaseModelError: If it cannot be unpacked.
    """
    file = packed_file(base)
    if file is None:
        return resolve_base(base)
    directory = Path(resolve_base(base))
    return str(directory if _is_whole(directory) else _unpack(file, directory))


def takes_long(base: str | None) -> bool:
    """Whether `base` would have to be unpacked before it is read, which takes some ten seconds."""
    if base is None or (file := packed_file(base)) is None:
        return False
    return _FORMATS[file.suffix].TAKES_LONG and not _is_whole(Path(resolve_base(base)))


def clear_unpacked() -> int:
    """Delete every unpacked base model and return the number of bytes freed."""
    directory = disk_cache.bases_directory()
    freed = sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())
    shutil.rmtree(directory, ignore_errors=True)
    return freed


def _is_whole(directory: Path) -> bool:
    return (directory / "config.json").is_file()


def _unpack(file: Path, directory: Path) -> Path:
    """Write the model aside, then rename the directory: it is whole or not there."""
    form, aside = _FORMATS[file.suffix], None
    room = form.room(file) + _RESERVE
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(directory.parent).free < room:
            raise OSError(f"it needs {room / 1e9:.1f} GB of room")
        aside = Path(tempfile.mkdtemp(dir=directory.parent, suffix=".part"))
        form.write(file, aside)
        aside.chmod(0o755)  # whoever shares the cache may read it
        try:
            os.replace(aside, directory)
        except OSError:
            if not _is_whole(directory):  # else another process was first
                raise
    except OSError as error:
        if form.TAKES_LONG:
            raise BaseModelError(f"{file.name} cannot be unpacked into {directory.parent}: {error}.") from error
        return _for_this_process(file)
    finally:
        if aside is not None:
            shutil.rmtree(aside, ignore_errors=True)
    return directory


@lru_cache
def _for_this_process(file: Path) -> Path:
    directory = Path(tempfile.mkdtemp(prefix="svft-base-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    _FORMATS[file.suffix].write(file, directory)
    return directory
