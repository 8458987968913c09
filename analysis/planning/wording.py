"""Numbers of a plan for people, the same on the command line and on the page. Light: no torch."""

from __future__ import annotations

import pandas as pd

from analysis.models.architecture import Architecture
from analysis.planning.budgets import FUSED_SENTENCE

# How a time of decompositions was found (`analysis.planning.svd_speed`).
HOW = "measured as its processor time, so that other work on this machine does not count"


def gigabytes(size: float) -> str:
    """Return bytes in GB, or in MB below one of them."""
    return f"{size / 1e9:,.2f} GB" if size >= 1e9 else f"{size / 1e6:,.2f} MB"


def duration(seconds: float) -> str:
    """Return a time for people: "45 s", "12 min", "3.4 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def experts_sentences(architecture: Architecture, table: pd.DataFrame) -> list[str]:
    """Return what is said of fused experts: how much they hold, and who adapts them."""
    if not architecture.fused:
        return []
    held = sum(experts * out * in_ for experts, out, in_ in architecture.fused.values())
    kinds = " and ".join(architecture.fused_kinds)
    sentence = f"Experts hold {held:,} of the {architecture.parameters:,} parameters, as {kinds}."
    if not any(kind in table for kind in architecture.fused_kinds):
        return [f"{sentence} They are not adapted here. --kind adapts them, with LoRA alone, since {FUSED_SENTENCE}"]
    without = table.loc[(table["left_out"] != "") & (table["note"] == ""), "label"]
    return [sentence, f"Not adaptable yet by {', '.join(without)}, whose counts leave them out: {FUSED_SENTENCE}"]
