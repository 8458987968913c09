"""How a difference settles as the runs of a class are pooled."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from analysis.figures.theme import Theme, axis, fade, method_color, new_figure, number, set_layout


def class_growth(table: pd.DataFrame, *, label: str, reference: str, method: str, theme: Theme) -> go.Figure:
    """Draw the pooled difference with its interval over the number of runs, and each run alone.

    What to look for: single runs scatter, the band narrows; whether it leaves the line at 0.

    Args:
        table: The table of `analysis.lessons.claims.growth`; it may be empty.
        label: The configuration.
        reference: The one that it is compared with.
        method: Of the configuration, for its colour.
        theme: Light or dark.
    """
    color, runs = method_color(method), len(table)
    if runs:
        last = table.iloc[-1]
        clear = last["pooled_low"] > 0 or last["pooled_high"] < 0
        low, high = number(last["pooled_low"], ".1f"), number(last["pooled_high"], ".1f")
        sentence = f"{label} minus {reference} is {number(last['pooled'], '+.1f')} points ({low} to {high})"
        runs_said = f"{runs} runs together" if runs > 1 else "One run alone"
        contains = f"it {'excludes' if clear else 'still contains'} 0."
        if runs == 1:
            notice = f"Each further run narrows the band; {contains}"
        elif last["pooled_high"] - last["pooled_low"] < table["pooled_high"].iloc[0] - table["pooled_low"].iloc[0]:
            notice = f"Notice how single runs scatter while the band narrows; {contains}"
        else:
            notice = f"The band has not narrowed yet: the runs differ by more than the test examples do; {contains}"
        caption = f"{runs_said}: {sentence}. {notice}"
    else:
        sentence, caption = (
            "no run has finished yet",
            "No run has finished yet: each adds a dot, and narrows the band.",
        )
    figure = new_figure(
        theme,
        alt=f"Pooled difference in accuracy over the number of runs, {runs} so far: {sentence}.",
        caption=caption,
        formula=r"100 \cdot \overline{\text{right}_{s,e} - \text{right}^{\text{reference}}_{s,e}}",
        height=380,
    )
    edge = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False}
    figure.add_scatter(name="low", x=table["runs"], y=table["pooled_low"], **edge)
    figure.add_scatter(
        name="95% interval of all runs so far",
        x=table["runs"],
        y=table["pooled_high"],
        fill="tonexty",
        fillcolor=fade(color, 0.25),
        **{**edge, "showlegend": True},
    )
    figure.add_scatter(
        name="all runs so far",
        x=table["runs"],
        y=table["pooled"],
        mode="lines+markers",
        line={"color": color, "width": 2.5},
        marker={"size": 6},
        hovertemplate="%{x} runs: %{y:+.1f} points<extra></extra>",
    )
    figure.add_scatter(
        name="each run alone",
        x=table["runs"],
        y=table["difference"],
        customdata=table["seed"],
        mode="markers",
        marker={"color": theme.muted, "size": 9, "symbol": "circle-open", "line": {"width": 2}},
        error_y={
            "type": "data",
            "symmetric": False,
            "array": table["high"] - table["difference"],
            "arrayminus": table["difference"] - table["low"],
            "color": fade(theme.muted, 0.5),
            "thickness": 1.5,
            "width": 0,
        },
        hovertemplate="seed %{customdata}: %{y:+.1f} points<extra></extra>",
    )
    figure.add_hline(y=0, line={"color": theme.text, "width": 1.5})
    shown = max(runs, 5)
    set_layout(
        figure,
        xaxis=axis(theme, "runs pooled", range=[0.5, shown + 0.5], tickformat="d", tick0=1, dtick=-(-shown // 12)),
        yaxis=axis(theme, f"points of {label} above {reference}"),
    )
    return figure
