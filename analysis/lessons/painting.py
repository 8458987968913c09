"""Patterns Ω as cells of a canvas: 24×24 cells, each a block of 16×16 entries of an M of 384×384."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import structural_rank

from analysis.lessons.answers import Answer

SIDE, BLOCK = 24, 16
N = SIDE * BLOCK  # singular directions of the default model's weights

ASKED_CELLS, ASKED_RANK = 24, 96  # of the question: at least so many cells, at most this rank


@dataclass(frozen=True)
class Facts:
    """What a pattern on a square weight of N×N can do.

    Attributes:
        k: Entries.
        structural_rank: The greatest rank of ΔW, whatever the values.
        lora_rank: k / 2N, the rank of a LoRA of that many parameters; LoRA itself needs a whole number.
    """

    k: int
    structural_rank: int

    @property
    def lora_rank(self) -> float:
        """See the class."""
        return self.k / (2 * N)


def diagonal_cells() -> frozenset[int]:
    """Return the cells on the diagonal, row · SIDE + column each."""
    return frozenset(range(0, SIDE * SIDE, SIDE + 1))


def row_cells(row: int) -> frozenset[int]:
    """Return the cells of one row."""
    return frozenset(range(row * SIDE, (row + 1) * SIDE))


def entries_of(cells: Collection[int]) -> np.ndarray:
    """Return the entries of M in the cells, flat indices i · N + j ascending, int64 (256 · cells,)."""
    row, column = np.divmod(np.array(sorted(cells), dtype=np.int64).reshape(-1, 1, 1), SIDE)
    inner = np.arange(BLOCK)
    flat = (row * BLOCK + inner.reshape(1, -1, 1)) * N + column * BLOCK + inner
    return np.sort(flat.ravel())


def density(flat: np.ndarray) -> np.ndarray:
    """Return which part of each cell's entries is in Ω, (SIDE, SIDE), from 0 to 1."""
    i, j = np.divmod(flat, N)
    return np.bincount(i // BLOCK * SIDE + j // BLOCK, minlength=SIDE * SIDE).reshape(SIDE, SIDE) / BLOCK**2


def facts_of_cells(cells: Collection[int]) -> Facts:
    """Return the facts of a painted pattern.

    Each cell is a full block, so the largest matching of entries is BLOCK times that of cells (a flow with whole
    capacities has a whole maximum).
    """
    small = facts_of_entries(np.array(sorted(cells), dtype=np.int64), SIDE)
    return Facts(small.k * BLOCK**2, small.structural_rank * BLOCK)


def facts_of_entries(flat: np.ndarray, n: int = N) -> Facts:
    """Return the facts of any pattern of flat indices i · n + j."""
    if not len(flat):
        return Facts(0, 0)
    i, j = np.divmod(flat, n)
    pattern = coo_array((np.ones(len(flat), np.int8), (i, j)), shape=(n, n))
    return Facts(len(flat), int(structural_rank(pattern.tocsr())))


def registered_entries(name: str, size: int) -> np.ndarray:
    """Return Ω of a pattern of `svft.patterns.PATTERNS`, on the model's square weight: flat indices into N×N.

    Args:
        name: Of the pattern.
        size: off_diag d of a pattern that it sizes; else r, the number of leading directions, at most N.
    """
    import torch

    from analysis.lessons.weights import load_weight
    from svft.patterns import PATTERNS, pattern_size

    pattern, weight = PATTERNS[name], load_weight("square")
    n, off_diag = (N, size) if pattern.sized else (min(size, N), 0)
    U, V = (torch.from_numpy(vectors[:, :n]) for vectors in (weight.U, weight.V))
    i, j = np.divmod(pattern.function(n, pattern_size(n, off_diag), seed=0, U=U, V=V).numpy(), n)
    return np.sort(i * N + j)


def check_low_rank(cells: Collection[int]) -> Answer:
    """Return the reply to a pattern of many cells that should have a low rank."""
    facts = facts_of_cells(cells)
    if len(cells) < ASKED_CELLS:
        return Answer(False, f"Your pattern has {len(cells)} cells: paint at least {ASKED_CELLS}.")
    lora = f"A LoRA of its size would have rank {facts.lora_rank:.0f}."
    if facts.structural_rank > ASKED_RANK:
        return Answer(
            False,
            f"Its update can have rank {facts.structural_rank}. Each cell that shares neither row nor column with the "
            f"others adds {BLOCK}: crowd the cells into few rows, or few columns.",
        )
    return Answer(
        True,
        f"Right: {facts.k:,} entries, but they lie in so few rows or columns that the rank of ΔW cannot exceed "
        f"{facts.structural_rank}. Spread over the diagonal they would reach {min(len(cells), SIDE) * BLOCK}. {lora}",
    )
