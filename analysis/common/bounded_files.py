"""Files that may come from anyone: how large they say to be is checked before anything parses them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from analysis.common.errors import AdapterError
from analysis.common.settings import max_header


def read_json(file: Path) -> dict[str, Any]:
    """Read a JSON object of bounded size.

    Raises:
        AdapterError: Where it cannot be read, or is something else.
    """
    try:
        if file.stat().st_size > max_header():
            raise AdapterError(f"{file} is larger than SVFT_MAX_HEADER_MB allows; it is no config.")
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise AdapterError(f"{file} cannot be read as JSON ({error}); save it again.") from error
    if not isinstance(content, dict):
        raise AdapterError(f"{file} must hold a JSON object; save it again.")
    return content


def check_header(file: Path) -> None:
    """Check the size that a safetensors file claims for its header, before anything parses it.

    Raises:
        AdapterError: Where the file cannot be read, or claims more than it has or may have.
    """
    try:
        size = file.stat().st_size
        with file.open("rb") as stream:
            claimed = int.from_bytes(stream.read(8), "little")
    except OSError as error:
        raise AdapterError(f"{file} cannot be read ({error.strerror}); copy the whole directory.") from error
    if size < 8 or claimed > size - 8:
        raise AdapterError(f"{file} is damaged or cut short (its header does not fit into it); copy or save it again.")
    if claimed > max_header():
        raise AdapterError(f"{file} has a header of {claimed:,} bytes, more than SVFT_MAX_HEADER_MB allows.")
