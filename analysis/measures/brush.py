"""A box in M, drawn by hand: which entries lie in it, how much of the energy they hold, and what of that is chance.

A box drawn where M is seen to be large holds more than its part of the entries by the choice of the place alone. So it
stands beside two levels: its part of the entries, which is what a box set down unseen holds on average, and the
strongest box of its size in updates that learned nothing, which is what an eye would find in them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.adapters.adapter import AdaptedMatrix, Adapter
from analysis.common.wording import percent
from analysis.measures import noise
from analysis.measures.coefficients import energy_of

DRAWS = 19  # random updates: a share above the largest of 19 is there by chance 1 time in 20

_TEXT = re.compile(r"i(\d{1,6})\.\.(\d{1,6})_([jo])(-?\d{1,6})\.\.(-?\d{1,6})")


@dataclass(frozen=True)
class Brush:
    """A box in M: a run of rows, and a run of columns or of diagonals.

    Attributes:
        rows: First and last row i.
        across: First and last column j, or offset j − i.
        by: "j" if `across` are columns (drawn in the square of M), "o" if they are offsets (drawn in the strip).
    """

    rows: tuple[int, int]
    across: tuple[int, int]
    by: str = "j"

    @property
    def text(self) -> str:
        """The box in a link: "i10..50_j20..80", "i10..50_o-2..1"."""
        return f"i{self.rows[0]}..{self.rows[1]}_{self.by}{self.across[0]}..{self.across[1]}"

    @classmethod
    def parse(cls, text: str) -> Brush | None:
        """Return the box of `text`; None if it says none."""
        match = _TEXT.fullmatch(text)
        if match is None:
            return None
        first, last, low, high = (int(match[group]) for group in (1, 2, 4, 5))
        if first > last or low > high or (match[3] == "j" and low < 0):
            return None
        return cls((first, last), (low, high), match[3])

    @property
    def words(self) -> str:
        """The box for people: "rows 10–50, columns 20–80"."""
        low, high = (str(end).replace("-", "−") for end in self.across)
        across = f"columns {low}–{high}" if self.by == "j" else f"offsets {low} to {high}"
        return f"rows {self.rows[0]}–{self.rows[1]}, {across}"

    def holds(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """Return whether each entry (i, j) lies in the box: bool, of the shape of `i`."""
        place = j if self.by == "j" else j - i
        low, high = self.across
        return (i >= self.rows[0]) & (i <= self.rows[1]) & (place >= low) & (place <= high)

    def columns(self, m: int) -> tuple[int, int]:
        """Return the first and the last column that the box reaches in an m×m matrix; the first is larger if none."""
        low, high = self.across
        if self.by == "o":
            low, high = self.rows[0] + low, min(self.rows[1], m - 1) + high
        return max(low, 0), min(high, m - 1)

    def offsets(self) -> tuple[int, int]:
        """Return the first and the last offset j − i that the box reaches."""
        low, high = self.across
        return (low, high) if self.by == "o" else (low - self.rows[1], high - self.rows[0])


@dataclass(frozen=True)
class Brushed:
    """What a box holds of one matrix.

    Attributes:
        entries: How many trained entries lie in it, of a projection how many entries.
        of: How many there are in all.
        inside: Its share of ‖M‖².
        share: Its share of ‖ΔW‖²; less than `inside` if the update leaves the thin basis.
        level: What that share is under noise, for a box set down unseen.
        strongest: Shares of the strongest box of its size in each of `DRAWS` random updates; None if not drawn.
        leaves: Whether the update leaves the thin basis.
        projected: Whether M is a projection.
    """

    entries: int
    of: int
    inside: float
    share: float
    level: noise.Level
    strongest: tuple[float, ...] | None
    leaves: bool
    projected: bool

    @property
    def chance(self) -> float:
        """Part of the entries that lie in the box: its share of ‖M‖² by chance, on average."""
        return self.entries / self.of

    @property
    def stands_out(self) -> bool:
        """Whether it holds more than the strongest box of its size in any of the random updates."""
        return self.strongest is not None and self.share > max(self.strongest)

    def sentence(self, brush: Brush) -> str:
        """Say what the box holds, beside chance; Markdown."""
        where = f"{brush.words[0].upper()}{brush.words[1:]}"
        if not self.entries:
            return f"{where} hold none of the trained entries."
        form = _form(self.inside, self.chance)
        kind = "entries" if self.projected else "trained entries"
        text = (
            f"{where} hold **{form(self.inside)} of ‖M‖²**, {form(self.chance)} by chance ({self.entries:,} of "
            f"{self.of:,} {kind})."
        )
        if self.leaves:
            form = _form(self.share, self.level.mean)
            text += f" Of the whole ‖ΔW‖² that is {form(self.share)}, {form(self.level.mean)} by chance."
        if self.strongest is None:
            return text
        most = max(self.strongest)
        form = _form(self.share, most)
        verdict = "this one stands out" if self.stands_out else "this one does not stand out"
        return (
            f"{text} In {len(self.strongest)} random updates, the strongest box of its size holds up to {form(most)}: "
            f"{verdict}."
        )


def both_hold(brush: Brush, held: tuple[Brushed, Brushed], names: tuple[str, str]) -> str:
    """Say what one box holds of two adapters, each beside chance."""
    parts = []
    for of, name in zip(held, names, strict=True):
        form = _form(of.inside, of.chance)
        parts.append(f"{form(of.inside)} of ‖M‖² in {name} (by chance {form(of.chance)})")
    return f"{brush.words[0].upper()}{brush.words[1:]} hold {' and '.join(parts)}."


def _form(*shares: float) -> Callable[[float], str]:
    """Return how shares that stand beside each other are written: with the digits that tell them apart."""
    gap = abs(shares[0] - shares[1])
    if gap == 0 or gap >= 0.02:
        return percent
    digits = int(min(max(-np.floor(np.log10(100 * gap)), 0), 4))
    return lambda share: f"{share:.{digits}%}"


def brushed(matrix: AdaptedMatrix, brush: Brush, draws: int = 0) -> Brushed:
    """Return what a box holds of a matrix.

    Args:
        matrix: The adapted matrix.
        brush: The box.
        draws: Number of random updates in which the strongest box of its size is looked for, `DRAWS` or 0.
    """
    inside = brush.holds(matrix.rows, matrix.cols)
    row = energy_of(matrix, inside)
    of_M = float(np.square(matrix.values).sum())
    return Brushed(
        entries=int(row["entries"]),
        of=matrix.k,
        inside=row["energy"] / (of_M or 1.0),
        share=row["share"],
        level=noise.Level(row["noise_share"], row["noise_low"], row["noise_high"]),
        strongest=strongest_boxes(matrix, brush, draws) if draws and inside.any() else None,
        leaves=matrix.outside is not None,
        projected=matrix.projected,
    )


def strongest_boxes(matrix: AdaptedMatrix, brush: Brush, draws: int = DRAWS) -> tuple[float, ...]:
    """Return the largest share of ‖ΔW‖² that any box of the size of `brush` holds, in each of `draws` random updates.

    The box slides over all rows, and all columns (or offsets that have entries); it is cut as far as it sticks out of
    M where it was drawn. A scan statistic: Kulldorff 1997, "A spatial scan statistic".
    """
    i, across = matrix.rows, matrix.cols if brush.by == "j" else matrix.cols - matrix.rows
    low, high = (0, matrix.m - 1) if brush.by == "j" else (int(across.min()), int(across.max()))
    height = min(brush.rows[1], matrix.m - 1) - brush.rows[0] + 1
    width = min(brush.across[1], high) - max(brush.across[0], low) + 1
    if height < 1 or width < 1:
        return (0.0,) * draws
    largest = []
    rng = np.random.default_rng(0)
    for _ in range(draws):
        drawn = noise.random_update(matrix, rng)
        squares = np.zeros((matrix.m + 1, high - low + 2))
        squares[i + 1, across - low + 1] = np.square(drawn.values)
        sums = squares.cumsum(axis=0).cumsum(axis=1)
        boxes = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
        largest.append(float(boxes.max()) / (drawn.energy or 1.0))
    return tuple(largest)


def brush_row(matrix: AdaptedMatrix, brush: Brush) -> dict:
    """Return what the same box holds of one matrix, a row of `brush_table`."""
    return {"name": matrix.name, **energy_of(matrix, brush.holds(matrix.rows, matrix.cols))}


def brush_shares(adapter: Adapter, brush: Brush) -> pd.DataFrame:
    """Return `brush_table` of every matrix of an adapter, read one after another."""
    return brush_table(adapter.matrices, [brush_row(matrix, brush) for matrix in adapter.readable()])


def brush_table(matrices: pd.DataFrame, rows: list[dict]) -> pd.DataFrame:
    """Return what the same box holds of every matrix, in the adapter's order; NaN where it is not known yet.

    Args:
        matrices: `Adapter.matrices`.
        rows: Of `brush_row`.

    Columns:
        name, label, layer, kind: The matrix.
        share, noise_share, noise_low, noise_high: Part of ‖ΔW‖² in the box, its mean and 95% interval under noise.
        stands_out: Whether the share is above what noise has, at 5% for all matrices together (Bonferroni).
    """
    columns = ["name", "share", "noise_share", "noise_low", "noise_high", "surprise"]
    table = matrices[["name", "label", "layer", "kind"]].merge(
        pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(columns[1:], float)), on="name", how="left"
    )
    above = table["share"] > table["noise_share"]
    table["stands_out"] = above & (table.pop("surprise") * len(table) < noise.LEVEL)
    return table
