"""Small tables that took time, kept on disk beside the cache of decompositions. Light: no torch.

The files lie where `svft.cache` keeps its own and end as those do: its limit, its order of deletion and
`svft cache --clear` hold for them, too.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import platformdirs
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

Arrays = dict[str, np.ndarray]


def key_of(kind: str, *parts: object) -> str:
    """Return the name that a table is kept under: of its kind and of all that it was computed from.

    Args:
        kind: Of the table, with the version of its computation.
        parts: Arrays, whose types, shapes and bytes count, and what has a telling `repr`.
    """
    digest = hashlib.sha256()
    for part in parts:
        told = f"{part.dtype}{part.shape}" if isinstance(part, np.ndarray) else repr(part)
        digest.update(f"{told};".encode())
        if isinstance(part, np.ndarray):
            digest.update(np.ascontiguousarray(part).data.cast("B") if part.size else b"")
    return f"{kind}-{digest.hexdigest()[:40]}"


def recall(key: str) -> Arrays | None:
    """Return the arrays kept under a key, None if there are none that can be read."""
    path = _path(key)
    with suppress(OSError, SafetensorError):
        values = load_file(path)
        with suppress(OSError):  # a cache that others own is used as it is
            os.utime(path)  # least recently used goes first
        return values
    return None


def keep(key: str, arrays: Arrays) -> None:
    """Keep arrays under a key. A cache is a convenience: where nothing can be written, nothing is kept."""
    path = _path(key)
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, aside = tempfile.mkstemp(dir=path.parent, suffix=".part")
        os.close(handle)
        try:
            save_file(arrays, aside)
            os.replace(aside, path)
        finally:
            Path(aside).unlink(missing_ok=True)


def directory() -> Path:
    """Return where the files are: as `svft.cache.cache_directory`, which only takes seconds to import."""
    return Path(os.environ.get("SVFT_CACHE_DIR") or platformdirs.user_cache_path("svft", appauthor=False))


def bases_directory() -> Path:
    """Return where base models are that were unpacked once. They are no tables: the limit does not hold for them."""
    return directory() / "bases"


def _path(key: str) -> Path:
    return directory() / f"{key}.safetensors"
