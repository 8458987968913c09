"""Which share of an update each pattern could hold, over the number of its entries."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.common.wording import percent
from analysis.figures.theme import Theme, axis, fade, method_color, new_figure, set_layout
from analysis.measures.noise import Level

_FLOOR = 1e-5  # shares below are drawn here: a logarithmic axis has no zero
_NAMES = {"banded": "banded", "random": "random", "top_k": "top_k", "best": "best possible"}


def coverage(table: pd.DataFrame, *, theme: Theme) -> go.Figure:
    """Draw the covered share of ‖ΔW‖² over k for every pattern, beside what noise would have.

    What to look for: how far a pattern lies above the dotted line of chance, and how far below the best possible.

    Args:
        table: The table of `measures.coverage.coverage`: ``pattern``, ``k``, ``share``, ``low``, ``high``, ``chance``,
            ``noise_low``, ``noise_high``.
        theme: Light or dark.
    """
    plain = table[table["pattern"] == "plain"].iloc[0]
    best = table[table["pattern"] == "best"]
    at = best.iloc[(best["k"] - plain["k"]).abs().argmin()]
    noise = Level(plain["chance"], plain["noise_low"], plain["noise_high"])
    sentence = (
        f"With {int(plain['k']):,} entries the diagonal covers {noise.percent(plain['share'])} of this update, of "
        f"noise {noise.words(noise.percent)}; the best possible {int(at['k']):,} cover {percent(at['share'])}."
    )
    figure = new_figure(
        theme,
        alt=f"Share of the update’s energy that each pattern covers, over its number of entries. {sentence}",
        caption=sentence,
        formula=r"\sum_{(i,j) \in \Omega} (U^\top \Delta W V)_{ij}^2 / \lVert \Delta W \rVert_F^2",
        height=360,
    )
    chance = best.sort_values("k")
    figure.add_scatter(
        name="chance", x=chance["k"], y=_shown(chance["chance"]), mode="lines",
        line={"color": theme.text, "width": 1.5, "dash": "dot"},
        hovertemplate="noise: %{x:,} entries hold %{y:.2%}<extra></extra>",
    )  # fmt: skip
    spread = table[table["pattern"] == "random"]
    band = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False}
    figure.add_scatter(x=spread["k"], y=_shown(spread["low"]), **band)
    figure.add_scatter(
        x=spread["k"], y=_shown(spread["high"]), fill="tonexty", fillcolor=fade(method_color("random"), 0.25), **band
    )
    for pattern, name in _NAMES.items():
        rows = table[table["pattern"] == pattern]
        if len(rows):
            figure.add_scatter(
                name=name, x=rows["k"], y=_shown(rows["share"]), mode="lines",
                line={"color": theme.muted if pattern == "best" else method_color(pattern), "width": 2.5},
                hovertemplate=f"{name}: %{{x:,}} entries cover %{{y:.2%}}<extra></extra>",
            )  # fmt: skip
    figure.add_scatter(
        name="plain", x=[plain["k"]], y=_shown(plain[["share"]]), mode="markers",
        marker={"color": method_color("plain"), "size": 12, "line": {"color": theme.background, "width": 1.5}},
        hovertemplate="plain: %{x:,} entries cover %{y:.2%}<extra></extra>",
    )  # fmt: skip
    low = max(_FLOOR, float(np.min(_shown(table["share"]))) / 2)
    set_layout(
        figure,
        margin={"t": 32},
        xaxis=axis(
            theme, "entries k", type="log", range=[max(0.0, np.log10(plain["k"]) - 1.3), np.log10(best["k"].max())]
        ),
        yaxis=axis(theme, "share of ‖ΔW‖² covered", type="log", tickformat="~%", range=[np.log10(low), 0.05]),
    )
    return figure


def _shown(shares: pd.Series) -> np.ndarray:
    return np.maximum(np.asarray(shares, float), _FLOOR)
