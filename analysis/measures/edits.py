"""Edits of trained coefficients: what is left of a skill when M is shuffled, cut, or reduced to its signs?

An edit changes values, never places: it keeps Ω, so that what it makes is an adapter of the same kind that can be
evaluated, saved and opened like any other. It works on each matrix by itself. Light: it imports no torch.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from analysis.adapters.adapter import AdaptedMatrix, Adapter
from analysis.common.errors import UserError
from analysis.measures.brush import Brush


def _count(share: float, of: int) -> int:
    """Return ⌈share·of⌉, not fooled by 0.1·30 = 3.0000000000000004."""
    return int(np.ceil(round(share * of, 9)))


def _check(met: bool, sentence: str) -> None:
    if not met:
        raise UserError(sentence)


def shuffled(matrix: AdaptedMatrix, seed: int = 0) -> np.ndarray:
    """Return the values (k,) permuted among the places of Ω: the same numbers, each in another place."""
    generator = np.random.default_rng([seed, zlib.crc32(matrix.name.encode())])  # another order in each matrix
    return generator.permutation(matrix.values)


def signs_only(matrix: AdaptedMatrix) -> np.ndarray:
    """Return the signs of the values (k,), all of one size, such that ‖M‖_F stays; a zero stays zero."""
    signs = np.sign(matrix.values)
    count = np.count_nonzero(signs)
    return signs * (np.linalg.norm(matrix.values) / np.sqrt(count)) if count else signs


def leading_only(matrix: AdaptedMatrix, share: float = 0.1) -> np.ndarray:
    """Return the values (k,) with zero wherever i or j is not among the leading ⌈share·n⌉ directions of W."""
    _check(0 <= share <= 1, f"The share of directions must lie between 0 and 1, not {share}.")
    return np.where(np.maximum(matrix.rows, matrix.cols) < _count(share, matrix.n), matrix.values, 0.0)


def trailing_only(matrix: AdaptedMatrix, share: float = 0.5) -> np.ndarray:
    """Return the values (k,) with zero wherever i or j is among the leading n − ⌈share·n⌉ directions of W."""
    _check(0 <= share <= 1, f"The share of directions must lie between 0 and 1, not {share}.")
    first = matrix.n - _count(share, matrix.n)
    return np.where(np.minimum(matrix.rows, matrix.cols) >= first, matrix.values, 0.0)


def largest_only(matrix: AdaptedMatrix, share: float) -> np.ndarray:
    """Return the values (k,) with all but the ⌈share·k⌉ of largest size set to zero; ties go to the earlier one."""
    _check(0 <= share <= 1, f"The share of entries must lie between 0 and 1, not {share}.")
    keep = np.argsort(-np.abs(matrix.values), kind="stable")[: _count(share, matrix.k)]
    values = np.zeros(matrix.k)
    values[keep] = matrix.values[keep]
    return values


def random_only(matrix: AdaptedMatrix, share: float, seed: int = 0) -> np.ndarray:
    """Return the values (k,) with all but a random share·k of them, rounded, set to zero.

    The control of an edit that keeps a chosen share: what does as many values at random do?
    """
    _check(0 <= share <= 1, f"The share of entries must lie between 0 and 1, not {share}.")
    generator = np.random.default_rng([seed, zlib.crc32(matrix.name.encode()), 1])  # other entries in each matrix
    values = np.zeros(matrix.k)
    keep = generator.permutation(matrix.k)[: round(share * matrix.k)]
    values[keep] = matrix.values[keep]
    return values


def without_band(matrix: AdaptedMatrix, first: int, last: int) -> np.ndarray:
    """Return the values (k,) with zero where first ≤ |j − i| ≤ last."""
    _check(0 <= first <= last, f"A band goes from a distance of at least 0 to a larger one, not {first} to {last}.")
    distance = np.abs(matrix.cols - matrix.rows)
    return np.where((distance >= first) & (distance <= last), 0.0, matrix.values)


def without_brushed(matrix: AdaptedMatrix, box: str) -> np.ndarray:
    """Return the values (k,) with zero in a box of M, given as its `measures.brush.Brush.text`."""
    return np.where(_in_box(matrix, box), 0.0, matrix.values)


def without_as_many(matrix: AdaptedMatrix, box: str, seed: int = 0) -> np.ndarray:
    """Return the values (k,) with zero at as many random entries outside a box of M as it holds.

    The control of `without_brushed`: what does the loss of as many trained entries elsewhere do? If the box holds more
    than half of them, they are drawn from all.
    """
    inside = _in_box(matrix, box)
    pool = np.flatnonzero(~inside) if 2 * inside.sum() <= matrix.k else np.arange(matrix.k)
    generator = np.random.default_rng([seed, zlib.crc32(matrix.name.encode()), 2])  # other entries in each matrix
    values = matrix.values.copy()
    values[generator.choice(pool, size=int(inside.sum()), replace=False)] = 0.0
    return values


def _in_box(matrix: AdaptedMatrix, box: str) -> np.ndarray:
    brush = Brush.parse(box)
    if brush is None:
        raise UserError(f"{box!r} is no box of M: write it as i0..9_j0..9, or i0..9_o-1..1 for offsets.")
    return brush.holds(matrix.rows, matrix.cols)


def scaled(matrix: AdaptedMatrix, alpha: float) -> np.ndarray:
    """Return α times the values (k,), as the dial does."""
    return alpha * matrix.values


OPERATIONS: dict[str, Callable[..., np.ndarray]] = {
    function.__name__: function
    for function in (
        shuffled,
        signs_only,
        leading_only,
        trailing_only,
        largest_only,
        random_only,
        without_band,
        without_brushed,
        without_as_many,
        scaled,
    )
}


REARRANGING = ("shuffled", "signs_only")  # these set nothing to zero


@dataclass(frozen=True)
class Edit:
    """One edit of an adapter, as data.

    Attributes:
        operation: One of `OPERATIONS`.
        options: Its keyword arguments.
        names: Names of the matrices that it changes; None changes all.
    """

    operation: str
    options: dict[str, Any] = field(default_factory=dict)
    names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        operations = ", ".join(OPERATIONS)
        _check(self.operation in OPERATIONS, f"There is no edit {self.operation!r}; there are {operations}.")

    def apply(self, matrix: AdaptedMatrix) -> AdaptedMatrix:
        """Return the matrix with its values changed.

        Raises:
            UserError: If the options do not fit the operation.
        """
        if self.names is not None and matrix.name not in self.names:
            return matrix
        return replace(matrix, values=OPERATIONS[self.operation](matrix, **self.options))

    def control(self, kept: float) -> Edit | None:
        """Return the edit that keeps as many values at random; None if this one sets none to zero.

        That of a box zeroes, in each matrix that it changes, as many outside it.

        Args:
            kept: Part of the adapter's values that this one keeps, see `analysis.running.edit_effects.kept`.
        """
        if self.operation == "without_brushed":
            return replace(self, operation="without_as_many")
        return None if self.operation in REARRANGING else Edit("random_only", {"share": kept})

    def to_json(self) -> str:
        """Return the edit as a line of JSON; equal edits give equal lines."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Edit:
        """Return the edit of `to_json`."""
        values = json.loads(text)
        names = values["names"]
        return cls(values["operation"], values["options"], None if names is None else tuple(names))


