"""How many directions the update needs, beside what a LoRA of equal size could have."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.figures.cells import MAX_CELLS
from analysis.figures.theme import LORA_COLOR, Theme, axis, fade, method_color, new_figure, set_layout


def cumulative_energy(
    curve: pd.DataFrame,
    noise: pd.DataFrame | None = None,
    *,
    structural_rank: int,
    lora_rank: float,
    pattern: str,
    theme: Theme,
) -> go.Figure:
    """Draw the energy of ΔW held by its leading directions, and the bounds on their number.

    What to look for: how far right the curve keeps rising. A LoRA of equal parameters ends at its rank.

    Args:
        curve: The table of `analysis.measures.spectrum.cumulative_energy`: ``directions``, ``energy_share``.
        noise: The curve of `analysis.measures.null.spectral_null`; None if there is none (yet).
        structural_rank: The bound that the pattern sets on rank(ΔW).
        lora_rank: Rank of a LoRA with as many parameters, k/(out + in); it need not be whole. Both bounds are
            in `analysis.measures.ranks.rank_bounds`.
        pattern: Name of the pattern, for its colour.
        theme: Light or dark.
    """
    directions, energy = curve["directions"].to_numpy(), curve["energy_share"].to_numpy()
    whole = int(lora_rank)
    # Nothing reaches 90% if the update is zero.
    reading = "The update is zero"
    if energy.any():
        reading = f"{directions[np.searchsorted(energy, 0.9)]} directions hold 90% of ΔW's energy"
    held = float(energy[directions <= whole][-1]) if (directions <= whole).any() and whole else 0.0
    if whole:
        label = f"LoRA of equal parameters: rank ≤ {whole}"
        limit = f"a LoRA of equal parameters stops at rank {whole}, which holds at most {held:.0%} of this update"
    else:
        label = "LoRA of equal parameters: rank < 1"
        limit = f"a LoRA of rank 1 already has {1 / lora_rank:.1f} times the parameters"
    figure = new_figure(
        theme,
        alt=(
            f"Cumulative energy of ΔW over its leading directions. {reading}. The pattern bounds the rank at "
            f"{structural_rank}; {limit}."
        ),
        caption=f"{reading}; {limit}.",
        formula=r"\sum_{l \le r} \sigma_l(\Delta W)^2 / \lVert \Delta W \rVert_F^2",
        height=320,
    )
    thin = np.unique(np.linspace(0, len(curve) - 1, min(len(curve), MAX_CELLS)).astype(int))
    figure.add_scatter(
        name="this adapter",
        x=directions[thin],
        y=energy[thin],
        mode="lines",
        line={"color": method_color(pattern), "width": 2.5},
        hovertemplate="%{x} directions hold %{y:.1%} of the energy<extra></extra>",
    )
    if noise is not None:
        low, mid, high = (noise[column].to_numpy()[thin] for column in ("noise_low", "noise_mid", "noise_high"))
        band = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False}
        figure.add_scatter(x=directions[thin], y=low, **band)
        figure.add_scatter(x=directions[thin], y=high, fill="tonexty", fillcolor=fade(theme.muted, 0.45), **band)
        figure.add_scatter(
            name="noise on the same Ω (95%)",
            x=directions[thin],
            y=mid,
            mode="lines",
            line={"color": theme.text, "width": 1.5, "dash": "dot"},
            hovertemplate="noise: %{x} directions hold %{y:.1%}<extra></extra>",
        )
    last = max(int(directions[-1]), structural_rank)
    figure.add_vrect(x0=0, x1=lora_rank, fillcolor=fade(LORA_COLOR, 0.35), line={"width": 0}, layer="below")
    figure.add_vline(x=lora_rank, line={"color": LORA_COLOR, "width": 2, "dash": "dash"})
    figure.add_vline(x=structural_rank, line={"color": theme.text, "width": 1.5, "dash": "dot"})
    # The curve is concave: it lies above the straight line from corner to corner, so the lower right is free.
    note = {"showarrow": False, "bgcolor": fade(theme.background, 0.75), "borderpad": 2}
    low = lora_rank < 0.5 * last
    figure.add_annotation(
        x=lora_rank, y=0.06, text=label, xanchor="left" if low else "right", xshift=4 if low else -4, **note
    )
    low = structural_rank < 0.5 * last
    figure.add_annotation(
        x=structural_rank,
        y=0.2,
        text=f"bound of the pattern: {structural_rank}",
        xanchor="left" if low else "right",
        xshift=4 if low else -4,
        **note,
    )
    set_layout(
        figure,
        margin={"t": 32},
        xaxis=axis(theme, "number of directions of ΔW", range=[0, 1.02 * last]),
        yaxis=axis(theme, "share of energy", tickformat=".0%", range=[0, 1.03]),
    )
    return figure
