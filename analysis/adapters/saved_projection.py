"""A projection on disk: M, and what lies outside the basis, of a few matrices. Opening needs neither base nor torch.

`projection.safetensors` has, for each module, ``<module>.M`` (n, n), ``<module>.outside`` (the upper triangle of T, by
rows, where W is not square), ``<module>.sigma`` (n,), ``<module>.shape`` (2,) and ``<module>.signature`` (2, n, 2) of
the singular vectors. M and T are float16 in units of ``<module>.scale``, which keeps their relative error below 5e-4.
`projection.json` says what was projected.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from analysis.adapters.adapter import AdaptedMatrix, Adapter, Projection, grid, matrix_table
from analysis.adapters.adapter_file import read_task
from analysis.adapters.recognise import PROJECTION_FILE
from analysis.common.bounded_files import check_header, read_json
from analysis.common.errors import AdapterError

CONFIG_FILE = "projection.json"
_EPS = 2.0**-10  # of float16


@dataclass(frozen=True, eq=False)
class SavedProjection(Adapter):
    """An adapter whose projected matrices are read from a file."""

    @property
    def projected(self) -> bool:
        """True: its matrices are projections."""
        return True

    def matrix(self, name: str) -> AdaptedMatrix:
        """Read one adapted matrix, and nothing else of the file.

        Args:
            name: One of `names`.

        Raises:
            AdapterError: Where there is no such matrix, or its numbers are damaged.
        """
        row = self._row(name)
        M, outside, sigma = _read_matrix(self.path / PROJECTION_FILE, name, (int(row["out"]), int(row["in"])))
        said = self.config["matrices"][name]
        projection = Projection(outside, said["trained"], said["rank_bound"], said["floor"])
        return self._assemble(row, sigma, *grid(len(M)), M.ravel(), projection)

    def signature(self, name: str) -> np.ndarray:
        """Return the signature of a matrix's singular vectors: (2, n, 2) float16."""
        with _opened(self.path / PROJECTION_FILE) as file:
            return file.get_tensor(f"{name}.signature")


def save_projection(directory: Path, adapter: Adapter, names: Iterable[str]) -> None:
    """Write the projection of some matrices of a projected adapter into a directory.

    Args:
        directory: It is made where it is not there.
        adapter: A projected adapter.
        names: Some of its names.
    """
    tensors: dict[str, np.ndarray] = {}
    said = {}
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
        # Rounding to float16 is noise of its own: independent errors, of norm about 2√n times the size of one.
        noise = _EPS * math.sqrt(np.square(M).mean()) * 2 * math.sqrt(matrix.n)
        said[matrix.name] = {
            "trained": matrix.projection.trained,
            "rank_bound": matrix.projection.rank_bound,
            "floor": max(matrix.rounding, noise),
        }
    directory.mkdir(parents=True, exist_ok=True)
    save_file(tensors, directory / PROJECTION_FILE)
    config = {"kind": adapter.kind, "method": adapter.method, "base": adapter.base, "matrices": said}
    (directory / CONFIG_FILE).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")


def open_saved(path: Path) -> SavedProjection:
    """Open a projection that `save_projection` wrote.

    Raises:
        AdapterError: Where it is damaged.
    """
    config, file = read_json(path / CONFIG_FILE), path / PROJECTION_FILE
    matrices = config.get("matrices")
    if not isinstance(matrices, dict) or not matrices or not all(_is_described(one) for one in matrices.values()):
        raise AdapterError(f"{path / CONFIG_FILE} does not describe its matrices; save the projection again.")
    kind, method = (str(config.get(field, "another method"))[:80] for field in ("kind", "method"))
    sizes = {}
    for name, said in matrices.items():
        out, in_ = _shape(file, name)
        n = min(out, in_)
        sizes[name] = {
            "out": out, "in": in_, "n": n, "m": n, "k": n * n, "pattern": "projected",
            "pattern_label": f"{method}, projected", "off_diag": None, "trained": said["trained"],
        }  # fmt: skip
    base = config.get("base")
    return SavedProjection(
        path=path,
        config=config,
        base=base if isinstance(base, str) and base else None,
        task=read_task(path),
        method=method,
        matrices=matrix_table(sizes),
        kind=kind,
    )


def _is_described(said: object) -> bool:
    if not isinstance(said, dict) or "floor" not in said:
        return False
    whole = (said.get("trained"), said.get("rank_bound"))
    floor = said.get("floor")
    return all(isinstance(one, int) and 0 <= one < 2**63 for one in whole) and (
        floor is None or (isinstance(floor, int | float) and 0 <= floor < math.inf)
    )


def _shape(file: Path, name: str) -> tuple[int, int]:
    """Return (out, in) of one matrix, after the sizes of its tensors have been checked against it."""
    with _opened(file) as opened:
        keys = set(opened.keys())
        try:
            sizes = {
                part: (opened.get_slice(f"{name}.{part}").get_shape(), opened.get_slice(f"{name}.{part}").get_dtype())
                for part in ("M", "sigma", "scale", "shape", "signature", "outside")
                if f"{name}.{part}" in keys
            }
            if sizes["shape"] != ([2], "I64"):
                raise AdapterError(f"{name}.shape in {file} must be two whole numbers; save the projection again.")
            out, in_ = opened.get_tensor(f"{name}.shape").tolist()
        except (KeyError, SafetensorError) as error:
            raise AdapterError(f"{name} is incomplete in {file} ({error}); save the projection again.") from error
    n = min(out, in_)
    expected = {
        "M": ([n, n], "F16"), "sigma": ([n], "F32"), "scale": ([1], "F64"), "shape": ([2], "I64"),
        "signature": ([2, n, 2], "F16"),
    }  # fmt: skip
    if out != in_:
        expected["outside"] = ([n * (n + 1) // 2], "F16")
    if n < 1 or max(out, in_) > 2**24 or sizes != expected:
        raise AdapterError(f"The tensors of {name} in {file} do not fit a weight of {out}×{in_}.")
    return out, in_


def _read_matrix(file: Path, name: str, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    n, tall = min(shape), shape[0] > shape[1]
    if _shape(file, name) != shape:
        raise AdapterError(f"{file} has changed since it was opened; open it again.")
    with _opened(file) as opened:
        scale, M, sigma = (opened.get_tensor(f"{name}.{part}").astype(np.float64) for part in ("scale", "M", "sigma"))
        outside = None
        if shape[0] != shape[1]:
            outside = np.zeros((n, n))
            outside[np.triu_indices(n)] = opened.get_tensor(f"{name}.outside").astype(np.float64) * scale
            outside = outside if tall else outside.T
    M = M * scale
    for numbers in (M, sigma, *([] if outside is None else [outside])):
        if not np.isfinite(numbers).all():
            raise AdapterError(f"{name} in {file} has NaN or infinite entries; it is damaged.")
    if sigma.min() < 0 or (np.diff(sigma) > 1e-6 * sigma[0]).any():
        raise AdapterError(f"{name}.sigma in {file} must be singular values, none negative, descending.")
    return M, outside, sigma


def _opened(file: Path) -> safe_open:
    if not file.is_file():
        raise AdapterError(f"{file} is missing; copy the whole directory.")
    check_header(file)
    try:
        return safe_open(file, framework="numpy")
    except (SafetensorError, OSError, ValueError) as error:
        raise AdapterError(f"{file} is damaged or cut short ({error}); copy it again.") from error