@dataclass(frozen=True)
class Card:
    """An edit that is worth a guess.

    Attributes:
        title: Two or three words.
        sentence: What it does, and what its outcome would mean.
        edit: The edit.
    """

    title: str
    sentence: str
    edit: Edit


OFF = Edit("scaled", {"alpha": 0.0})  # the same head with M off: what is left if M carries nothing


def cards(adapter: Adapter) -> list[Card]:
    """Return the edits that ask what carries the skill of an adapter."""
    layer, names = most_changed_layer(adapter)
    return [
        Card(
            "Shuffle M",
            "Every value moves to another place of Ω in its matrix. If the skill survives, it does not matter which "
            "direction was changed by how much.",
            Edit("shuffled"),
        ),
        Card(
            "Signs only",
            "Every value is replaced by its sign, all of one size, with ‖M‖ as it was. If the skill survives, the "
            "direction of each change is enough.",
            Edit("signs_only"),
        ),
        Card(
            "Leading 10% only",
            "Only changes among the leading 10% of singular directions stay. If the skill survives, it sits where W "
            "is strongest.",
            Edit("leading_only", {"share": 0.1}),
        ),
        Card(
            "Trailing half only",
            "Only changes among the weaker half of the singular directions stay. If the skill survives, it sits "
            "where W does little.",
            Edit("trailing_only", {"share": 0.5}),
        ),
        Card(
            "Largest 30% only",
            "In each matrix the largest 30% of the values stay, the others become zero. If the skill survives, a "
            "sparser M would do.",
            Edit("largest_only", {"share": 0.3}),
        ),
        Card(
            "One layer off",
            f"M is switched off in {layer}, where ‖ΔW‖ is largest. If the skill survives, it is spread over "
            "the layers.",
            Edit("scaled", {"alpha": 0.0}, names),
        ),
    ]


def layers(adapter: Adapter) -> dict[str, tuple[str, ...]]:
    """Return the names of the matrices of each layer, by the layer's name for people: "layer 2".

    Matrices without a layer's number come under "no layer".
    """
    by_layer: dict[str, list[str]] = {}
    for name, layer in zip(adapter.matrices["name"], adapter.matrices["layer"], strict=True):
        by_layer.setdefault("no layer" if pd.isna(layer) else f"layer {layer}", []).append(name)
    return {layer: tuple(names) for layer, names in by_layer.items()}


def most_changed_layer(adapter: Adapter) -> tuple[str, tuple[str, ...]]:
    """Return the layer with the largest ‖ΔW‖_F over all its matrices, as `layers` has it."""
    norms = {
        layer: sum(float(np.square(adapter.matrix(name).values).sum()) for name in names)
        for layer, names in layers(adapter).items()
    }
    layer = max(norms, key=norms.__getitem__)
    return layer, layers(adapter)[layer]
