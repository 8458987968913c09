"""Accuracy over the dial α."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.figures.theme import REFERENCE_DASHES, Theme, axis, fade, method_color, new_figure, number, set_layout


def dial_curve(
    curve: pd.DataFrame,
    *,
    alpha: float,
    pattern: str,
    theme: Theme,
    head_only: float | None = None,
    full: float | None = None,
) -> go.Figure:
    """Draw the accuracy of U(Σ + αM)Vᵀ over α with its interval, and a dot at the dial's place.

    What to look for: where the curve peaks, and that turning the dial too far costs accuracy. α = 0 is the
    same head with M off, which is not the model trained with its head only.

    Args:
        curve: One row per α: ``alpha``, ``accuracy``, ``low``, ``high`` (fractions, 95% interval), ascending.
        alpha: Where the dial stands; the dot lies on the straight line between the neighbouring points.
        pattern: Name of the pattern, for its colour.
        theme: Light or dark.
        head_only: Accuracy of the model trained with its head only, a reference line.
        full: Accuracy of full fine-tuning, a reference line.
    """
    alphas, accuracy = curve["alpha"].to_numpy(), curve["accuracy"].to_numpy()
    now = float(np.interp(alpha, alphas, accuracy))
    off, trained = (float(np.interp(at, alphas, accuracy)) for at in (0, 1))
    place = number(alpha, "g")
    color = method_color(pattern)
    references = {"head_only": ("head only", head_only), "full": ("full fine-tuning", full)}
    measured = [(key, name, value) for key, (name, value) in references.items() if value is not None]
    figure = new_figure(
        theme,
        alt=(
            f"Accuracy over the dial α from {number(alphas[0], 'g')} to {number(alphas[-1], 'g')}: {off:.0%} at 0, "
            f"{trained:.0%} at 1; the dial stands at {place}, {now:.0%}."
            + "".join(f" {name[0].upper()}{name[1:]}: {value:.0%}." for _, name, value in measured)
        ),
        caption=(
            f"At α = {place} the accuracy is {now:.0%}; α = 0 ({off:.0%}) is the same head with M off, α = 1 "
            f"({trained:.0%}) is as trained."
        ),
        formula=r"U(\Sigma + \alpha M)V^\top",
        height=260,
    )
    edge = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False}
    figure.add_scatter(name="low", x=alphas, y=curve["low"], **edge)
    figure.add_scatter(
        name="95% interval", x=alphas, y=curve["high"], fill="tonexty", fillcolor=fade(color, 0.35), **edge
    )
    figure.add_scatter(
        name="accuracy",
        x=alphas,
        y=accuracy,
        mode="lines",
        line={"color": color, "width": 2.5},
        showlegend=False,
        hovertemplate="α = %{x}: %{y:.1%}<extra></extra>",
    )
    lowest = min((value for _, _, value in measured), default=0.0)
    for key, name, value in measured:
        # The labels stand at the end where the curve is further away, the lower line's below it: lines may lie close.
        at_left = abs(accuracy[0] - lowest) > abs(accuracy[-1] - lowest)
        figure.add_hline(
            y=value,
            line={"color": theme.muted, "width": 1.5, "dash": REFERENCE_DASHES[key]},
            annotation={
                "text": f"{name} {value:.0%}",
                "x": 0 if at_left else 1,
                "xanchor": "left" if at_left else "right",
                "yanchor": "top" if value == lowest and len(measured) > 1 else "bottom",
                "showarrow": False,
                "bgcolor": fade(theme.background, 0.75),
                "borderpad": 1,
            },
        )
    figure.add_scatter(
        name="dial",
        x=[float(np.clip(alpha, alphas[0], alphas[-1]))],
        y=[now],
        mode="markers+text",
        marker={"color": color, "size": 14, "line": {"color": theme.background, "width": 2}},
        text=[f"<b>{now:.0%}</b>"],
        textposition="top center" if now < 0.8 else "bottom center",
        cliponaxis=False,
        showlegend=False,
        hovertemplate="α = %{x}: %{y:.1%}<extra></extra>",
    )
    whole = [tick for tick in range(int(np.ceil(alphas[0])), int(np.floor(alphas[-1])) + 1)]
    notes = {0: "0<br>same head,<br>M off", 1: "1<br>trained"}
    set_layout(
        figure,
        margin={"t": 12, "r": 12},
        xaxis=axis(
            theme,
            "dial α",
            tickvals=whole,
            ticktext=[notes.get(tick, number(tick, "d")) for tick in whole],
            range=[alphas[0], alphas[-1]],
        ),
        yaxis=axis(theme, "accuracy", tickformat=".0%", range=[0, 1], dtick=0.25),
    )
    return figure
