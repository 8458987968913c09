"""How much of the leading singular subspaces survived."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from analysis.figures.theme import Theme, axis, method_color, new_figure, set_layout


def overlap(table: pd.DataFrame, *, pattern: str, theme: Theme) -> go.Figure:
    """Draw the overlap of the leading r old and new singular subspaces, with the level of chance.

    What to look for: dips below 1 are sizes r at which the leading subspace turned.

    Args:
        table: The table of `analysis.measures.spectrum.subspace_overlap`: ``r``, ``overlap_left``, ``overlap_right``
            and ``chance``, the overlap of random subspaces.
        pattern: Name of the pattern, for its colour.
        theme: Light or dark.
    """
    sides = table[["overlap_left", "overlap_right"]]
    lowest = sides.min(axis=1).idxmin()
    least, r = float(sides.min(axis=1)[lowest]), int(table["r"][lowest])
    reading = f"the lowest point is {least:.2f}, at r = {r}"
    if pattern == "plain":
        reading = f"a plain M turns no vector, so below 1 (least {least:.2f}, at r = {r}) only their order changed"
    figure = new_figure(
        theme,
        alt=(
            f"Overlap of the leading r singular subspaces before and after, r from {table['r'].min()} to "
            f"{table['r'].max()}: lowest {least:.3f} at r = {r}."
        ),
        caption=(
            "At 1 the leading r directions span what they did before, on the dotted line they are as good as "
            f"random; {reading}."
        ),
        formula=r"\lVert U_r^\top U'_r \rVert_F^2 / r",
        height=280,
    )
    for side, dash in (("left", "solid"), ("right", "dash")):
        figure.add_scatter(
            name=f"{side} vectors",
            x=table["r"],
            y=table[f"overlap_{side}"],
            mode="lines",
            line={"color": method_color(pattern), "width": 2, "dash": dash},
            hovertemplate=f"r = %{{x}}: {side} overlap %{{y:.4f}}<extra></extra>",
        )
    figure.add_scatter(
        name="chance",
        x=table["r"],
        y=table["chance"],
        mode="lines",
        line={"color": theme.muted, "width": 1.5, "dash": "dot"},
        hovertemplate="chance: %{y:.4f}<extra></extra>",
    )
    set_layout(
        figure,
        margin={"t": 32},
        xaxis=axis(theme, "leading directions r"),
        yaxis=axis(theme, "overlap", range=[0, 1.04]),
    )
    return figure
