"""Differences in accuracy from one configuration, with their intervals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.figures.configurations import add_configurations, add_legend
from analysis.figures.theme import Theme, axis, new_figure, number, set_layout

_ROW = 27  # pixels


def paired_forest(
    own: pd.DataFrame, *, reference: str, theme: Theme, committed: pd.DataFrame | None = None
) -> go.Figure:
    """Draw the paired difference of each configuration from `reference`, with its 95% interval and a line at 0.

    What to look for: intervals that do not touch the line are differences that can be told from none; their marks are
    filled.

    Args:
        own: The table of `analysis.trials.results.paired_differences`; it may be empty.
        reference: The label that all are compared with.
        theme: Light or dark.
        committed: The same of the study that stands behind, with the same reference.
    """
    behind = own.iloc[:0] if committed is None else committed
    main = behind if own.empty else own
    labels = list(dict.fromkeys([*own["label"], *behind["label"]]))
    order = pd.concat([own, behind]).drop_duplicates("label").set_index("label")["difference"].sort_values().index
    clear = main[main["clear"]]
    above, below = (clear["difference"] > 0).sum(), (clear["difference"] < 0).sum()
    caption = (
        f"Filled marks differ clearly from {reference}: {above} of {len(main)} lie above it, {below} below, and "
        f"{len(main) - len(clear)} cannot be told apart."
    )
    if len(main) > 1:
        caption += f" Among {len(main)} comparisons chance alone makes about {0.05 * len(main):.1f} look clear."
    if main["examples_only"].any():
        caption += " With one seed the interval covers the test examples alone."
    if main.empty:
        caption = f"Nothing has finished with a seed that {reference} has too."
    figure = new_figure(
        theme,
        alt=f"Differences in accuracy from {reference}, in points. "
        + "; ".join(f"{row.label}: {_words(row)}" for row in main.itertuples())
        + ".",
        caption=caption,
        formula=r"100 \cdot \overline{\text{right}_{s,e} - \text{right}^{\text{reference}}_{s,e}}",
        height=110 + _ROW * max(len(labels), 1),
    )
    places = {label: row for row, label in enumerate(order)}
    for table, pale in ((behind, True), (own, False)):
        hover = [
            f"{row.label} − {reference}<br>{_words(row)}<br>{row.seeds} shared seeds" for row in table.itertuples()
        ]
        y = np.array([places[label] for label in table["label"]], float)
        add_configurations(
            figure,
            table.assign(x=table["difference"], y=y, hover=hover),
            along="x",
            theme=theme,
            pale=pale,
            filled=table["clear"],
        )
    if len(own) and len(behind):
        add_legend(figure, theme=theme, own="this study", behind=f"shipped study, {behind['seeds'].max()} seeds")
    figure.add_vline(x=0, line={"color": theme.text, "width": 1.5})
    for side, text, anchor in ((-1, "← less accurate", "right"), (1, "more accurate →", "left")):
        figure.add_annotation(
            x=0, y=1, yref="paper", yanchor="bottom", xanchor=anchor, xshift=6 * side, text=text, showarrow=False
        )
    set_layout(
        figure,
        margin={"t": 56 if len(own) and len(behind) else 30},
        legend={"y": 1 + 22 / (_ROW * max(len(labels), 1))},
        xaxis=axis(theme, f"points of accuracy above {reference}", nticks=8),
        yaxis=axis(
            theme,
            "configuration",
            tickvals=list(places.values()),
            ticktext=[label.removesuffix(" entries") for label in places],
            range=[-0.7, len(places) - 0.3],
            showgrid=False,
        ),
    )
    return figure


def _words(row: Any) -> str:
    """Return a difference with its interval: "+2.1 (0.5 to 3.8)"."""
    return f"{number(row.difference, '+.1f')} points ({number(row.low, '.1f')} to {number(row.high, '.1f')})"
