"""A projection on disk: M, and what lies outside the basis, of a few matrices. Opening needs neither base nor torch.

`projection.safetensors` has, for each module, ``<module>.M`` (n, n), ``<module>.outside`` (the upper triangle of T, by
rows, if W is not square), ``<module>.sigma`` (n,), ``<module>.shape`` (2,) and ``<module>.signature`` (2, n, 2) of
the singular vectors. M and T are float16 in units of ``<module>.scale``, which keeps their relative error below 5e-4.
`projection.json` says what was projected.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from safetensors.numpy import save_file

from analysis.adapters.adapter import AdaptedMatrix, Adapter, Projection, grid, matrix_table
from analysis.adapters.paths import PROJECTION_CONFIG, PROJECTION_FILE
from analysis.adapters.recognise import Recognised
from analysis.common.errors import AdapterError
from analysis.common.tensor_files import TensorFiles

_PARTS = ("M", "sigma", "scale", "shape", "signature")
_EPS = 2.0**-10  # of float16


@dataclass(frozen=True, eq=False)
class SavedProjection(Adapter):
    """An adapter whose projected matrices are read from a file."""

    projected: ClassVar[bool] = True

    def matrix(self, name: str) -> AdaptedMatrix:
        """Read one adapted matrix, and nothing else of the file.

        Args:
            name: One of `names`.

        Raises:
            AdapterError: If there is no such matrix, or its numbers are damaged.
        """
        row = self._row(name)
        assert self.files is not None  # as every saved projection has
        M, outside, sigma = _read_matrix(self.files, name, (int(row["out"]), int(row["in"])))
        description = self.config["matrices"][name]
        projection = Projection(outside, description["trained"], description["rank_bound"], description["floor"])
        return self._assemble(row, sigma, *grid(len(M)), M.ravel(), projection)

    def signature(self, name: str) -> np.ndarray:
        """Return the signature of a matrix's singular vectors: (2, n, 2) float16."""
        assert self.files is not None  # as every saved projection has
        return self.files.read_numpy(f"{name}.signature")


def save_projection(directory: Path, adapter: Adapter, names: Iterable[str]) -> None:
    """Write the projection of some matrices of a projected adapter into a directory.

    Args:
        directory: It is made if it is not there.
        adapter: A projected adapter.
        names: Some of its names.
    """
    tensors: dict[str, np.ndarray] = {}
    descriptions = {}
    for matrix in map(adapter.matrix, names):
        M = matrix.coefficients()
        parts = {"M": M}
        if matrix.outside is not None:
            T = matrix.outside if matrix.shape[0] > matrix.shape[1] else matrix.outside.T
            triangle = np.zeros((matrix.n, matrix.n))
            R = np.linalg.qr(T, mode="r")  # the same up to a rotation
            triangle[: len(R)] = R
            parts["outside"] = triangle[np.triu_indices(matrix.n)]
        scale = max(float(np.abs(part).max()) for part in parts.values()) or 1.0
        for part, numbers in parts.items():
            tensors[f"{matrix.name}.{part}"] = (numbers / scale).astype(np.float16)
        tensors[f"{matrix.name}.scale"] = np.array([scale], np.float64)
        tensors[f"{matrix.name}.sigma"] = matrix.sigma.astype(np.float32)
        tensors[f"{matrix.name}.shape"] = np.array(matrix.shape, np.int64)
        tensors[f"{matrix.name}.signature"] = adapter.signature(matrix.name)
        assert matrix.projection is not None  # of a projected adapter
        # Rounding to float16 is noise of its own: independent errors, of norm about 2√n times the size of one.
        noise = _EPS * math.sqrt(np.square(M).mean()) * 2 * math.sqrt(matrix.n)
        descriptions[matrix.name] = {
            "trained": matrix.projection.trained,
            "rank_bound": matrix.projection.rank_bound,
            "floor": max(matrix.rounding, noise),
        }
    directory.mkdir(parents=True, exist_ok=True)
    save_file(tensors, directory / PROJECTION_FILE)
    config = {"kind": adapter.kind, "method": adapter.method, "base": adapter.base, "matrices": descriptions}
    (directory / PROJECTION_CONFIG).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")


