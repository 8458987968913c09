"""The file of an SVFT adapter: what its tensors are called, and saying in one sentence what is wrong with them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from analysis.adapters.peft.config import is_harmless
from analysis.common.errors import AdapterError
from analysis.common.tensor_files import FLOATS, TensorFiles
from analysis.models.modules import without_wrappers
from svft_bands import LEADING, band_indices, half_width

_PEFT_PREFIX = "base_model.model."
_LONGEST_SIDE = 2**24  # of a weight: beyond, a file is damaged
_INTEGERS = ("I32", "I64")


def check_fields(config: dict[str, Any], file: Path) -> None:
    """Check the fields of an SVFT adapter's config that are used here.

    Raises:
        AdapterError: If one of them has a value that no such adapter can have.
    """
    overrides = config.get("overrides") or {}
    expected = {
        "pattern must be a name": isinstance(config.get("pattern"), str),
        "rank must be a positive integer or null": config.get("rank") is None or _is_positive(config["rank"]),
        "off_diag must be an integer or null": isinstance(config.get("off_diag"), int | None),
        "budget must be an integer or null": isinstance(config.get("budget"), int | None),
        "overrides must be an object of objects": isinstance(overrides, dict)
        and all(isinstance(override, dict) for override in overrides.values()),
    }
    for sentence, met in expected.items():
        if not met:
            raise AdapterError(f"{sentence}: {file}; save the adapter again.")
    for expression in overrides:
        if not is_harmless(expression):
            raise AdapterError(
                f"{expression!r} in overrides is not a regular expression that is matched here: {file}."
            )


def module_stems(files: TensorFiles) -> dict[str, str]:
    """Return what the file calls each adapted module, by the module's name in the base model."""
    stems = {name.rsplit(".svft_", 1)[0] for name in files.tensors if ".svft_" in name}
    return {without_wrappers(stem): stem for stem in sorted(stems)}


def matrix_sizes(files: TensorFiles, stem: str, config: dict[str, Any]) -> dict[str, Any]:
    """Return the columns of `Adapter.matrices` that follow from headers, config, and the two sides of the weight.

    Args:
        files: Of an SVFT adapter.
        stem: One of `module_stems`.
        config: Its config.

    Raises:
        AdapterError: If the tensors of this matrix are incomplete, or contradict each other.
    """
    name, keys = without_wrappers(stem), files.tensors
    where = _where(files, name)
    m, k, sides = (_length(files, f"{stem}.svft_{part}", where) for part in ("sigma", "coefficients", "shape"))
    if k < 1:
        raise AdapterError(f"svft_coefficients is empty: {where}; the adapter trains nothing there.")
    stored = f"{stem}.svft_indices" in keys  # not for plain and banded
    if stored and _length(files, f"{stem}.svft_indices", where) != k:
        raise AdapterError(f"svft_indices and svft_coefficients differ in length: {where}.")
    shape = files.read_numpy(f"{stem}.svft_shape").tolist()
    if sides != 2 or min(shape) < 1 or max(shape) > _LONGEST_SIDE or not 1 <= m <= min(shape):
        raise AdapterError(f"svft_shape {shape} and {m} singular values in svft_sigma do not fit: {where}.")
    pattern, off_diag = _chosen_pattern(config, name)
    label = None
    if not stored:
        if pattern not in ("plain", "banded"):
            raise AdapterError(f"svft_indices is missing, which the pattern {pattern} needs: {where}.")
        r = _block(config, m, k)
        off_diag = half_width(k, r)
        if off_diag is None or (pattern == "plain" and off_diag > 0):
            raise AdapterError(f"{k} svft_coefficients do not fit the pattern {pattern} of {r} directions: {where}.")
        label = "plain" if pattern == "plain" else f"banded d={off_diag}"
    elif pattern == "top_k" and shape[0] != shape[1]:
        pattern, label = "random", "top_k → random (not square)"
    return {
        "out": shape[0],
        "in": shape[1],
        "n": min(shape),
        "m": m,
        "k": k,
        "pattern": pattern,
        "pattern_label": label or (pattern if off_diag is None else f"{pattern} d={off_diag}"),
        "off_diag": off_diag,
        "trained": k,
    }


