"""Colours, fonts and the base layout that every figure shares, for light and dark.

Figures carry their own colours: show them with Streamlit's ``theme=None``.
The paper is transparent; `Theme.background` is the colour that the page has behind it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from analysis.figures.plain import PlainFigure, merged
from analysis.training.methods import svft_patterns


@dataclass(frozen=True)
class Theme:
    """The neutral colours of one appearance.

    Attributes:
        name: "light" or "dark".
        background: The page's background, and the middle of the diverging scale: a trained entry that is zero.
        text: Titles, labels and the outline of what is selected.
        muted: Noise levels, reference lines and the LoRA family.
        grid: Grid lines and separators.
        absent: The ground of a figure of M, seen through cells that are not in Ω.
    """

    name: str
    background: str
    text: str
    muted: str
    grid: str
    absent: str


LIGHT = Theme("light", "#ffffff", "#262730", "#6b7280", "#d9dce3", "#eceef2")
DARK = Theme("dark", "#0e1117", "#fafafa", "#9aa3b2", "#363b47", "#20252f")
THEMES: dict[str, Theme] = {theme.name: theme for theme in (LIGHT, DARK)}

FONT_SIZE = 13  # of labels and text in a figure
SMALL_FONT_SIZE = 12  # of tick labels; nothing is smaller

# Okabe–Ito hues that keep a contrast of 3:1 against both backgrounds.
METHOD_COLORS: dict[str, str] = {
    "plain": "#0072B2",
    "banded": "#D55E00",
    "random": "#009E73",
    "top_k": "#CC79A7",
    "block": "#B8604D",
    "chosen": "#8A63D2",
}
# Of patterns that others register, in their order, over again if there are more.
FURTHER_COLORS = ("#64881F", "#008B9E")
CUSTOM_COLOR = "#A6761D"  # a pattern of explicit indices
# The LoRA family, and what else PEFT has, is one grey, told apart by its markers.
LORA_COLOR = "#868C98"
LORA_MARKERS: dict[str, str] = {
    "lora": "circle",
    "dora": "square",
    "vera": "diamond",
    "pissa": "triangle-up",
    "olora": "triangle-left",
    "mica": "triangle-right",
    "psoft": "triangle-down",
    "tinylora": "star",
    "adamss": "hexagon",
    "frod": "pentagon",
    "boft": "cross",
}
# Methods that bound the others are horizontal lines in the theme's muted colour, not points: their dash.
REFERENCE_DASHES: dict[str, str] = {"head_only": "dot", "full": "dash"}

_DIVERGING = {
    "light": (("#08306b", "#2171b5", "#8fbfe0"), ("#f4a582", "#ca2f27", "#67000d")),
    "dark": (("#cfe4ff", "#5aa5f2", "#27568c"), ("#96402c", "#f47a54", "#ffdccf")),
}
_SEQUENTIAL = {
    "light": ("#d8d0ec", "#a68fd0", "#6a45a5", "#2d0a55"),
    "dark": ("#3a2a63", "#6d50ab", "#ab92e3", "#f0e8ff"),
}

ColorScale = list[tuple[float, str]]


def diverging_scale(theme: Theme) -> ColorScale:
    """Return the scale of signed numbers: blue below zero, red above, the theme's background at zero."""
    below, above = _DIVERGING[theme.name]
    colors = (*below, theme.background, *above)
    return [(step / (len(colors) - 1), color) for step, color in enumerate(colors)]


def sequential_scale(theme: Theme) -> ColorScale:
    """Return the scale of magnitudes: the theme's background at zero, then ever stronger violet."""
    colors = (theme.background, *_SEQUENTIAL[theme.name])
    return [(step / (len(colors) - 1), color) for step, color in enumerate(colors)]


def method_color(method: str) -> str:
    """Return the colour that a method has on every page: its hue for an SVFT pattern, else the LoRA family's grey."""
    if method == "custom":
        return CUSTOM_COLOR
    further = [name for name in svft_patterns() if name not in METHOD_COLORS and name != "custom"]
    if method in further:
        return FURTHER_COLORS[further.index(method) % len(FURTHER_COLORS)]
    return METHOD_COLORS.get(method, LORA_COLOR)


def series_color(method: str, theme: Theme) -> str:
    """Return `method_color`, or the muted colour for a method that bounds the others."""
    return theme.muted if method in REFERENCE_DASHES else method_color(method)


def method_marker(method: str) -> str:
    """Return the marker that a method has on every page, under Plotly's name for it."""
    return LORA_MARKERS.get(method, "circle")


