"""Which registered pattern a set of entries of M is, and the entries in the order that the pattern's files have."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from svft.patterns import banded_indices, nearest_off_diag, pattern_size, plain_indices


@dataclass(frozen=True, eq=False)
class Entries:
    """The entries of M (n, n) that are stored.

    Attributes:
        n: Side of M.
        flat: Distinct flat indices i·n + j, (k,) int64.
        values: M at them, (k,) float64.
    """

    n: int
    flat: torch.Tensor
    values: torch.Tensor

    def ordered(self, flat: torch.Tensor) -> torch.Tensor:
        """Return the values in the order of other flat indices; 0 if there is no entry."""
        dense = torch.zeros(self.n * self.n, dtype=self.values.dtype)
        dense[self.flat] = self.values
        return dense[flat]

    @property
    def off_diag(self) -> int | None:
        """Half-width of the band that these entries fill, 0 for the diagonal; None if they fill none."""
        d = nearest_off_diag(self.n, len(self.flat))
        full = pattern_size(self.n, d) == len(self.flat)
        return d if full and torch.equal(self.flat.sort().values, banded_indices(self.n, d).sort().values) else None


def common_pattern(entries: dict[str, Entries]) -> tuple[str, int | None]:
    """Return (pattern, off_diag) of an adapter with these entries: plain, banded, or custom."""
    widths = {name: d for name, of in entries.items() if (d := of.off_diag) is not None}
    if len(widths) < len(entries):
        return "custom", None
    d = max(widths.values())
    if any(width != min(d, entries[name].n - 1) for name, width in widths.items()):
        return "custom", None
    return ("banded", d) if d else ("plain", None)


def stored_order(pattern: str, of: Entries) -> torch.Tensor:
    """Return the flat indices of entries in the order in which files of this pattern have their values."""
    if pattern == "plain":
        return plain_indices(of.n)
    if pattern == "banded" and (d := of.off_diag) is not None:
        return banded_indices(of.n, d)
    return of.flat.sort().values
