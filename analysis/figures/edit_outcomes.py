"""Accuracy after edits of M, between the adapter as trained and M off."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.figures.theme import Theme, axis, method_color, new_figure, set_layout

_ROW = 34  # pixels


def edit_outcomes(table: pd.DataFrame, *, pattern: str, theme: Theme) -> go.Figure:
    """Draw the accuracy after each edit with its interval, and what was guessed.

    What to look for: edits that end near "as trained" left the skill alone, edits near "M off" took it.

    Args:
        table: One row per edit, the first "as trained", the second "M off": ``label``, ``accuracy``, ``low``,
            ``high`` (fractions), ``guess`` (NaN if nobody guessed).
        pattern: Name of the pattern, for its colour.
        theme: Light or dark.
    """
    trained, off = table["accuracy"].iloc[0], table["accuracy"].iloc[1]
    places = np.arange(len(table))[::-1]
    last = table.iloc[-1]
    figure = new_figure(
        theme,
        alt="Accuracy on the test split. "
        + "; ".join(f"{row.label}: {row.accuracy:.1%} ({row.low:.1%} to {row.high:.1%})" for row in table.itertuples())
        + ".",
        caption=(
            f"Near “as trained” ({trained:.0%}) the skill is still there, near “M off” ({off:.0%}) it is gone"
            + (f"; {last['label']}: {last['accuracy']:.0%}." if len(table) > 2 else ".")
        ),
        formula=r"\text{accuracy of } U(\Sigma + M')V^\top \text{ on the test split}",
        height=90 + _ROW * len(table),
    )
    colors = [theme.muted if place < 2 else method_color(pattern) for place in range(len(table))]
    figure.add_scatter(
        name="accuracy, 95% interval",
        x=table["accuracy"],
        y=places,
        mode="markers",
        marker={"size": 11, "color": colors},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": table["high"] - table["accuracy"],
            "arrayminus": table["accuracy"] - table["low"],
            "color": theme.muted,
            "thickness": 2,
            "width": 0,
        },
        customdata=table["label"],
        hovertemplate="%{customdata}: %{x:.1%}<extra></extra>",
    )
    guessed = table["guess"].notna().to_numpy()
    if guessed.any():
        figure.add_scatter(
            name="your guess",
            x=table["guess"][guessed],
            y=places[guessed],
            mode="markers",
            marker={"symbol": "diamond-open", "size": 11, "color": theme.text, "line": {"width": 2}},
            hovertemplate="your guess: %{x:.0%}<extra></extra>",
        )
    for value in (trained, off):
        figure.add_vline(x=value, line={"color": theme.muted, "width": 1.5, "dash": "dot"})
    set_layout(
        figure,
        margin={"t": 30},
        xaxis=axis(theme, "accuracy", tickformat=".0%", range=[0, 1], dtick=0.25),
        yaxis=axis(
            theme,
            "edit of M",
            tickvals=list(places),
            ticktext=table["label"].tolist(),
            range=[-0.6, len(table) - 0.4],
            showgrid=False,
        ),
    )
    return figure
