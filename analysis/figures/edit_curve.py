"""Accuracy over the amount of an edit."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go

from analysis.figures.theme import Theme, axis, fade, method_color, new_figure, set_layout


def edit_curve(
    curve: pd.DataFrame,
    *,
    trained: float,
    off: float,
    what: str,
    ticks: Sequence[float],
    percent: bool,
    pattern: str,
    theme: Theme,
) -> go.Figure:
    """Draw accuracy with its interval over an amount, such as the part of the entries that stay.

    What to look for: where the curve leaves the line of the adapter as trained.

    Args:
        curve: The table of `analysis.running.edit_effects.effect_curve`: ``amount``, ``accuracy``, ``low``,
            ``high``; it may be empty, or lack amounts that are still to come.
        trained: Accuracy as trained.
        off: Accuracy with M off.
        what: Name of the amount, for the axis.
        ticks: All amounts, those to come included.
        percent: Whether amounts are fractions to be shown in per cent.
        pattern: Name of the pattern, for its colour.
        theme: Light or dark.
    """
    form = (lambda value: f"{100 * value:g}%") if percent else (lambda value: f"{value:g}".replace("-", "−"))
    reading = "nothing is measured yet"
    if len(curve):
        best = curve.loc[curve["accuracy"].idxmax()]
        reading = f"the best accuracy, {best['accuracy']:.0%}, is at {form(best['amount'])}"
    color = method_color(pattern)
    figure = new_figure(
        theme,
        alt=f"Accuracy over {what}, {len(curve)} of {len(ticks)} places measured; {reading}. Trained: {trained:.0%}.",
        caption=f"Look where the curve leaves the line of the adapter as trained ({trained:.0%}): {reading}.",
        formula=r"\text{accuracy of } U(\Sigma + M')V^\top \text{ on the test split}",
        height=300,
    )
    edge = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False}
    figure.add_scatter(name="low", x=curve["amount"], y=curve["low"], **edge)
    figure.add_scatter(
        name="95% interval", x=curve["amount"], y=curve["high"], fill="tonexty", fillcolor=fade(color, 0.35), **edge
    )
    figure.add_scatter(
        name="accuracy",
        x=curve["amount"],
        y=curve["accuracy"],
        mode="lines+markers",
        line={"color": color, "width": 2.5},
        showlegend=False,
        text=[form(amount) for amount in curve["amount"]],
        hovertemplate="%{text}: %{y:.1%}<extra></extra>",
    )
    for value, text, anchor in ((trained, "as trained", "bottom"), (off, "M off", "top")):
        figure.add_hline(
            y=value,
            line={"color": theme.muted, "width": 1.5, "dash": "dot"},
            annotation={
                "text": f"{text} {value:.0%}",
                "x": 0,
                "xanchor": "left",
                "yanchor": anchor,
                "showarrow": False,
            },
        )
    set_layout(
        figure,
        margin={"t": 12},
        xaxis=axis(theme, what, tickvals=list(ticks), ticktext=[form(tick) for tick in ticks], range=_padded(ticks)),
        yaxis=axis(theme, "accuracy", tickformat=".0%", range=[0, 1], dtick=0.25),
    )
    return figure


def _padded(ticks: Sequence[float]) -> list[float]:
    margin = 0.04 * (max(ticks) - min(ticks)) or 0.5
    return [min(ticks) - margin, max(ticks) + margin]
