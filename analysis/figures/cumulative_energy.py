"""How many directions the update needs, beside what a LoRA of equal size could have."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from analysis.figures.theme import Theme


def cumulative_energy(
    curve: pd.DataFrame, *, structural_rank: int, lora_rank: float, pattern: str, theme: Theme
) -> go.Figure:
    """Draw the energy of ΔW held by its leading directions, and the bounds on their number.

    What to look for: how far right the curve keeps rising. A LoRA of equal parameters ends at its rank.

    Args:
        curve: The table of `analysis.spectrum.cumulative_energy`: ``directions``, ``energy_share``.
        structural_rank: The bound that the pattern sets on rank(ΔW).
        lora_rank: Rank of a LoRA with as many parameters, k/(out + in); it need not be whole.
        pattern: Name of the pattern, for its colour.
        theme: Light or dark.
    """
    raise NotImplementedError
