"""One matrix in two adapters."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from analysis.adapters.adapter import AdaptedMatrix, Adapter
from analysis.measures.brush import Brush
from analysis.measures.comparison import counterparts
from app import data, figures
from app.selection import Opened
from app.views.coefficients.brush import STRIPS


@dataclass(frozen=True)
class Pair:
    """The selected matrix in both adapters.

    Attributes:
        both: Each adapter with its own name of the matrix.
        names: Of the adapters, for people.
        brush: The box that was drawn in M, None for none.
    """

    both: tuple[tuple[Adapter, str], tuple[Adapter, str]]
    names: tuple[str, str]
    brush: Brush | None = None

    @classmethod
    def of(cls, chosen: Opened, other: Adapter, names: tuple[str, str]) -> Pair:
        """Return the pair of a selection and a second adapter, which shares the matrix."""
        second = counterparts(chosen.adapter, other)[chosen.matrix]
        return cls(((chosen.adapter, chosen.matrix), (other, second)), names, chosen.brush)

    @cached_property
    def matrices(self) -> tuple[AdaptedMatrix, AdaptedMatrix]:
        """Both matrices."""
        return data.matrix(*self.both[0]), data.matrix(*self.both[1])

    @property
    def alike(self) -> bool:
        """Whether both are drawn in one way, as strips or as squares."""
        first, second = (matrix.pattern in STRIPS for matrix in self.matrices)
        return first == second

    @property
    def look(self) -> dict[str, Any]:
        """Keywords of the figures of two adapters."""
        return {
            "names": self.names,
            "patterns": tuple(matrix.pattern for matrix in self.matrices),
            "theme": figures.theme(),
        }

    @cached_property
    def tables(self) -> list[dict[str, Any]]:
        """The spectral tables of both, as far as they are there."""
        return [data.spectral_tables(*side)[0] for side in self.both]
