"""What the adapted model predicts for one text."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from analysis.figures.theme import Theme, axis, fade, method_color, new_figure, set_layout


def prediction_bars(predictions: pd.DataFrame, *, pattern: str, theme: Theme) -> go.Figure:
    """Draw the probability of each label, in the order given, so that bars keep their place as the dial turns.

    What to look for: which label leads, and by how much.

    Args:
        predictions: One row per label: ``label``, ``probability``.
        pattern: Name of the pattern, for its colour.
        theme: Light or dark.
    """
    labels, probability = list(predictions["label"]), predictions["probability"].to_numpy(float)
    order = probability.argsort()[::-1]
    lead = labels[order[0]]
    second = f", then {labels[order[1]]} ({probability[order[1]]:.0%})" if len(labels) > 1 else ""
    color = method_color(pattern)
    figure = new_figure(
        theme,
        alt="Predicted probabilities: " + ", ".join(f"{name} {p:.0%}" for name, p in zip(labels, probability)) + ".",
        caption=f"The model says {lead} ({probability[order[0]]:.0%}){second}.",
        formula=r"\mathrm{softmax}(\text{head}(h))",
        height=32 * len(labels) + 60,
    )
    figure.add_bar(
        name="probability",
        orientation="h",
        x=probability,
        y=labels,
        marker={"color": [color if name == lead else fade(color, 0.55) for name in labels], "line": {"width": 0}},
        text=[f"{p:.0%}" for p in probability],
        textposition="outside",
        cliponaxis=False,
        hovertemplate="%{y}: %{x:.1%}<extra></extra>",
    )
    set_layout(
        figure,
        margin={"t": 4, "r": 36},
        bargap=0.3,
        xaxis=axis(theme, "probability", tickformat=".0%", range=[0, 1], tickvals=[0, 0.5, 1], fixedrange=True),
        yaxis=axis(theme, "label", autorange="reversed", fixedrange=True, showgrid=False, type="category"),
    )
    return figure
