"""Sparsity patterns Ω: which entries of the n×n coefficients M are trained.

A pattern is one function that returns flat indices ``i * n + j`` into M, and one line that registers it.
Everything that offers patterns (the config, the command line, the app) reads `PATTERNS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from svft_bands import (
    LEADING,
    band_indices,
    band_size,
    nearest_half_width,
    share_entries,
    square_directions,
)

from .errors import SvftError


@dataclass(frozen=True)
class Pattern:
    """A registered pattern.

    Attributes:
        name: The name in the config, in files and on screen.
        function: ``(n, k, *, seed, U, V) -> int64 (k',)``, the flat indices into an n×n matrix, in storage order.
        sized: Whether ``off_diag`` or ``budget`` sizes it. The plain pattern has one size only.
        exact: Whether it meets any number of entries exactly, rather than the nearest it can.
        stored: Whether its indices are written to the adapter file. Patterns that follow from n and k are not.
        needs_square: Whether it exists only for square weights (out = in).
        needs_basis: Whether U and V decide which entries it takes.
        description: One plain sentence for people.
        leading: (n, k) -> number of leading directions to which a budget of k entries per matrix restricts it; None
            if a budget leaves all of them open.
    """

    name: str
    function: Callable[..., torch.Tensor]
    sized: bool
    exact: bool
    stored: bool
    needs_square: bool
    needs_basis: bool
    description: str
    leading: Callable[[int, int], int] | None = None


PATTERNS: dict[str, Pattern] = {}


def register_pattern(
    name: str,
    description: str,
    *,
    sized: bool = True,
    exact: bool = True,
    stored: bool = True,
    needs_square: bool = False,
    needs_basis: bool = True,
    leading: Callable[[int, int], int] | None = None,
) -> Callable[[Callable[..., torch.Tensor]], Callable[..., torch.Tensor]]:
    """Register a pattern function under `name`; see `Pattern` for the meaning of the flags."""

    def register(function: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        PATTERNS[name] = Pattern(name, function, sized, exact, stored, needs_square, needs_basis, description, leading)
        return function

    return register


def pattern_size(n: int, off_diag: int) -> int:
    """Return the number of entries of a band of half-width `off_diag` in an n×n matrix: ``n(2d+1) − d(d+1)``.

    It sizes the random and top_k patterns too, so that patterns of equal `off_diag` have equal budgets.
    """
    return band_size(n, off_diag)


def nearest_off_diag(n: int, k: int) -> int:
    """Return the band half-width whose number of entries comes nearest to k (the smaller one of two)."""
    return nearest_half_width(n, k)


def spread_budget(budget: int, sizes: Sequence[int]) -> list[int]:
    """Share `budget` entries among matrices in proportion to their n, exactly, and at most n² each.

    Args:
        budget: Entries of the whole adapter.
        sizes: n of each adapted matrix (its rank restriction r if there is one).

    Raises:
        SvftError: If the budget is smaller than one entry per matrix, or larger than all matrices hold.
    """
    capacity = sum(n * n for n in sizes)
    if not len(sizes) <= budget <= capacity:
        raise SvftError(
            f"budget={budget} does not fit {len(sizes)} adapted matrices: "
            f"it must lie between {len(sizes)} (one entry per matrix) and {capacity} (every entry)."
        )
    return share_entries(budget, sizes)


def directions_within(name: str, n: int, k: int) -> int:
    """Return the number of leading directions that pattern `name` has on n directions with a budget of k entries."""
    pattern = PATTERNS[name]
    return n if pattern.leading is None else pattern.leading(n, k)


def plain_indices(n: int, rank: int | None = None) -> torch.Tensor:
    """Return the flat indices of the diagonal of an n×n matrix, its first `rank` entries if given: (r,) int64."""
    return torch.arange(rank or n) * (n + 1)


def banded_indices(n: int, off_diag: int, rank: int | None = None) -> torch.Tensor:
    """Return the flat indices of a band in an n×n matrix, within its leading rank×rank block if given.

    Storage order: diagonals j − i = −d … d one after another, each by increasing i.
    """
    return torch.from_numpy(band_indices(n, off_diag, rank))


@register_pattern(
    "plain",
    "The diagonal: singular vectors stay, singular values change.",
    sized=False,
    exact=False,
    stored=False,
    needs_basis=False,
    leading=LEADING["plain"],
)
def _plain(n: int, k: int, *, seed: int, U: torch.Tensor, V: torch.Tensor) -> torch.Tensor:
    return plain_indices(n)


@register_pattern(
    "banded",
    "A band around the diagonal: neighbouring singular directions mix.",
    exact=False,
    stored=False,
    needs_basis=False,
    leading=LEADING["banded"],
)
def _banded(n: int, k: int, *, seed: int, U: torch.Tensor, V: torch.Tensor) -> torch.Tensor:
    return banded_indices(n, nearest_off_diag(n, k))


@register_pattern(
    "block",
    "The leading square: the first `rank` directions mix freely, as in LoRA-XS (arXiv 2405.17604).",
    sized=False,
    exact=False,
    needs_basis=False,
    leading=square_directions,
)
def _block(n: int, k: int, *, seed: int, U: torch.Tensor, V: torch.Tensor) -> torch.Tensor:
    return torch.arange(n * n)


@register_pattern("random", "Distinct entries drawn uniformly, with a seed.", needs_basis=False)
def _random(n: int, k: int, *, seed: int, U: torch.Tensor, V: torch.Tensor) -> torch.Tensor:
    draw = np.random.default_rng(seed).choice(n * n, size=k, replace=False)
    return torch.from_numpy(np.sort(draw))


@register_pattern(
    "top_k",
    "The entries where |uᵢᵀvⱼ| is largest; square weights only, elsewhere random.",
    needs_square=True,
)
def _top_k(n: int, k: int, *, seed: int, U: torch.Tensor, V: torch.Tensor) -> torch.Tensor:
    alignment = (U.float().T @ V.float()).abs().flatten()
    return alignment.topk(k).indices.sort().values


def effective_pattern(name: str, shape: tuple[int, int]) -> str:
    """Return the pattern that a weight of `shape` (out, in) really gets: random if `name` needs a square weight."""
    pattern = PATTERNS.get(name)  # custom is no registered function: its indices are given
    return "random" if pattern is not None and pattern.needs_square and shape[0] != shape[1] else name
