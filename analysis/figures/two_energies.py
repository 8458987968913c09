"""How many directions two updates need, overlaid."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.figures.cells import MAX_CELLS
from analysis.figures.theme import Theme, axis, method_color, new_figure, set_layout
from analysis.figures.two_spectra import DASHES


def two_energies(
    first: pd.DataFrame,
    second: pd.DataFrame,
    *noises: pd.DataFrame | None,
    names: tuple[str, str],
    patterns: tuple[str, str],
    theme: Theme,
) -> go.Figure:
    """Draw the energy of ΔW held by its leading directions, for two adapters, each beside its own noise.

    What to look for: which curve rises first; that update needs fewer directions.

    Args:
        first: The table of `analysis.measures.spectrum.cumulative_energy` of the first.
        second: That of the second.
        noises: For none or both, the curve of `analysis.measures.null.spectral_null`, None if there is none.
        names: Of the adapters; the second is dashed.
        patterns: Names of their patterns, for their colours.
        theme: Light or dark.
    """
    needed = [_needed(curve) for curve in (first, second)]
    reading = f"90% of the energy lies in {needed[0]} directions of {names[0]} and in {needed[1]} of {names[1]}"
    dots = "; thin dots are noise on the same Ω" if any(noise is not None for noise in noises) else ""
    figure = new_figure(
        theme,
        alt=f"Cumulative energy of the update over its leading directions, two adapters; {reading}.",
        caption=f"The curve that rises first needs fewer directions: {reading}{dots}.",
        formula=r"\sum_{l \le r} \sigma_l(\Delta W)^2 / \lVert \Delta W \rVert_F^2",
        height=300,
    )
    for name, pattern, curve, noise, dash in zip(
        names, patterns, (first, second), noises or (None, None), DASHES, strict=True
    ):
        thin = np.unique(np.linspace(0, len(curve) - 1, min(len(curve), MAX_CELLS)).astype(int))
        lines = [(name, curve["energy_share"], {"width": 2.5, "dash": dash})]
        if noise is not None:
            lines.append((f"noise like {name}", noise["noise_mid"], {"width": 1, "dash": "dot"}))
        for title, shares, line in lines:
            figure.add_scatter(
                name=title,
                x=curve["directions"].to_numpy()[thin],
                y=shares.to_numpy()[thin],
                mode="lines",
                line={"color": method_color(pattern), **line},
                showlegend=title == name,
                hovertemplate=f"{title}<br>%{{x}} directions hold %{{y:.1%}}<extra></extra>",
            )
    last = max(first["directions"].max(), second["directions"].max())
    set_layout(
        figure,
        margin={"t": 56},
        xaxis=axis(theme, "number of directions of ΔW", range=[0, 1.02 * last]),
        yaxis=axis(theme, "share of energy", tickformat=".0%", range=[0, 1.03]),
    )
    return figure


def _needed(curve: pd.DataFrame) -> int:
    """Return the number of directions that hold 90% of the energy, 0 for a zero update."""
    held = curve["energy_share"].to_numpy()
    return int(curve["directions"].iloc[np.searchsorted(held, 0.9)]) if held.any() else 0
