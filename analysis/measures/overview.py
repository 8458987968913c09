"""Quick tables over a whole adapter: one pass over its numbers, no decomposition. Light: it imports no torch."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors import safe_open

from analysis.adapters.adapter import AdaptedMatrix, Adapter
from analysis.models.heads import is_head
from analysis.models.packed.unpacking import takes_long, unpacked

_FLOATS = ("F64", "F32", "F16", "BF16")
_FLOAT32_BYTES = 4


def relative_norms(adapter: Adapter) -> pd.DataFrame:
    """Return how far each adapted matrix was moved, in the adapter's order.

    Columns:
        name, layer, kind, label: As in `Adapter.matrices`.
        relative_norm: ‖ΔW‖_F / ‖W‖_F; NaN if a truncated basis hides the tail of W.
    """
    return norm_table(adapter, {matrix.name: relative_norm(matrix) for matrix in adapter.readable()})


def norm_table(adapter: Adapter, norms: dict[str, float]) -> pd.DataFrame:
    """Return the table of `relative_norms` from the norms found so far, by name; NaN if there is none yet."""
    table = adapter.matrices[["name", "layer", "kind", "label"]].copy()
    table["relative_norm"] = table["name"].map(norms).astype(float)
    return table


def relative_norm(matrix: AdaptedMatrix) -> float:
    """Return ‖ΔW‖_F / ‖W‖_F; NaN if a truncated basis hides the tail of W."""
    if matrix.truncated:
        return math.nan
    return float(matrix.update_norm / max(np.linalg.norm(matrix.sigma), np.finfo(float).tiny))


def wall(adapter: Adapter) -> pd.DataFrame:
    """Return every matrix as one row of numbers, in the adapter's order.

    Columns:
        name, label, layer: The matrix.
        index: i, the left singular direction.
        value: Mᵢᵢ if the whole adapter is plain; else √Σⱼ Mᵢⱼ², the size of row i of M.
    """
    signed = is_plain(adapter)
    return pd.concat([wall_row(matrix, signed) for matrix in adapter.readable()], ignore_index=True)


def wall_row(matrix: AdaptedMatrix, signed: bool) -> pd.DataFrame:
    """Return one matrix's part of `wall`; `signed` if it is a diagonal of an adapter of diagonals."""
    if signed:
        value = np.zeros(matrix.m)
        value[matrix.rows] = matrix.values
    else:
        value = np.sqrt(np.bincount(matrix.rows, weights=matrix.values**2, minlength=matrix.m))
    return pd.DataFrame(
        {
            "name": matrix.name,
            "label": matrix.label,
            "layer": matrix.layer,
            "index": np.arange(matrix.m),
            "value": value,
        }
    )


def is_plain(adapter: Adapter) -> bool:
    """Whether every matrix has the plain pattern, so that a row of `wall` is all that was trained in a matrix."""
    return bool((adapter.matrices["pattern"] == "plain").all())


def basis_bytes(adapter: Adapter) -> int:
    """Return the memory that U and V of all adapted matrices take beside the base, in float32."""
    table = adapter.matrices
    return int(((table["out"] + table["in"]) * table["m"]).sum()) * _FLOAT32_BYTES


def base_parameters(base: str | None) -> int | None:
    """Return the number of parameters of a base model without a head, from its files' headers; None if not here.

    Nor is one that takes long to unpack, before it was.

    Args:
        base: Hub id or local path, as an adapter records it. Nothing is downloaded.
    """
    if not base or takes_long(base):
        return None
    count = 0
    for file in Path(unpacked(base)).glob("*.safetensors"):
        with safe_open(file, framework="numpy") as tensors:
            names = tensors.keys()
            slices = [tensors.get_slice(name) for name in names if not is_head(name)]
            count += sum(math.prod(part.get_shape()) for part in slices if part.get_dtype() in _FLOATS)
    return count or None