def read_matrix(
    files: TensorFiles, name: str, config: dict[str, Any], size: dict[str, Any]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read one adapted matrix, and check its numbers.

    Args:
        files: Of an SVFT adapter.
        name: Name of the module in the base model.
        config: The adapter's config.
        size: What `matrix_sizes` said of this matrix.

    Returns:
        sigma (m,), the coefficients (k,), and their flat indices i·m + j (k,) int64.

    Raises:
        AdapterError: If the numbers are damaged.
    """
    stem, where = _stem(files, name), _where(files, name)
    sigma, values = (files.read_numpy(f"{stem}.svft_{part}") for part in ("sigma", "coefficients"))
    m = len(sigma)
    if f"{stem}.svft_indices" in files.tensors:
        flat = files.read_numpy(f"{stem}.svft_indices").astype(np.int64)
    else:
        flat = band_indices(m, int(size["off_diag"]), _block(config, m, len(values)))
    _check_numbers(sigma, values, flat, where)
    return sigma, values, flat


def read_signature(files: TensorFiles, name: str) -> np.ndarray:
    """Read the signature of one matrix's singular vectors (`svft.basis.signature`): (2, m, 2).

    Raises:
        AdapterError: If the file has none, or it is damaged.
    """
    signature = files.read_numpy(f"{_stem(files, name)}.svft_signature")
    if signature.ndim != 3 or signature.shape[::2] != (2, 2) or not np.isfinite(signature).all():
        raise AdapterError(f"svft_signature is damaged: {_where(files, name)}; save the adapter again.")
    return signature


def _is_positive(value: Any) -> bool:
    return isinstance(value, int) and value > 0


def _chosen_pattern(config: dict, name: str) -> tuple[str | None, int | None]:
    """Return (pattern, off_diag) that the config asks for in one module, its overrides taken into account."""
    chosen = {"pattern": config.get("pattern"), "off_diag": config.get("off_diag")}
    for expression, override in (config.get("overrides") or {}).items():
        if re.match(rf"(.*\.)?({expression})$", name):  # as PEFT matches LoRA's rank_pattern
            chosen |= override
            break
    return chosen["pattern"], chosen["off_diag"]


def _block(config: dict, m: int, k: int) -> int:
    """Return the size r of the leading block of M that holds a pattern without stored indices, of k entries."""
    r = min(config.get("rank") or m, m)
    return LEADING[config["pattern"]](r, k) if config.get("budget") else r


def _stem(files: TensorFiles, name: str) -> str:
    usual = _PEFT_PREFIX + name
    return usual if f"{usual}.svft_sigma" in files.tensors else module_stems(files)[name]


def _where(files: TensorFiles, name: str) -> str:
    return f"{name} in {files.files[0]}"


def _length(files: TensorFiles, key: str, where: str) -> int:
    """Return the length of a vector from the header."""
    part = key.rsplit(".", 1)[-1]
    if key not in files.tensors:
        raise AdapterError(f"{part} is missing: {where}; save the adapter again.")
    info = files.tensors[key]
    types = _INTEGERS if part in ("svft_shape", "svft_indices") else FLOATS
    if len(info.shape) != 1 or info.dtype not in types:
        raise AdapterError(
            f"{part} must be a vector of type {' or '.join(types)}, not {info.dtype} of shape {info.shape}: {where}."
        )
    return info.shape[0]


def _check_numbers(sigma: np.ndarray, values: np.ndarray, flat: np.ndarray, where: str) -> None:
    for part, numbers in (("svft_sigma", sigma), ("svft_coefficients", values)):
        if not np.isfinite(numbers).all():
            raise AdapterError(f"{part} has NaN or infinite entries: {where}; its training diverged or it is damaged.")
    m = len(sigma)
    if sigma.min() < 0 or (np.diff(sigma) > 1e-6 * sigma[0]).any():
        raise AdapterError(f"svft_sigma must be singular values, none negative, descending: {where}.")
    if len(flat) and (flat.min() < 0 or flat.max() >= m * m):
        raise AdapterError(f"svft_indices reach outside M ({m}×{m}): {where}.")
    if (np.diff(np.sort(flat)) == 0).any():  # np.unique takes ten times as long
        raise AdapterError(f"svft_indices names an entry twice: {where}.")