def fade(color: str, opacity: float) -> str:
    """Return a "#rrggbb" colour with an opacity, as CSS."""
    red, green, blue = (int(color[k : k + 2], 16) for k in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def ink_on(color: str) -> str:
    """Return black or white, whichever reads better on an "rgb(r, g, b)" colour (WCAG relative luminance)."""
    channels = [int(float(part)) / 255 for part in color.removeprefix("rgb(").rstrip(")").split(",")]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#000000" if luminance > 0.179 else "#ffffff"


def axis(theme: Theme, title: str, **more: Any) -> dict[str, Any]:
    """Return an axis in the house style, its title `standoff` pixels away (8 if not given); `more` overrides it."""
    return {
        "title": {"text": title, "font": {"size": FONT_SIZE}, "standoff": more.pop("standoff", 8)},
        "tickfont": {"size": SMALL_FONT_SIZE},
        "color": theme.text,
        "gridcolor": theme.grid,
        "linecolor": theme.grid,
        "zeroline": False,
        "automargin": True,
        **more,
    }


def new_figure(theme: Theme, *, alt: str, caption: str, formula: str, height: int, **meta: Any) -> go.Figure:
    """Return an empty figure in the house style, with what stands around it in ``layout.meta``.

    Args:
        theme: Light or dark.
        alt: Alternative text.
        caption: One plain sentence that says what to look for.
        formula: LaTeX, without dollar signs.
        height: In pixels; the width is the container's.
        meta: Further entries of ``layout.meta`` (see `analysis.figures`).
    """
    return PlainFigure(
        {
            "template": {"data": {"scatter": [{"type": "scatter"}]}},  # Plotly's "none"
            "height": height,
            "margin": {"l": 8, "r": 8, "t": 28, "b": 8},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"family": "Source Sans, Source Sans Pro, sans-serif", "size": FONT_SIZE, "color": theme.text},
            "hoverlabel": {
                "bgcolor": theme.background,
                "bordercolor": theme.muted,
                "font": {"size": FONT_SIZE, "color": theme.text},
            },
            "legend": {
                "orientation": "h",
                "x": 0,
                "xanchor": "left",
                "y": 1.02,
                "yanchor": "bottom",
                "font": {"size": FONT_SIZE},
                "bgcolor": "rgba(0,0,0,0)",
            },
            "hovermode": "closest",
            "dragmode": False,
            "uirevision": "keep",  # zoom survives a redraw with other numbers
            "meta": {"alt": alt, "caption": caption, "formula": formula, **meta},
        }
    )


def set_layout(figure: go.Figure, **parts: Any) -> None:
    """Change parts of a figure's layout, as its ``update_layout`` does in ten times the time.

    Args:
        figure: The figure.
        parts: Entries of the layout; dicts are merged with what is there.
    """
    plain = figure.plain_layout if isinstance(figure, PlainFigure) else None
    before, layout = (figure.layout.to_plotly_json(), figure.layout) if plain is None else (plain, plain)
    for name, value in parts.items():
        name = {"xaxis1": "xaxis", "yaxis1": "yaxis"}.get(name, name)
        layout[name] = merged(before.get(name), value)


def add_span(figure: go.Figure, start: float, stop: float, theme: Theme) -> None:
    """Shade what lies from `start` to `stop` on the x axis of a figure, over its whole height."""
    figure.add_shape(
        type="rect",
        **{"x0": start, "x1": stop, "y0": 0, "y1": 1, "yref": "paper", "layer": "below"},
        line={"width": 0},
        fillcolor=fade(theme.text, 0.12),
    )


def colorbar(theme: Theme, title: str, *, above: bool = False) -> dict[str, Any]:
    """Return a slim colour bar titled with the quantity it shows, right of the figure or `above` it."""
    bar: dict[str, Any] = {
        "title": {
            "text": title,
            "side": "top" if above else "right",
            "font": {"size": FONT_SIZE, "color": theme.text},
        },
        "tickfont": {"size": SMALL_FONT_SIZE, "color": theme.text},
        "thickness": 10,
        "outlinewidth": 0,
        "xpad": 6,
        "nticks": 5,
    }
    if above:  # a square on a narrow screen needs the whole width
        bar |= {"orientation": "h", "lenmode": "pixels", "len": 260, "y": 1, "yanchor": "bottom", "ypad": 4}
    return bar


def number(value: float, spec: str = ".3g") -> str:
    """Return a number for a sentence, with a true minus sign."""
    return format(value, spec).replace("-", "−")
