"""The comparison of two updates in words: are they alike, and how large is one beside the other?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from analysis.measures.comparison import TOLERANCE


def matrix_verdict(row: Mapping[str, Any], names: tuple[str, str]) -> str:
    """Say how alike two updates of one matrix are, and how large the second is.

    Args:
        row: Of `analysis.measures.comparison.compare_matrix`.
        names: Of the adapters.
    """
    size = _size(float(row["norm_ratio"]), names)
    cosine, reach = float(row["cosine"]), float(row["chance_cosine"])
    if np.isnan(cosine):
        why = (
            "the singular vectors of the two bases differ"
            if row["basis_error"] > TOLERANCE
            else "an update is zero, or part of it was not saved"
        )
        return f"How alike the two updates are is not defined here: {why}.{size}"
    beside = f"cosine {_signed(cosine)}, noise within ±{reach:.3f}"
    if abs(cosine) <= reach:
        return f"**The two updates are no more alike than noise** ({beside}).{size}"
    if cosine < 0:
        return f"**The two updates oppose each other** ({beside}).{size}"
    degree = next(words for least, words in _DEGREES if cosine >= least)
    return f"**The two updates {degree}** ({beside}).{size}"


# A cosine of 0.7 says that half of the energy of one lies along the other, one of 0.1 that 1% does.
_DEGREES = (
    (0.7, "point the same way"),
    (0.1, "have a part in common"),
    (0.0, "have little in common, though more than noise"),
)


def _size(ratio: float, names: tuple[str, str]) -> str:
    if np.isnan(ratio) or not ratio:
        return ""
    (larger, smaller), times = (names[::-1], ratio) if ratio >= 1 else (names, 1 / ratio)
    if times < _EQUAL:
        return " They are of one size."
    return f" ‖ΔW‖ of {larger} is {times:,.{0 if times >= 10 else 1}f} times that of {smaller}."


_EQUAL = 1.05


def _signed(value: float) -> str:
    return f"{value:.3f}".replace("-", "−")
