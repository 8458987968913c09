"""Which labels a configuration takes for which."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from analysis.figures.cells import color_scale
from analysis.figures.theme import SMALL_FONT_SIZE, Theme, axis, ink_on, new_figure, number, set_layout

_MOST = 16  # labels: beyond, numbers in the cells cannot be read


def confusion(
    table: pd.DataFrame,
    names: Sequence[str],
    *,
    label: str,
    theme: Theme,
    other: tuple[str, pd.DataFrame] | None = None,
) -> go.Figure:
    """Draw how many test examples of each true label (rows) get each predicted one (columns).

    What to look for: strong cells off the diagonal are labels that are taken for each other. Only these have a colour,
    else the many right answers would outshine them.

    Args:
        table: Of `analysis.trials.results.confusion`.
        names: Of the labels, in the order of their numbers.
        label: The configuration.
        theme: Light or dark.
        other: Another configuration and its table: their difference is drawn instead, on the diverging scale.
    """
    counts = table.to_numpy(float) - (0 if other is None else other[1].to_numpy(float))
    errors = np.where(np.eye(len(counts), dtype=bool), np.nan, counts)
    scale = color_scale(errors, signed=other is not None, theme=theme, limit=float(np.nanmax(np.abs(errors))) or 1.0)
    truth, predicted = map(
        int, np.unravel_index(np.nanargmax(np.abs(errors) if other is None else errors), counts.shape)
    )
    most = f"{names[truth]} for {names[predicted]}"
    if other is None:
        right = np.trace(counts) / counts.sum()
        caption = f"{label} answers {right:.1%} right"
        if errors[truth, predicted] > 0:
            times, of = number(errors[truth, predicted], ".3g"), table.to_numpy()[truth].sum()
            caption += f"; its most frequent error is {most} ({times} of {of:,.0f} times)."
        else:
            caption += ": it makes no error."
    else:
        more = float(np.trace(counts))
        caption = (
            f"Red cells off the diagonal are mistakes that {label} makes more often than {other[0]}, blue ones less "
            f"often; of {table.to_numpy().sum():,.0f} examples it answers {abs(more):.3g} "
            f"{'more' if more >= 0 else 'fewer'} right."
        )
    minus = "" if other is None else f" minus that of {other[0]}"
    figure = new_figure(
        theme,
        alt=f"Confusion matrix of {label}{minus}, {len(names)} labels. {caption}",
        caption=caption,
        formula=r"\#\{e : \text{truth}_e = r,\ \text{predicted}_e = c\}",
        height=max(38 * len(names), 120) + 130,
    )
    figure.add_heatmap(
        name="examples",
        z=errors,
        **scale.heat(),
        showscale=False,  # the numbers stand in the cells
        xgap=1,
        ygap=1,
        hoverinfo="skip",
    )
    row, col = (place.ravel() for place in np.indices(counts.shape))
    shades = np.nan_to_num((errors.ravel() - scale.low) / (scale.limit - scale.low))
    inks = [ink_on(color) for color in sample_colorscale([color for _, color in scale.colors], shades)]
    figure.add_scatter(
        name="numbers",
        x=col,
        y=row,
        mode="text" if len(names) <= _MOST else "none",
        text=[_short(count, signed=other is not None) for count in counts.ravel()],
        textfont={
            "size": SMALL_FONT_SIZE,
            "color": [theme.text if r == c else ink for r, c, ink in zip(row, col, inks)],
        },
        customdata=[[names[r], names[c], number(count, ".4g")] for r, c, count in zip(row, col, counts.ravel())],
        hovertemplate="%{customdata[0]}, predicted %{customdata[1]}: %{customdata[2]}<extra></extra>",
        showlegend=False,
    )
    ticks = {"tickvals": list(range(len(names))), "ticktext": list(names), "showgrid": False, "fixedrange": True}
    set_layout(
        figure,
        margin={"t": 8},
        plot_bgcolor=theme.absent,
        hoverdistance=-1,
        xaxis=axis(theme, "predicted label", range=[-0.5, len(names) - 0.5], tickangle=-40, **ticks),
        yaxis=axis(theme, "true label", range=[len(names) - 0.5, -0.5], **ticks),
    )
    return figure


def _short(count: float, *, signed: bool) -> str:
    """Return a number of examples with at most one decimal, nothing for none."""
    if not count:
        return ""
    spec = ("+" if signed else "") + (".0f" if count == round(count) or abs(count) >= 99.95 else ".1f")
    return number(count, spec)
