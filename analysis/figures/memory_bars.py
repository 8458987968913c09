"""What one weight and its adapters keep in memory."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from analysis.figures.theme import LORA_COLOR, METHOD_COLORS, Theme, axis, fade, new_figure, set_layout


def memory_bars(table: pd.DataFrame, *, shape: tuple[int, int], theme: Theme) -> go.Figure:
    """Draw the memory of W, of its singular vectors, and of what is trained.

    What to look for: U and V together outweigh W, while M is as small as LoRA's factors.

    Args:
        table: The table of `analysis.lessons.cost.memory_table`.
        shape: (out, in) of W.
        theme: Light or dark.
    """
    rows = table.set_index("what")["megabytes"]
    times = rows["U and V"] / rows["W"]
    colors = {
        "W": theme.muted,
        "U and V": METHOD_COLORS["banded"],
        "M": METHOD_COLORS["banded"],
        "LoRA": LORA_COLOR,
    }
    figure = new_figure(
        theme,
        alt=f"Memory of a weight of {shape[0]} by {shape[1]}: "
        + ", ".join(f"{name} {value:.3g} MB" for name, value in rows.items())
        + ".",
        caption=f"U and V take {times:.2f} times the memory of W: notice how small the trained part is.",
        formula=r"(\text{out} + \text{in}) \cdot n \cdot 4 \text{ bytes},\quad n = \min(\text{out}, \text{in})",
        height=230,
    )
    figure.add_bar(
        name="memory",
        orientation="h",
        y=table["what"],
        x=table["megabytes"],
        marker={
            "color": [colors[row.what] if row.trained else fade(colors[row.what], 0.55) for row in table.itertuples()],
            "line": {"width": 0},
        },
        text=[f"{value:.3g} MB" for value in table["megabytes"]],
        textposition="outside",
        cliponaxis=False,
        customdata=table["numbers"],
        hovertemplate="%{y}: %{customdata:,} numbers<extra></extra>",
    )
    set_layout(
        figure,
        margin={"t": 4, "r": 70},
        bargap=0.3,
        xaxis=axis(theme, "MB in float32 (strong colour: trained)", rangemode="tozero", fixedrange=True),
        yaxis=axis(theme, "kept in memory", autorange="reversed", showgrid=False, fixedrange=True),
    )
    return figure
