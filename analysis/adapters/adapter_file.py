"""The files of an adapter: reading its config and safetensors, and saying in one sentence what is wrong with them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from analysis.common.bounded_files import check_header, read_json
from analysis.common.errors import AdapterError

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"

_PEFT_PREFIX = "base_model.model."
_FLOATS = ("F32", "F64", "F16")
_LONGEST_SIDE = 2**24  # of a weight: beyond, a file is damaged
_INTEGERS = ("I32", "I64")


def read_config(path: Path) -> dict[str, Any]:
    """Read the config of the adapter in the directory `path`, and check the fields that are used here.

    Raises:
        AdapterError: Where there is none, or it is damaged.
    """
    if not path.is_dir():
        raise AdapterError(f"{path} is not a directory; give the directory that holds {CONFIG_FILE}.")
    file = path / CONFIG_FILE
    if not file.is_file():
        raise AdapterError(f"{path} is not an adapter: it has no {CONFIG_FILE}.")
    config = read_json(file)
    if config.get("peft_type") == "SVFT":
        _check_fields(config, file)
    return config


def tensor_names(path: Path) -> list[str]:
    """Return the names of all tensors of the adapter in `path`.

    Raises:
        AdapterError: Where its file is missing or damaged.
    """
    with _open_weights(path) as file:
        return list(file.keys())


def read_task(path: Path) -> str | None:
    """Return the name of the task that the adapter in `path` was trained on, where its evaluation.json says so."""
    try:
        task = json.loads((path / "evaluation.json").read_text(encoding="utf-8"))["spec"]["task"]
    except (OSError, ValueError, KeyError, TypeError):
        return None  # an adapter from elsewhere has no such file
    return task if isinstance(task, str) else None


def read_header(path: Path, config: dict) -> tuple[dict[str, dict[str, Any]], dict[str, tuple[int, ...]]]:
    """Read the sizes of all tensors, and no values but the two sides of each weight.

    Returns:
        For each adapted module, by its name in the base model, the columns out, in, n, m, k, pattern, pattern_label,
        off_diag of `Adapter.matrices`; and the shapes of the tensors that are no SVFT adapter's, by name.

    Raises:
        AdapterError: Where the file is missing, incomplete, or contradicts itself.
    """
    with _open_weights(path) as file:
        keys = set(file.keys())
        stems = {key.rsplit(".svft_", 1)[0] for key in keys if ".svft_" in key}
        sizes = {
            _bare(stem): _matrix_sizes(file, keys, stem, config, _where(path, _bare(stem))) for stem in sorted(stems)
        }
        head = {key: tuple(file.get_slice(key).get_shape()) for key in sorted(keys) if ".svft_" not in key}
    return sizes, head


def read_matrix(
    path: Path, name: str, config: dict, size: dict[str, Any]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read one adapted matrix, and check its numbers.

    Args:
        path: Directory of the adapter.
        name: Name of the module in the base model.
        config: The adapter's config.
        size: What `read_header` said of this matrix.

    Returns:
        sigma (m,), the coefficients (k,), and their flat indices i·m + j (k,) int64.

    Raises:
        AdapterError: Where the numbers are damaged.
    """
    where = _where(path, name)
    with _open_weights(path) as file:
        keys = set(file.keys())
        stem = name if f"{name}.svft_sigma" in keys else _PEFT_PREFIX + name
        sigma, values = (_read(file, f"{stem}.svft_{part}", where) for part in ("sigma", "coefficients"))
        m = len(sigma)
        if f"{stem}.svft_indices" in keys:
            flat = _read(file, f"{stem}.svft_indices", where).astype(np.int64)
        else:
            flat = _band(m, int(size["off_diag"]), _block(config, m))
    if m != size["m"] or not len(values) == len(flat) == size["k"]:
        raise AdapterError(f"{path / WEIGHTS_FILE} has changed since it was opened; open the adapter again.")
    _check_numbers(sigma, values, flat, where)
    return sigma, values, flat


def read_signature(path: Path, name: str) -> np.ndarray:
    """Read the signature of one matrix's singular vectors (`svft.basis.signature`): (2, m, 2).

    Raises:
        AdapterError: Where the file has none, or it is damaged.
    """
    where = _where(path, name)
    with _open_weights(path) as file:
        stem = name if f"{name}.svft_signature" in set(file.keys()) else _PEFT_PREFIX + name
        found = _read(file, f"{stem}.svft_signature", where)
    if found.ndim != 3 or found.shape[::2] != (2, 2) or not np.isfinite(found).all():
        raise AdapterError(f"svft_signature is damaged: {where}; save the adapter again.")
    return found


def _check_fields(config: dict, file: Path) -> None:
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
        try:
            re.compile(expression)
        except re.error as error:
            raise AdapterError(f"{expression!r} in overrides is no regular expression ({error}): {file}.") from error


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


