"""Budget first: which size of each method comes nearest to a number of trainable parameters.

Counts follow from the shapes (out, in) of the adapted matrices alone, by the formulas in `_PER_MATRIX`, so that a page
can plan for any model without loading it. They are those of the models that PEFT builds; the head is never counted.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

from analysis.common.errors import SizeError
from analysis.training.methods import METHODS
from analysis.training.relatives import ADAMSS_CLUSTERS, PER_MILLE, frod_entries, most_numbers
from svft_bands import band_size, nearest_half_width, share_entries

Shapes = Sequence[tuple[int, int]]
Indices = Sequence[tuple[int, int]]

LETTERS = {
    "off_diag": "d",
    "r": "r",
    "block size": "b",
    "u": "u",
    "per mille": "s",
}  # name of a size -> what stands for it in a label
_SMALLEST_BAND = 4  # entries, of half-width 1 on two directions
_ATTEMPTS = 20


@dataclass(frozen=True)
class Size:
    """A size of one method.

    Attributes:
        size: For `TrainingSpec.size`; None if the method has one size only, or meets `budget` exactly.
        budget: For `TrainingSpec.budget`; None except for methods that meet any number exactly, and for plain and
            banded on the leading directions alone.
        count: Trainable parameters, excluding the head.
    """

    size: int | None
    budget: int | None
    count: int


def count_parameters(
    method: str,
    shapes: Shapes,
    size: int | None = None,
    budget: int | None = None,
    custom_indices: Indices | None = None,
    whole: int | None = None,
) -> int:
    """Return the trainable parameters of a method without its head, exactly those that PEFT's model has.

    Args:
        method: A name in `METHODS`.
        shapes: (out, in) of each adapted matrix.
        size: As in `TrainingSpec`; None takes the method's own.
        budget: As in `TrainingSpec`, instead of a size.
        custom_indices: As in `TrainingSpec`, for the method custom.
        whole: Parameters of the whole model without its head, all of which full fine-tuning trains; it alone needs
            them.

    Raises:
        SizeError: If the matrices cannot have that budget or those indices.
    """
    if method == "full":
        if whole is None:
            raise SizeError("What full fine-tuning trains does not follow from the adapted matrices: give whole.")
        return whole
    if method == "custom":
        return len(_checked(custom_indices, shapes)) * len(shapes)
    if budget is not None:
        possible = _budgets(Counter(shapes))
        if budget not in possible:
            raise SizeError(
                f"{METHODS[method].title} can have from {possible[0]:,} (one entry per matrix) to {possible[-1]:,} "
                f"(every entry) parameters on these matrices, not {budget:,}."
            )
        return budget if METHODS[method].exact else sum(leading_entries(method, budget, shapes))
    return _count(method, Counter(shapes), size if size is not None else METHODS[method].size or 0)


def choose_size(
    method: str,
    budget: int,
    shapes: Shapes,
    tolerance: float = 0.10,
    custom_indices: Indices | None = None,
    whole: int | None = None,
) -> Size:
    """Return the size of a method whose parameters come nearest to `budget`; the smaller one if two do.

    Methods of one size (custom, head only, full fine-tuning) have it at any budget; so has plain, unless the budget is
    smaller than the diagonals. Below their smallest size plain and banded take the leading directions alone.

    Args:
        method: A name in `METHODS`.
        budget: Trainable parameters asked for.
        shapes: (out, in) of each adapted matrix.
        tolerance: Share of `budget` by which the parameters may differ from it.
        custom_indices: See `count_parameters`.
        whole: See `count_parameters`.

    Raises:
        SizeError: If the method has no size within `tolerance`; the sentence has the nearest counts.
    """
    entry = METHODS[method]
    if entry.leading is not None and budget < smallest_whole(method, shapes):
        return _leading_size(method, budget, shapes, tolerance)
    if entry.size_name is None:
        return Size(None, None, count_parameters(method, shapes, custom_indices=custom_indices, whole=whole))
    groups = Counter(shapes)
    sizes = _sizes(method, groups)
    if not sizes:
        raise SizeError(_NO_SIZE[method])

    def count(size: int) -> int:
        return size if entry.exact else _count(method, groups, size)

    above = bisect_left(sizes, budget, key=count)
    neighbours = sizes[max(above - 1, 0) : above + 1]
    nearest = min(neighbours, key=lambda size: abs(count(size) - budget))
    if abs(count(nearest) - budget) > tolerance * budget:
        raise SizeError(_too_far(method, budget, {size: count(size) for size in neighbours}, tolerance))
    return Size(None, nearest, nearest) if entry.exact else Size(nearest, None, count(nearest))


def smallest_whole(method: str, shapes: Shapes) -> int:
    """Return the parameters of plain, or of banded with d = 1, on all directions."""
    return _count(method, Counter(shapes), 1)


def leading_entries(method: str, budget: int, shapes: Shapes) -> list[int]:
    """Return the entries of each matrix that plain or banded trains at a budget, which may leave leading ones only."""
    entry, sizes = METHODS[method], [min(shape) for shape in shapes]
    assert entry.leading is not None  # plain or banded
    counts = []
    for n, share in zip(sizes, share_entries(budget, sizes), strict=True):
        r = entry.leading(n, share)
        d = 0 if entry.size_name is None else nearest_half_width(r, share)
        counts.append(band_size(r, d))
    return counts


def _leading_size(method: str, budget: int, shapes: Shapes, tolerance: float) -> Size:
    """Return the size of plain or banded on the leading directions alone.

    Its budget is its number of parameters, by which it is known, and shares among equal matrices come out even.
    """
    title = METHODS[method].title
    least = len(shapes) if METHODS[method].size_name is None else _SMALLEST_BAND * len(shapes)
    count = max(budget, least)
    for _ in range(_ATTEMPTS):
        if (again := sum(leading_entries(method, count, shapes))) == count:
            break
        count = again
    else:
        raise SizeError(f"{title} cannot share {budget:,} parameters among these matrices.")
    if abs(count - budget) > tolerance * budget:
        kind = "smallest" if count == least else "nearest"
        raise SizeError(
            f"{title}'s {kind} size has {count:,} parameters, more than {tolerance * 100:g}% from {budget:,}."
        )
    return Size(None, count, count)


def budget_range(methods: Iterable[str], shapes: Shapes) -> tuple[int, int]:
    """Return the fewest and the most parameters that any of `methods` can have, for a slider.

    Methods of one size do not count: they take part at any budget.

    Raises:
        SizeError: If none of them has sizes to choose from.
    """
    groups = Counter(shapes)
    ends = [
        size if METHODS[method].exact else _count(method, groups, size)
        for method in methods
        if METHODS[method].size_name is not None and (sizes := _sizes(method, groups))
        for size in (sizes[0], sizes[-1])
    ]
    if not ends:
        raise SizeError("None of these methods has a number of parameters to choose.")
    return min(ends), max(ends)


def size_label(method: str, size: int | None = None, budget: int | None = None) -> str:
    """Return a method with its size for people: "LoRA r=8", "SVFT random, 41,472 entries", "head only"."""
    entry = METHODS[method]
    if budget is not None:
        return f"{entry.title}, {budget:,} entries"
    return (
        entry.title if size is None or entry.size_name is None else f"{entry.title} {LETTERS[entry.size_name]}={size}"
    )


def _band(out: int, in_: int, d: int) -> int:
    return band_size(min(out, in_), d)


# Trainable parameters of one matrix (out, in) at a size, 0 for a method of one size.
_PER_MATRIX: dict[str, Callable[[int, int, int], int]] = {
    # U (Σ + M) Vᵀ: the entries of M in Ω (arXiv 2405.19597).
    "plain": lambda out, in_, _: min(out, in_),
    "banded": _band,
    "random": _band,
    "top_k": _band,
    "chosen": _band,
    # The leading r×r square (LoRA-XS, arXiv 2405.17604).
    "block": lambda out, in_, r: min(out, in_, r) ** 2,
    # B (out, r) and A (r, in) (arXiv 2106.09685).
    "lora": lambda out, in_, r: r * (out + in_),
    # LoRA and the norm of each row of W (arXiv 2402.09353; PEFT keeps one for each output).
    "dora": lambda out, in_, r: r * (out + in_) + out,
    # The scales b (out) and d (r); A and B are random, frozen and shared (arXiv 2310.11454).
    "vera": lambda out, in_, r: out + r,
    # LoRA from another start (arXiv 2404.02948, 2406.01775).
    "pissa": lambda out, in_, r: r * (out + in_),
    "olora": lambda out, in_, r: r * (out + in_),
    # A alone: B is the r trailing left singular vectors (arXiv 2604.01694).
    "mica": lambda out, in_, r: r * in_,
    # The weights of u fixed random squares (arXiv 2602.04118), no matrix sharing another's.
    "tinylora": lambda out, in_, u: u,
    # A rotation of the r leading directions and two scales of each (arXiv 2505.11235).
    "psoft": lambda out, in_, r: r * (r - 1) // 2 + 2 * r,
    # A direction in the span of r vectors for each cluster of outputs, and a number for each output (PEFT's AdaMSS).
    "adamss": lambda out, in_, r: min(out, ADAMSS_CLUSTERS) * r + out,
    # A diagonal, and a share of the other entries in a basis of all inputs (arXiv 2512.23485).
    "frod": lambda out, in_, s: in_ + frod_entries(in_, s),
    # in/b blocks b×b and a scale for each output (arXiv 2311.06243 with one butterfly factor). PEFT trains all entries
    # of a block, though Cayley's map reads its skew-symmetric part alone.
    "boft": lambda out, in_, b: in_ * b + out,
    "head_only": lambda out, in_, _: 0,
}

_NO_SIZE = {
    "banded": "SVFT banded has no room for a band beside the diagonal: these matrices have one singular value each.",
    "boft": "BOFT needs a block size that divides the inputs of every matrix; these have no common divisor.",
}


def _count(method: str, groups: Counter[tuple[int, int]], size: int = 0) -> int:
    """Return the parameters of all matrices; `groups` says how many there are of each shape."""
    per_matrix = _PER_MATRIX.get(method) or partial(_registered, method)
    return sum(number * per_matrix(out, in_, size) for (out, in_), number in groups.items())


def _registered(method: str, out: int, in_: int, d: int) -> int:
    """Return the entries of a pattern that is not ours: what it is asked for, or what it gives if it is inexact."""
    from svft.patterns import PATTERNS, effective_pattern  # loaded already: it has this pattern

    pattern, n = PATTERNS[effective_pattern(method, (out, in_))], min(out, in_)
    if pattern.sized and pattern.exact:
        return _band(out, in_, d)
    return _entries(pattern.function, n, _band(out, in_, d) if pattern.sized else n)


@lru_cache(maxsize=1024)
def _entries(function: Callable, n: int, k: int) -> int:
    import torch

    basis = torch.eye(n)
    return len(function(n, k, seed=0, U=basis, V=basis))


def _sizes(method: str, groups: Counter[tuple[int, int]]) -> Sequence[int]:
    """Return all sizes of a method on these matrices, ascending, as their counts are; budgets for the exact ones."""
    smaller_sides = [min(shape) for shape in groups]
    if METHODS[method].exact:
        return _budgets(groups)
    if METHODS[method].size_name == "off_diag":  # d = 0 is plain
        return range(1, max(smaller_sides))
    if method == "boft":
        # A block of one entry has no skew-symmetric part: it would count, and rotate nothing.
        common = math.gcd(*(in_ for _, in_ in groups))
        return [b for b in range(2, common + 1) if common % b == 0]
    if method in ("vera", "block"):  # PEFT takes any r; beyond the largest smaller side no update has more to give
        return range(1, max(smaller_sides) + 1)
    if method == "frod":
        return range(1, PER_MILLE + 1)
    if method == "tinylora":
        return range(1, most_numbers(min(smaller_sides)) + 1)
    # LoRA and its starts, likewise; PSOFT has nothing to rotate in one direction
    return range(2 if method == "psoft" else 1, min(smaller_sides) + 1)


def _budgets(groups: Counter[tuple[int, int]]) -> range:
    """Return the budgets that patterns can share: from one entry per matrix to all of M."""
    return range(groups.total(), sum(number * min(shape) ** 2 for shape, number in groups.items()) + 1)


def _checked(indices: Indices | None, shapes: Shapes) -> set[tuple[int, int]]:
    """Return the distinct entries of the method custom."""
    if not indices:
        raise SizeError("The method custom needs custom_indices, the entries (i, j) that it trains.")
    smallest = min(min(shape) for shape in shapes)
    if outside := [pair for pair in indices if max(pair) >= smallest]:
        raise SizeError(
            f"custom_indices has the entry {tuple(outside[0])}, but M of the smallest adapted matrix is "
            f"{smallest}×{smallest}."
        )
    return set(indices)


def _too_far(method: str, budget: int, counts: dict[int, int], tolerance: float) -> str:
    entry = METHODS[method]
    letter = LETTERS[entry.size_name or ""]
    named = [f"{count:,}" + ("" if entry.exact else f" ({letter} = {size:,})") for size, count in counts.items()]
    distance = f"more than {tolerance * 100:g}% from {budget:,}"
    if len(named) == 1:
        end = "smallest" if min(counts.values()) > budget else "largest"
        return f"{entry.title}'s {end} size has {named[0]} parameters, {distance}."
    return f"{entry.title}'s nearest sizes have {' and '.join(named)} parameters, {distance}."
