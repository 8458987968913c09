"""The training of one matrix as a film: M at each evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from analysis.figures.cells import MODE_FORMULAS, MODE_TITLES, SQUARE_BINS, color_scale, square_layout, strip_layout
from analysis.figures.theme import FONT_SIZE, LIGHT, SMALL_FONT_SIZE, Theme, axis, colorbar, new_figure, set_layout

_DIAGONALS = 65  # the most that are drawn as a strip
_PAUSE = 350  # milliseconds between two evaluations
_CONTROLS = 110  # pixels below the axis


def coefficient_film(
    i: np.ndarray, j: np.ndarray, values: np.ndarray, steps: Sequence[int], *, n: int, theme: Theme
) -> go.Figure:
    """Draw M at each evaluation, with a slider over the steps and a button that plays them; it opens with the last.

    What to look for: where coefficients grow first, and whether they still move at the end. A pattern of few diagonals
    is a strip as in `coefficient_strip`, any other a square as in `coefficient_square`; cells that several entries
    share show the strongest. All frames have one colour scale, that of the last.

    Args:
        i: Rows of the trained entries, (k,).
        j: Their columns, (k,).
        values: M at each evaluation, (evaluations, k).
        steps: Of the evaluations.
        n: Number of singular directions.
        theme: Light or dark.
    """
    values = np.asarray(values, dtype=np.float32)
    strip = len(np.unique(j - i)) <= _DIAGONALS
    layout = strip_layout(i, j) if strip else square_layout(i, j, n, SQUARE_BINS)
    scale = color_scale(values[-1], signed=True, theme=theme)
    frames = [layout.cells(step_values) for step_values in values]
    energy = (values.astype(float) ** 2).sum(axis=1)
    caption = "M has not moved."
    if energy[-1]:
        half = steps[int((energy >= energy[-1] / 2).argmax())]
        caption = (
            "Play it to see where coefficients grow first; half of the energy that M ends with is there by step "
            f"{half} of {steps[-1]}{scale.note}."
        )
    rows = layout.shape[0]
    figure = new_figure(
        theme,
        alt=(
            f"Film of the {len(i):,} trained entries of the {n}×{n} matrix M at {len(steps)} evaluations, from step "
            f"{steps[0]} to {steps[-1]}; at the end they reach {np.abs(values[-1]).max(initial=0):.3g}. {caption}"
        ),
        caption=caption,
        formula=MODE_FORMULAS["signed"],
        height=_CONTROLS + ((min(120 + 20 * rows, 420) if rows > 1 else 150) if strip else 480),
        limit=scale.limit,
        clipped=scale.clipped,
    )
    figure.add_heatmap(
        name="M",
        z=frames[-1],
        **layout.place,
        **scale.heat(),
        colorbar=colorbar(theme, MODE_TITLES["signed"], above=not strip) | {"nticks": 3},
        hovertemplate=("i = %{x}, j − i = %{y}" if strip else "near i = %{y}, j = %{x}") + ": %{z:.4g}<extra></extra>",
        hoverongaps=False,
    )
    figure.frames = [
        go.Frame(name=str(step), data=[go.Heatmap(z=cells)], traces=[0]) for step, cells in zip(steps, frames)
    ]
    set_layout(
        figure,
        margin={"t": 8, "b": _CONTROLS},
        plot_bgcolor=theme.absent,
        **(_strip_axes(i, j, theme) if strip else _square_axes(n, theme)),
        sliders=[_slider(steps, theme)],
        updatemenus=[_button()],
    )
    return figure


def _strip_axes(i: np.ndarray, j: np.ndarray, theme: Theme) -> dict[str, Any]:
    width, reach = int(max(i.max(), j.max())) + 1, int(np.abs(j - i).max())
    ticks: dict[str, Any] = {"tickvals": list(range(-reach, reach + 1))} if reach <= 3 else {"nticks": 9}
    return {
        "xaxis": axis(theme, "row i of M", range=[-0.5, width - 0.5], showgrid=False),
        "yaxis": axis(theme, "offset j − i", range=[reach + 0.5, -reach - 0.5], showgrid=False, **ticks),
    }


def _square_axes(n: int, theme: Theme) -> dict[str, Any]:
    common = {"showgrid": False, "constrain": "domain", "nticks": 6}
    return {
        "xaxis": axis(theme, "column j of M", range=[-0.5, n - 0.5], **common),
        "yaxis": axis(theme, "row i of M", range=[n - 0.5, -0.5], scaleanchor="x", constraintoward="top", **common),
    }


def _at_once(frames: list[str] | None, pause: int) -> list[Any]:
    """Return the arguments of Plotly's animate: these frames (None: all), without blending one into the next."""
    timing = {"frame": {"duration": pause, "redraw": True}, "transition": {"duration": 0}}
    return [frames, {"mode": "immediate", "fromcurrent": False, **timing}]


def _slider(steps: Sequence[int], theme: Theme) -> dict[str, Any]:
    return {
        "active": len(steps) - 1,
        "steps": [{"label": str(step), "method": "animate", "args": _at_once([str(step)], 0)} for step in steps],
        "currentvalue": {"prefix": "step ", "font": {"size": FONT_SIZE, "color": theme.text}, "xanchor": "right"},
        "font": {"size": SMALL_FONT_SIZE, "color": theme.text},
        "pad": {"t": 60, "b": 0},
        "bgcolor": theme.grid,
        "activebgcolor": theme.muted,
        "bordercolor": theme.grid,
        "tickcolor": theme.grid,
        "ticklen": 4,
    }


def _button() -> dict[str, Any]:
    # Plotly lights every button up under the pointer with one fixed pale colour: only dark text can be read on it.
    return {
        "type": "buttons",
        "showactive": False,
        "buttons": [{"label": "▶ Play", "method": "animate", "args": _at_once(None, _PAUSE)}],
        "x": 0,
        "xanchor": "left",
        "y": 0,
        "yanchor": "top",
        "pad": {"t": 44},
        "bgcolor": LIGHT.grid,
        "bordercolor": LIGHT.muted,
        "font": {"size": FONT_SIZE, "color": LIGHT.text},
    }
