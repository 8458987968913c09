"""Opening an SVFT adapter, lazily, from its own files: no base model, no weight of it, is ever needed."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.adapter_file import AdapterError, read_config, read_header, read_matrix, read_task
from analysis.naming import places

__all__ = ["AdaptedMatrix", "Adapter", "AdapterError", "open_adapter"]


@dataclass(frozen=True, eq=False)
class AdaptedMatrix:
    """One adapted matrix: the coefficients M and singular values of one weight W = U Σ Vᵀ.

    Attributes:
        name: Path of the module in the base model.
        layer: Index of the layer as in the path (from 0), or None.
        kind: "query", "key", "value", "attention out", "MLP gate", "MLP up", "MLP down", or the end of the path.
        label: "Layer 2 · value".
        shape: (out, in) of W.
        sigma: Singular values of W, descending: (m,) float64. m = min(shape), or less where the adapter was trained
            in a truncated basis.
        rows: i of each trained entry, (k,) int64, in the file's order.
        cols: j of each trained entry, (k,) int64.
        values: Trained entries M[i, j], (k,) float64.
        pattern: "plain", "banded", "random", "top_k", "custom": what this matrix really got.
        pattern_label: The pattern for people: "banded d=2", "top_k → random (not square)".
        off_diag: Half-width d of the band; for random and top_k the d that sized them; None where there is none.
    """

    name: str
    layer: int | None
    kind: str
    label: str
    shape: tuple[int, int]
    sigma: np.ndarray
    rows: np.ndarray
    cols: np.ndarray
    values: np.ndarray
    pattern: str
    pattern_label: str
    off_diag: int | None

    @property
    def n(self) -> int:
        """Number of singular directions of W: min(out, in)."""
        return min(self.shape)

    @property
    def m(self) -> int:
        """Number of singular directions in the file, the size of M; n unless the basis was truncated."""
        return len(self.sigma)

    @property
    def k(self) -> int:
        """Number of trained entries."""
        return len(self.values)

    @property
    def truncated(self) -> bool:
        """Whether the file holds fewer than all n singular directions; the tail of W is then unknown."""
        return self.m < self.n

    def coefficients(self) -> np.ndarray:
        """Return M dense, (m, m) float64."""
        dense = np.zeros((self.m, self.m))
        dense[self.rows, self.cols] = self.values
        return dense

    def updated(self) -> np.ndarray:
        """Return Σ + M dense, (m, m) float64: the new weight in the basis of the old singular vectors."""
        dense = self.coefficients()
        dense[np.diag_indices(self.m)] += self.sigma
        return dense


@dataclass(frozen=True, eq=False)
class Adapter:
    """An open adapter: what its config and file header say. Matrices are read one by one, with `matrix`.

    It holds no open file, so it can be pickled and sent to a worker process.

    Attributes:
        path: Its directory.
        config: adapter_config.json.
        base: Hub id or path of the base model, or None where the config names none.
        task: Name of the task it was trained on ("bbc_headlines"), where its evaluation.json says so, else None.
        method: "SVFT plain", "SVFT banded d=2", …, "head only".
        matrices: One row per adapted matrix, ordered by layer then kind. Columns: name, layer (Int64), kind, label,
            out, in, n (= min(out, in)), m (directions in the file), k (trained entries), pattern, pattern_label,
            off_diag (Int64, NA where none).
        head: Shapes of the other tensors in the file (the task head and what was trained with it), by name.
    """

    path: Path
    config: dict
    base: str | None
    task: str | None
    method: str
    matrices: pd.DataFrame
    head: dict[str, tuple[int, ...]] = field(default_factory=dict)

    @cached_property
    def names(self) -> list[str]:
        """Paths of the adapted modules, ordered by layer then kind."""
        return self.matrices["name"].tolist()

    @property
    def trainable(self) -> int:
        """Number of trained coefficients, the head not counted."""
        return int(self.matrices["k"].sum())

    def matrix(self, name: str) -> AdaptedMatrix:
        """Read one adapted matrix, and nothing else of the file.

        Args:
            name: One of `names`.

        Raises:
            AdapterError: Where there is no such matrix, or its numbers are damaged.
        """
        if name not in self.names:
            raise AdapterError(f"The adapter {self.path} has no adapted matrix {name!r}; choose one of its names.")
        row = self.matrices.iloc[self.names.index(name)]
        sigma, values, flat = read_matrix(self.path, name, self.config, row.to_dict())
        m = len(sigma)
        return AdaptedMatrix(
            name=name,
            layer=None if pd.isna(row["layer"]) else int(row["layer"]),
            kind=row["kind"],
            label=row["label"],
            shape=(int(row["out"]), int(row["in"])),
            sigma=sigma.astype(np.float64),
            rows=flat // m,
            cols=flat % m,
            values=values.astype(np.float64),
            pattern=row["pattern"],
            pattern_label=row["pattern_label"],
            off_diag=None if pd.isna(row["off_diag"]) else int(row["off_diag"]),
        )


def open_adapter(path: str | Path) -> Adapter:
    """Open the adapter in the directory `path`: reads its config and the header of its safetensors file.

    Raises:
        AdapterError: Where it is not an SVFT adapter, or a damaged one.
    """
    path = Path(path)
    config = read_config(path)
    sizes, head = read_header(path, config)
    rows = [
        {"name": place.name, "layer": place.layer, "kind": place.kind, "label": place.label, **sizes[place.name]}
        for place in places(list(sizes))
    ]
    base = config.get("base_model_name_or_path")
    return Adapter(
        path=path,
        config=config,
        base=base if isinstance(base, str) and base else None,
        task=read_task(path),
        method=_method(config) if rows else "head only",
        matrices=pd.DataFrame(rows, columns=list(_COLUMN_TYPES)).astype(_COLUMN_TYPES),
        head=head,
    )


def _method(config: dict) -> str:
    parts = [f"SVFT {config['pattern']}"]
    if config.get("off_diag") and config["pattern"] != "plain":
        parts.append(f"d={config['off_diag']}")
    if config.get("budget"):
        parts.append(f"budget {config['budget']:,}")
    return " ".join(parts) + (", with overrides" if config.get("overrides") else "")


_COLUMN_TYPES = {
    "name": "str", "layer": "Int64", "kind": "str", "label": "str", "out": "int64", "in": "int64", "n": "int64",
    "m": "int64", "k": "int64", "pattern": "str", "pattern_label": "str", "off_diag": "Int64",
}  # fmt: skip
