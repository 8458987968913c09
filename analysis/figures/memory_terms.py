"""The memory of training, by what it is for."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from analysis.figures.theme import Theme, axis, new_figure, set_layout

# Term -> (name, colour): neutral for what is the base's own, hues that no method has for the rest.
_TERMS = {
    "weights": ("weights", "#868C98"),
    "basis": ("U and V", "#8A63D2"),
    "adapter": ("adapter", "#D1495B"),
    "optimizer": ("optimizer state", "#E3A008"),
    "gradients": ("gradients", "#64881F"),
    "activations": ("activations", "#008B9E"),
}


def memory_terms(memory: pd.DataFrame, *, theme: Theme) -> go.Figure:
    """Draw the peak memory of training each method as a bar of its terms.

    What to look for: SVFT pays for U and V, full fine-tuning for gradients and optimizer state; activations grow with
    batch and length for all.

    Args:
        memory: One row per method: ``label``, ``peak`` and the terms of `planning.memory.TrainingMemory`, in bytes;
            drawn from top to bottom.
        theme: Light or dark.
    """
    unit, name = (1e9, "GB") if memory["peak"].max() >= 2e9 else (1e6, "MB")
    least, most = (memory.loc[pick(memory["peak"])] for pick in (pd.Series.idxmin, pd.Series.idxmax))
    largest = max(_TERMS, key=lambda term: memory[term].sum())
    caption = (
        f"{least['label']} needs the least memory, {least['peak'] / unit:,.3g} {name}, {most['label']} the most, "
        f"{most['peak'] / unit:,.3g} {name}; look for what makes a bar long: here mostly {_TERMS[largest][0]}."
    )
    figure = new_figure(
        theme,
        alt="Peak memory of training by term. "
        + "; ".join(f"{row['label']}: {row['peak'] / unit:,.3g} {name}" for row in memory.to_dict("records"))
        + ".",
        caption=caption,
        formula=r"m = m_W + m_{U,V} + m_\text{adapter} + 2\,m_\text{trained} + m_\text{gradients} + "
        r"m_\text{activations}",
        height=110 + 30 * len(memory),
    )
    for term, (title, color) in _TERMS.items():
        figure.add_bar(
            name=title,
            orientation="h",
            x=memory[term] / unit,
            y=memory["label"],
            marker={"color": color, "line": {"width": 0}},
            hovertemplate=f"%{{y}}: {title}%{{x:,.4g}} {name}<extra></extra>",
        )
    set_layout(
        figure,
        barmode="stack",
        bargap=0.3,
        margin={"t": 52, "r": 16},
        legend={"traceorder": "normal"},
        xaxis=axis(theme, f"peak memory in {name}", rangemode="tozero", nticks=6, fixedrange=True),
        yaxis=axis(theme, "method", autorange="reversed", showgrid=False, type="category", fixedrange=True),
    )
    return figure
