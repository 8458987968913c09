"""Settings of a server, read from the environment: what it opens, how much of it, and for whom. Light: no torch.

| variable | default | what it sets |
|---|---|---|
| SVFT_PUBLIC | off | 1: strangers use this app. Paths that they type, or their files name, must lie in SVFT_ROOTS. |
| SVFT_ROOTS | none | Directories that a public server opens adapters and base models from, separated as in PATH. |
| SVFT_READ_ONLY | off | 1: nothing is trained here; what was measured can be looked at. |
| SVFT_WORKERS | one per core | Worker processes that train side by side. |
| SVFT_MAX_STUDY_STEPS | none | Training steps of one study, all its trials together; the default study has 600. |
| SVFT_MAX_UPLOAD_MB | 512 | Size of an upload, packed and unpacked. |
| SVFT_MAX_HEADER_MB | 16 | Size of a JSON file, and of the header of a safetensors file. |
| SVFT_MAX_WEIGHT_MB | 4096 | Size of one weight in float32: larger ones are refused before they are read. |
"""

from __future__ import annotations

import os
from pathlib import Path


def is_public() -> bool:
    """Whether strangers use this server."""
    return _is_on("SVFT_PUBLIC")


def is_read_only() -> bool:
    """Whether this server trains nothing."""
    return _is_on("SVFT_READ_ONLY")


def workers() -> int | None:
    """Return the number of worker processes, None for one per core."""
    return _whole("SVFT_WORKERS")


def max_study_steps() -> int | None:
    """Return the most training steps that all trials of a study may have together, None for any number."""
    return _whole("SVFT_MAX_STUDY_STEPS")


def roots() -> list[Path]:
    """Return the directories that a public server opens files from."""
    return [Path(root).resolve() for root in os.environ.get("SVFT_ROOTS", "").split(os.pathsep) if root]


def may_open(path: Path) -> bool:
    """Whether a path that a person or a file names may be followed: always, but on a public server only under a root.

    Args:
        path: Links in it are resolved first.
    """
    if not is_public():
        return True
    real = path.resolve()
    return any(real.is_relative_to(root) for root in roots())


def max_upload() -> int:
    """Return the largest upload in bytes, packed and unpacked."""
    return _megabytes("SVFT_MAX_UPLOAD_MB", 512)


def max_header() -> int:
    """Return the largest JSON file, and header of a safetensors file, in bytes."""
    return _megabytes("SVFT_MAX_HEADER_MB", 16)


def max_weight() -> int:
    """Return the largest weight in bytes, as float32."""
    return _megabytes("SVFT_MAX_WEIGHT_MB", 4096)


def _is_on(variable: str) -> bool:
    return os.environ.get(variable, "").lower() in ("1", "true", "yes", "on")


def _whole(variable: str) -> int | None:
    """Return a whole number greater than 0, None if none is set."""
    value = os.environ.get(variable, "")
    return int(value) if value.isdecimal() and int(value) else None


def _megabytes(variable: str, default: int) -> int:
    try:
        return int(float(os.environ.get(variable) or default) * 1e6)
    except (ValueError, OverflowError):
        return int(default * 1e6)
