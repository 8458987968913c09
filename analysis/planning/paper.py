"""The trainable parameters that the SVFT paper publishes, beside what the settings that it states give.

Published figures and settings are data (arXiv 2405.19597, its tables on Gemma); what is said about them is computed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import pandas as pd

from analysis.models.architecture import Architecture, open_architecture
from analysis.planning.sizing import count_parameters, size_label
from analysis.training.methods import METHODS

LETTERS = {
    "Q": "query",
    "K": "key",
    "V": "value",
    "U": "MLP up",
    "D": "MLP down",
    "O": "attention out",
    "G": "MLP gate",
}


@dataclass(frozen=True)
class Published:
    """One published figure.

    Attributes:
        model: A name in `analysis.models.architecture.PRESETS`.
        method: A name in `METHODS`. If the paper gives one count for all patterns of a size, it is banded.
        size: off_diag d or rank r.
        matrices: Letters of `LETTERS`, the matrices that the paper says are adapted.
        figure: As printed, in millions.
    """

    model: str
    method: str
    size: int | None
    matrices: str
    figure: str


PUBLISHED = (
    Published("Gemma-2B", "plain", None, "QKVUDOG", "0.19M"),
    Published("Gemma-2B", "banded", 16, "QKVUDOG", "6.35M"),
    Published("Gemma-2B", "banded", 8, "QKVUDOG", "3.3M"),
    Published("Gemma-2B", "lora", 32, "QKVUD", "26.2M"),
    Published("Gemma-2B", "lora", 16, "QKVUD", "13.5M"),
    Published("Gemma-2B", "lora", 1, "QKVUD", "0.82M"),
    Published("Gemma-2B", "dora", 1, "QKVUD", "1.19M"),
    Published("Gemma-7B", "plain", None, "QKVUDOG", "0.43M"),
    Published("Gemma-7B", "plain", None, "QKVUDOG", "0.51M"),
    Published("Gemma-7B", "banded", 16, "QKVUDOG", "19.8M"),
    Published("Gemma-7B", "lora", 32, "QKVUD", "68.8M"),
)

EQUAL, OTHER_METHOD, OTHER_MATRICES, NOT_REACHABLE = (
    "equal", "another method's", "other matrices", "not reachable",
)  # fmt: skip


def paper_table() -> pd.DataFrame:
    """Return every published figure with what follows from its setting.

    Returns:
        One row per figure: ``model``, ``label``, ``matrices``, ``published``, ``count`` (of the stated setting),
        ``verdict`` (`EQUAL`, `OTHER_METHOD`, `OTHER_MATRICES` or `NOT_REACHABLE`) and ``explanation`` in words.
    """
    return pd.DataFrame(_row(row, open_architecture(row.model)) for row in PUBLISHED)


def _row(row: Published, model: Architecture) -> dict[str, object]:
    counts = _counts(row.method, row.size, model)
    count = sum(counts[letter] for letter in row.matrices)
    verdict, explanation = _explain(row, count, counts, model)
    return {
        "model": row.model,
        "label": f"SVFT d={row.size}" if row.method == "banded" else size_label(row.method, row.size),
        "matrices": " ".join(row.matrices),
        "published": row.figure,
        "count": count,
        "verdict": verdict,
        "explanation": explanation,
    }


def _counts(method: str, size: int | None, model: Architecture) -> dict[str, int]:
    """Return letter -> parameters in all matrices of that kind."""
    return {
        letter: count_parameters(method, [model.shapes[name] for name in model.kinds[kind]], size)
        for letter, kind in LETTERS.items()
    }


def _explain(row: Published, count: int, counts: Mapping[str, int], model: Architecture) -> tuple[str, str]:
    if how := agreement(count, row.figure):
        return EQUAL, f"follows from the stated setting, {how}"
    for other, method in METHODS.items():
        if other != row.method and method.size_name == METHODS[row.method].size_name and method.size_name == "r":
            theirs = sum(_counts(other, row.size, model)[letter] for letter in row.matrices)
            if how := agreement(theirs, row.figure):
                return OTHER_METHOD, f"is the count of {size_label(other, row.size)}, {theirs:,}, {how}"
    matching = {
        letters: how
        for number in range(1, len(counts) + 1)
        for letters in combinations(counts, number)
        if (how := agreement(sum(counts[letter] for letter in letters), row.figure))
    }
    if not matching:
        return NOT_REACHABLE, "follows from no choice of these matrices"
    stated = {tuple(sorted(other.matrices)) for other in PUBLISHED if other.model == row.model}
    best = min(
        matching,
        key=lambda letters: (
            tuple(sorted(letters)) not in stated,
            len(set(letters) ^ set(row.matrices)),
        ),
    )
    total = sum(counts[letter] for letter in best)
    others = f", one of {len(matching)} choices of matrices that give it" if len(matching) > 1 else ""
    return OTHER_MATRICES, f"follows with {' '.join(best)} instead, {total:,}, {matching[best]}{others}"


def agreement(count: int, figure: str) -> str | None:
    """Return how a published figure ("6.35M") agrees with a count: "rounded", "truncated", or not at all, None."""
    digits = figure.removesuffix("M")
    decimals = len(digits.partition(".")[2])
    scaled = count * 10**decimals
    printed = round(float(digits) * 10**decimals)
    if math.floor(scaled / 1e6 + 0.5) == printed:
        return "rounded"
    return "truncated" if scaled // 10**6 == printed else None