def _block(config: dict, m: int) -> int:
    """Return the size r of the leading block of M that holds Ω."""
    return min(config.get("rank") or m, m)


# -- the weights ----------------------------------------------------------------------------------------------------


@contextmanager
def _open_weights(path: Path) -> Iterator[Any]:
    file = path / WEIGHTS_FILE
    if not file.is_file():
        pickled = next((f.name for f in sorted(path.glob("*")) if f.suffix in (".bin", ".pt", ".pth")), None)
        if pickled:
            raise AdapterError(
                f"{path / pickled} is a pickle, which can run code when it is read: if you trust it, load it with "
                f"PEFT and save it again, which writes {WEIGHTS_FILE}."
            )
        raise AdapterError(f"{path} has no {WEIGHTS_FILE}; copy the whole directory of the adapter.")
    check_header(file)
    try:
        opened = safe_open(file, framework="numpy")
    except (SafetensorError, OSError, ValueError) as error:
        raise AdapterError(f"{file} is damaged or cut short ({error}); copy or save it again.") from error
    with opened as handle:
        yield handle


def _bare(stem: str) -> str:
    return stem.removeprefix(_PEFT_PREFIX)


def _where(path: Path, name: str) -> str:
    return f"{name} in {path / WEIGHTS_FILE}"


def _read(file: Any, key: str, where: str) -> np.ndarray:
    try:
        return file.get_tensor(key)
    except SafetensorError as error:
        raise AdapterError(f"{key.rsplit('.', 1)[-1]} cannot be read: {where} ({error}).") from error


def _matrix_sizes(file: Any, keys: set[str], stem: str, config: dict, where: str) -> dict[str, Any]:
    """Return the columns of one matrix that follow from the header, its shape tensor and the config."""
    m, k, sides = (_length(file, keys, f"{stem}.svft_{part}", where) for part in ("sigma", "coefficients", "shape"))
    if k < 1:
        raise AdapterError(f"svft_coefficients is empty: {where}; the adapter trains nothing there.")
    stored = f"{stem}.svft_indices" in keys  # not for plain and banded
    if stored and _length(file, keys, f"{stem}.svft_indices", where) != k:
        raise AdapterError(f"svft_indices and svft_coefficients differ in length: {where}.")
    shape = _read(file, f"{stem}.svft_shape", where).tolist()
    if sides != 2 or min(shape) < 1 or max(shape) > _LONGEST_SIDE or not 1 <= m <= min(shape):
        raise AdapterError(f"svft_shape {shape} and {m} singular values in svft_sigma do not fit: {where}.")
    pattern, off_diag = _chosen_pattern(config, _bare(stem))
    label = None
    if not stored:
        if pattern not in ("plain", "banded"):
            raise AdapterError(f"svft_indices is missing, which the pattern {pattern} needs: {where}.")
        off_diag = _half_width(k, _block(config, m))
        if off_diag is None or (pattern == "plain" and off_diag > 0):
            raise AdapterError(
                f"{k} svft_coefficients do not fit the pattern {pattern} of {_block(config, m)} directions: {where}."
            )
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
    }


def _length(file: Any, keys: set[str], key: str, where: str) -> int:
    """Return the length of a vector from the header."""
    part = key.rsplit(".", 1)[-1]
    if key not in keys:
        raise AdapterError(f"{part} is missing: {where}; save the adapter again.")
    view = file.get_slice(key)
    types = _INTEGERS if part in ("svft_shape", "svft_indices") else _FLOATS
    if len(view.get_shape()) != 1 or view.get_dtype() not in types:
        raise AdapterError(
            f"{part} must be a vector of type {' or '.join(types)}, not {view.get_dtype()} of shape "
            f"{tuple(view.get_shape())}: {where}."
        )
    return view.get_shape()[0]


def _half_width(k: int, r: int) -> int | None:
    """Return the half-width d of the band that has k entries in an r×r block, k = r(2d+1) − d(d+1); None for no d."""
    gap = r * r - k  # two triangles of side r − 1 − d lie outside: gap = (r−d)(r−1−d)
    if not r <= k <= r * r:
        return None
    side = round((np.sqrt(4 * gap + 1) - 1) / 2)
    return int(r - 1 - side) if side * (side + 1) == gap else None


def _band(m: int, off_diag: int, rank: int) -> np.ndarray:
    """Return the flat indices of a band in M (m, m), within its leading rank×rank block, in the file's order.

    The order is that of `svft.patterns`, which a test compares; importing it would load torch, transformers and PEFT
    (many seconds) only to open a file.
    """
    diagonals = []
    for offset in range(-off_diag, off_diag + 1):
        i = np.arange(max(0, -offset), rank - max(0, offset))
        diagonals.append(i * (m + 1) + offset)
    return np.concatenate(diagonals)


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