def open_saved(recognised: Recognised) -> SavedProjection:
    """Open a projection that `save_projection` wrote.

    Raises:
        AdapterError: If it is damaged.
    """
    matrices = recognised.config.get("matrices")
    if not isinstance(matrices, dict) or not matrices or not all(_is_described(entry) for entry in matrices.values()):
        raise AdapterError(
            f"{recognised.path / PROJECTION_CONFIG} does not describe its matrices; save the projection again."
        )
    kind, method = (str(recognised.config.get(field, "another method"))[:80] for field in ("kind", "method"))
    sizes = {}
    for name, description in matrices.items():
        out, in_ = _shape(recognised.files, name)
        n = min(out, in_)
        sizes[name] = {
            "out": out, "in": in_, "n": n, "m": n, "k": n * n, "pattern": "projected",
            "pattern_label": f"{method}, projected", "off_diag": None, "trained": description["trained"],
        }  # fmt: skip
    return SavedProjection(
        path=recognised.path,
        config=recognised.config,
        base=recognised.base,
        task=recognised.task,
        method=method,
        matrices=matrix_table(sizes),
        kind=kind,
        files=recognised.files,
    )


def _is_described(description: object) -> bool:
    if not isinstance(description, dict) or "floor" not in description:
        return False
    whole = (description.get("trained"), description.get("rank_bound"))
    floor = description.get("floor")
    return all(isinstance(number, int) and 0 <= number < 2**63 for number in whole) and (
        floor is None or (isinstance(floor, int | float) and 0 <= floor < math.inf)
    )


def _shape(files: TensorFiles, name: str) -> tuple[int, int]:
    """Return (out, in) of one matrix, after the sizes of its tensors have been checked against it."""
    infos = {part: files.tensors.get(f"{name}.{part}") for part in (*_PARTS, "outside")}
    sizes = {part: (list(info.shape), info.dtype) for part, info in infos.items() if info is not None}
    if missing := [part for part in _PARTS if part not in sizes]:
        raise AdapterError(f"{name}.{missing[0]} is missing in {files.files[0]}; save the projection again.")
    if sizes["shape"] != ([2], "I64"):
        raise AdapterError(f"{name}.shape in {files.files[0]} must be two whole numbers; save the projection again.")
    out, in_ = files.read_numpy(f"{name}.shape").tolist()
    n = min(out, in_)
    expected = {
        "M": ([n, n], "F16"), "sigma": ([n], "F32"), "scale": ([1], "F64"), "shape": ([2], "I64"),
        "signature": ([2, n, 2], "F16"),
    }  # fmt: skip
    if out != in_:
        expected["outside"] = ([n * (n + 1) // 2], "F16")
    if n < 1 or max(out, in_) > 2**24 or sizes != expected:
        raise AdapterError(f"The tensors of {name} in {files.files[0]} do not fit a weight of {out}×{in_}.")
    return out, in_


def _read_matrix(
    files: TensorFiles, name: str, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    n, tall = min(shape), shape[0] > shape[1]
    scale, M, sigma = (files.read_numpy(f"{name}.{part}").astype(np.float64) for part in ("scale", "M", "sigma"))
    outside = None
    if shape[0] != shape[1]:
        outside = np.zeros((n, n))
        outside[np.triu_indices(n)] = files.read_numpy(f"{name}.outside").astype(np.float64) * scale
        outside = outside if tall else outside.T
    M = M * scale
    for numbers in (M, sigma, *([] if outside is None else [outside])):
        if not np.isfinite(numbers).all():
            raise AdapterError(f"{name} in {files.files[0]} has NaN or infinite entries; it is damaged.")
    if sigma.min() < 0 or (np.diff(sigma) > 1e-6 * sigma[0]).any():
        raise AdapterError(f"{name}.sigma in {files.files[0]} must be singular values, none negative, descending.")
    return M, outside, sigma
