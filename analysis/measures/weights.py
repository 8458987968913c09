"""What the weights of a base model are like before any adapter: singular values, and measures of them beside chance.

Light: torch is imported only to read a weight whose singular values are not kept on disk yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.common import disk_cache
from analysis.common.errors import UserError
from analysis.common.linear_algebra import DIRECT_SIZE, dense_singular_values
from analysis.measures.gaussian import gaussian_condition, gaussian_values
from analysis.measures.ranks import effective_rank, stable_rank
from analysis.models.base_weights import BaseWeights
from analysis.models.naming import places
from analysis.models.shapes import block_shapes

LEADING = 0.1  # part of the directions whose energy `leading_share` is
_VERSION = 1  # goes into the names of files: a change makes old ones unused
_FILES = (".safetensors", ".bin", ".json")  # that tell a model that was written anew
_SQUARED = 1e-7  # what values above `DIRECT_SIZE` are good to, relative to σ₁ (`common.linear_algebra`)


@dataclass(frozen=True)
class Measure:
    """One number of a weight.

    Attributes:
        title: For people.
        formula: LaTeX.
        form: Of its value, for `format`.
        says: What a low and a high value mean.
    """

    title: str
    formula: str
    form: str
    says: str

    def words(self, value: float) -> str:
        """Return a value for people."""
        if np.isinf(value):
            return "without bound"
        return f"{value:,.0f}" if self.form.endswith("g") and value >= 1000 else format(value, self.form)


MEASURES = {
    "effective_rank": Measure(
        "Effective rank",
        r"\exp\Big({-\sum_i p_i \log p_i}\Big),\quad p_i = \sigma_i / \textstyle\sum_j \sigma_j",
        ".0f",
        "the fewer, the more a weight does in a few directions",
    ),
    "stable_rank": Measure(
        "Stable rank",
        r"\lVert W \rVert_F^2 / \sigma_1^2",
        ".1f",
        "the fewer, the more its largest direction outweighs the rest",
    ),
    "condition": Measure(
        "Condition number", r"\sigma_1 / \sigma_n", ".3g", "the larger, the closer a weight is to losing a direction"
    ),
    "largest": Measure("Largest σ", r"\sigma_1", ".3g", "the most that a weight lengthens an input"),
    "leading_share": Measure(
        "Leading 10%",
        r"\sum_{i \le n/10} \sigma_i^2 / \textstyle\sum_i \sigma_i^2",
        ".0%",
        "the larger, the more of its energy a few leading directions hold",
    ),
}


def weight_steps(directory: str) -> Iterator[Any]:
    """Yield the number of linear layers inside the blocks of a base model, then a row for each, by layer and kind.

    A row holds ``name``, ``layer``, ``kind``, ``label``, ``out``, ``in`` and ``sigma``, the singular values,
    descending: (n,) float64; None if the weight cannot be read, with the ``reason``, else "".

    Args:
        directory: Where the files of the model are.

    Raises:
        UserError: If they are missing, damaged, or of no model with such layers.
    """
    shapes = block_shapes(directory)
    if not shapes:
        raise UserError(
            f"{Path(directory).name} has no linear layers inside transformer blocks: there is none to show."
        )
    kept = _Kept(Path(directory), list(shapes))
    yield len(shapes)
    for place in places(list(shapes)):
        row = {"name": place.name, "layer": place.layer, "kind": place.kind, "label": place.label}
        row |= {"out": shapes[place.name][0], "in": shapes[place.name][1]}
        try:
            yield row | {"sigma": kept.of(place.name), "reason": ""}
        except UserError as error:
            yield row | {"sigma": None, "reason": str(error)}


def weight_table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return the measures of each weight that could be read, in the order of the rows.

    Args:
        rows: Of `weight_steps`.

    Columns:
        name, layer, kind, label, out, in: As in the rows.
        effective_rank, stable_rank, condition, largest, leading_share: `weight_measures`.
        chance_effective_rank, …: The same of a Gaussian matrix of the same shape and norm (`chance_measures`).
    """
    head = ("name", "layer", "kind", "label", "out", "in")
    measured = []
    for row in rows:
        if row["sigma"] is None:
            continue
        chance = chance_measures((row["out"], row["in"]), float(np.linalg.norm(row["sigma"])))
        measured.append(
            {name: row[name] for name in head}
            | weight_measures(row["sigma"])
            | {f"chance_{name}": value for name, value in chance.items()}
        )
    return pd.DataFrame(measured, columns=[*head, *MEASURES, *(f"chance_{name}" for name in MEASURES)])


