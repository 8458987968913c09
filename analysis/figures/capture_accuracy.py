"""Whether the gradient that a pattern follows at the start says how well it performs in the end."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from analysis.figures.theme import Theme, axis, method_marker, new_figure, series_color, set_layout


def capture_accuracy(table: pd.DataFrame, *, reading: str, theme: Theme) -> go.Figure:
    """Draw measured accuracy over the captured share of the gradient, one point per pattern and budget.

    What to look for: points that rise to the right; then capture would predict accuracy.

    Args:
        table: The table of `analysis.trials.confirmation.capture_and_accuracy`.
        reading: What `analysis.trials.confirmation.agreement` says of it.
        theme: Light or dark.
    """
    figure = new_figure(
        theme,
        alt="Accuracy over the captured share of the squared gradient. "
        + "; ".join(f"{row.label}: {row.captured:.2%}, {row.accuracy:.1%}" for row in table.itertuples())
        + ".",
        caption=f"Points that rise to the right would mean that capture predicts accuracy. {reading}",
        formula=r"\rho\big(\text{captured},\ \text{accuracy}\big)",
        height=320,
    )
    for row in table.itertuples():
        figure.add_scatter(
            name=row.label,
            x=[row.captured],
            y=[row.accuracy],
            error_y={"type": "data", "array": [row.high - row.accuracy], "arrayminus": [row.accuracy - row.low]},
            mode="markers",
            marker={
                "symbol": method_marker(row.pattern),
                "size": 11,
                "color": series_color(row.pattern, theme),
            },
            hovertemplate=f"{row.label}<br>captures %{{x:.2~%}}, accuracy %{{y:.1%}}<extra></extra>",
        )
    set_layout(
        figure,
        margin={"t": 8},
        legend={"orientation": "h", "y": -0.3, "yanchor": "top"},
        xaxis=axis(theme, "share of the squared gradient", type="log", tickformat="~%", dtick=1),
        yaxis=axis(theme, "accuracy", tickformat=".0%"),
    )
    return figure
