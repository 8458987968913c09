"""Which columns of U and V the entries of an adapter use, and when they are kept alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..errors import SvftError

USED_SHARE = 1 / 3


def keeps_used_columns(shape: tuple[int, int], left: int, right: int) -> bool:
    """Return whether an adapter keeps only the columns of U and V that its entries use, rather than all.

    It does up to a third of them. The forward is then ``Wx + U_R (M' (V_Cᵀ x))``, whose cost falls with the columns;
    otherwise ``U ((Σ+M)(Vᵀ x))``, or additive on all directions wherever that is not exact.

    On the rows of `svft benchmark` for few entries (36 matrices of n = 384, to LoRA r=8, 16×32 and 16×128 tokens), a
    tenth of the columns took 0.88 to 0.98 and 0.91 to 0.94 of the time, 26% of them 1.02 and 1.08, 30% 1.08 and 1.12;
    all of them, folded, 1.01 and 1.06. So from about a third on, folding is faster. Memory grows with the columns:
    0.87, 0.95, 0.97 and 1.28 of LoRA's peak at 16×32 tokens.

    Args:
        shape: (out, in) of the weight.
        left: Number of columns of U that are used.
        right: Number of columns of V.
    """
    out, in_ = shape
    return left * out + right * in_ <= USED_SHARE * min(shape) * (out + in_)


@dataclass(frozen=True)
class Columns:
    """The columns that an adapter uses, in the order in which its entries name them first.

    If none of the r open directions is missing, they stand in their own order.

    Attributes:
        left: Directions i of the columns of U_R, int64 (|R|,).
        right: Directions j of the columns of V_C, int64 (|C|,).
        places: Flat index of each coefficient into M' (|R|, |C|), int64 (k,).
        of_weight: Whether they belong to the layer's weight, and could be computed from it again.
    """

    left: torch.Tensor
    right: torch.Tensor
    places: torch.Tensor
    of_weight: bool = False

    @property
    def diagonal(self) -> bool:
        """Whether M' is the diagonal matrix of the coefficients: no two entries share a row or a column."""
        k = len(self.places)
        return k == len(self.left) == len(self.right) and torch.equal(self.places, torch.arange(k) * (k + 1))

    def same_directions(self, other: Columns) -> bool:
        """Return whether another adapter's columns are those of the same entries."""
        return all(
            torch.equal(a, b)
            for a, b in ((self.left, other.left), (self.right, other.right), (self.places, other.places))
        )


def used_columns(rows: torch.Tensor, cols: torch.Tensor, rank: int) -> Columns:
    """Return the columns that entries at (i, j), int64 (k,) each, use of the leading `rank` directions."""
    left, i = _first_named(rows, rank)
    right, j = _first_named(cols, rank)
    return Columns(left, right, i * len(right) + j)


def _first_named(positions: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the distinct positions in the order of their first mention, and the place of each position among them."""
    distinct, first, places = np.unique(positions.cpu().numpy(), return_index=True, return_inverse=True)
    if len(distinct) < rank:
        order = np.argsort(first)
        distinct, places = distinct[order], np.argsort(order)[places]
    return torch.from_numpy(distinct), torch.from_numpy(places)


def take_columns(side: torch.Tensor, directions: torch.Tensor, rank: int, name: str) -> torch.Tensor:
    """Return the used columns of U or V from a file, which has either those or all that are open.

    Args:
        side: U or V, as it was loaded.
        directions: The directions that are used.
        rank: The number r of open directions.
        name: What messages call it.

    Raises:
        SvftError: If the number of columns is neither.
    """
    if side.shape[1] == len(directions):
        return side
    if side.shape[1] != rank:
        raise SvftError(
            f"{name} has {side.shape[1]} columns, but the entries of its adapter use {len(directions)} of {rank}: the "
            "file is damaged, or belongs to another pattern."
        )
    return side[:, directions.to(side.device)]