def weight_curve(row: Mapping[str, Any]) -> pd.DataFrame:
    """Return the singular values of one weight beside those of chance.

    Columns:
        index: i, from 0.
        sigma: σᵢ.
        chance: Of a Gaussian matrix of the same shape and Frobenius norm.
    """
    sigma = row["sigma"]
    chance = gaussian_values((row["out"], row["in"]), float(np.linalg.norm(sigma)))
    return pd.DataFrame({"index": np.arange(len(sigma)), "sigma": sigma, "chance": chance})


def weight_measures(sigma: np.ndarray) -> dict[str, float]:
    """Return the `MEASURES` of a weight from its singular values, descending: (n,).

    All are 0 for a weight of zeros. The condition number is infinite if σₙ is not told apart from rounding: float64's,
    and 1e-7·σ₁ above `DIRECT_SIZE` directions.
    """
    energy = float(np.square(sigma).sum())
    if not energy:
        return dict.fromkeys(MEASURES, 0.0)
    n = len(sigma)
    rounding = _SQUARED if n > DIRECT_SIZE else n * float(np.finfo(float).eps)
    smallest = sigma[-1] / sigma[0]
    return {
        "effective_rank": effective_rank(sigma),
        "stable_rank": stable_rank(sigma),
        "condition": float(1 / smallest) if smallest > rounding else float("inf"),
        "largest": float(sigma[0]),
        "leading_share": float(np.square(sigma[: _leading(n)]).sum()) / energy,
    }


def chance_measures(shape: tuple[int, int], frobenius: float) -> dict[str, float]:
    """Return the `MEASURES` of a Gaussian matrix of a shape (out, in) and norm, typical of its draws."""
    measured = weight_measures(gaussian_values(shape, frobenius))
    return measured | {"condition": gaussian_condition(shape) if frobenius else 0.0}


def basis_memory(shapes: Sequence[tuple[int, int]]) -> int:
    """Return the bytes of U and V of matrices (out, in) in float32, as SVFT keeps them beside the weights."""
    return sum(4 * (out + in_) * min(out, in_) for out, in_ in shapes)


def decomposing_memory(shapes: Sequence[tuple[int, int]]) -> int:
    """Return the bytes that decomposing the largest of matrices (out, in) takes: W, U, V and LAPACK's copy of W.

    In float64 up to 1,024 directions, else in float32, as `svft.decomposition` does.
    """
    each = [
        (8 if min(shape) <= DIRECT_SIZE else 4) * (2 * shape[0] * shape[1] + sum(shape) * min(shape))
        for shape in shapes
    ]
    return max(each, default=0)


def work(shapes: Sequence[tuple[int, int]]) -> float:
    """Return the multiplications of decomposing matrices (out, in), as far as they tell a second from an hour."""
    return float(sum(out * in_ * min(out, in_) for out, in_ in shapes))


def _leading(n: int) -> int:
    return max(1, round(LEADING * n))


class _Kept:
    """The singular values of a model's weights, on disk or to be computed: only that reads its files, by torch."""

    def __init__(self, directory: Path, modules: Sequence[str]) -> None:
        self._directory = directory
        self._modules = modules
        files = [file for file in sorted(directory.iterdir()) if file.suffix in _FILES]
        self._stamps = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]

    @cached_property
    def _weights(self) -> BaseWeights:
        return BaseWeights(self._directory, modules=self._modules)

    def of(self, name: str) -> np.ndarray:
        """Return the singular values of a module's weight, (n,), descending."""
        key = disk_cache.key_of("weight-values", _VERSION, str(self._directory.resolve()), self._stamps, name)
        measured = disk_cache.recall(key)
        if measured is None:
            measured = {"sigma": _values(self._weights, name)}
            disk_cache.keep(key, measured)
        return measured["sigma"]


def _values(weights: BaseWeights, name: str) -> np.ndarray:
    """Return the singular values of a weight: from its decomposition if SVFT has cached one, else without vectors."""
    W = weights.weight(name)
    if min(W.shape) > DIRECT_SIZE:
        from svft.basis import fingerprint
        from svft.cache import recall

        if (cached := recall(fingerprint(W), None, W.device)) is not None:
            return cached.sigma.double().numpy()
    return np.ascontiguousarray(dense_singular_values(W.double().numpy()))
