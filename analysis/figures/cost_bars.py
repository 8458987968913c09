"""What a training step costs, beside a reference."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from analysis.figures.theme import Theme, axis, fade, new_figure, series_color, set_layout

_PARTS = {"time_ratio": ("time of a step", (0.0, 0.46)), "memory_ratio": ("peak memory", (0.54, 1.0))}


def cost_bars(cost: pd.DataFrame, *, reference: str, theme: Theme) -> go.Figure:
    """Draw time and peak memory of a training step as multiples of the reference's.

    What to look for: bars that end right of the line cost more than the reference.

    Args:
        cost: One row per configuration: ``label``, ``method``, ``parameters``, ``seconds`` (median of a step),
            ``time_ratio``, ``peak_bytes``, ``memory_ratio``; drawn from top to bottom.
        reference: The label whose ratios are 1.
        theme: Light or dark.
    """
    slowest, largest = (cost.loc[cost[name].idxmax()] for name in _PARTS)
    figure = new_figure(
        theme,
        alt=f"Time and peak memory of a training step, {reference} = 1. "
        + "; ".join(
            f"{row.label}: {row.time_ratio:.2f} times the time, {row.memory_ratio:.2f} times the memory"
            for row in cost.itertuples()
        )
        + ".",
        caption=(
            f"Bars beyond the line cost more than {reference}: the slowest step is that of {slowest['label']}, "
            f"{slowest['time_ratio']:.2f} times as long; {largest['label']} takes the most memory, "
            f"{largest['memory_ratio']:.2f} times as much."
        ),
        formula=r"t / t_\text{reference},\quad m / m_\text{reference}",
        height=90 + 27 * len(cost),
    )
    names = [label.removesuffix(" entries") for label in cost["label"]]
    colors = [series_color(method, theme) for method in cost["method"]]
    amounts = {
        "time_ratio": [f"{1000 * seconds:,.0f} ms" for seconds in cost["seconds"]],
        "memory_ratio": [f"{size / 2**20:,.0f} MiB" for size in cost["peak_bytes"]],
    }
    for place, (name, (title, domain)) in enumerate(_PARTS.items()):
        x_axis = "x" if place == 0 else "x2"
        figure.add_bar(
            name=title,
            orientation="h",
            x=cost[name],
            y=names,
            xaxis=x_axis,
            marker={"color": [fade(color, 0.85) for color in colors], "line": {"width": 0}},
            text=[f"{ratio:.2f}" for ratio in cost[name]],
            textposition="outside",
            cliponaxis=False,
            customdata=amounts[name],
            hovertemplate="%{y}: %{customdata}, %{x:.2f} times the reference<extra></extra>",
            showlegend=False,
        )
        figure.add_shape(
            type="line", x0=1, x1=1, y0=0, y1=1, xref=x_axis, yref="paper", line={"color": theme.text, "width": 1.5}
        )
        span = {"domain": domain, "range": [0, 1.18 * cost[name].max()]}
        set_layout(figure, **{x_axis.replace("x", "xaxis"): axis(theme, title, **span, nticks=4, fixedrange=True)})
    set_layout(
        figure,
        margin={"t": 4, "r": 24},
        bargap=0.3,
        yaxis=axis(theme, "configuration", autorange="reversed", showgrid=False, type="category", fixedrange=True),
    )
    return figure
