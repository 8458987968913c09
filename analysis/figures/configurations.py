"""Configurations (a method and its size) as marks with intervals, and labels that do not cover each other."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.figures.theme import SMALL_FONT_SIZE, Theme, fade, method_marker, series_color

BESIDE = 0.026  # decades of parameters: configurations of about equal budget are drawn at least so far apart

_WIDTH, _NARROW = 620, 240  # pixels of a plot area: a guess by which labels are kept apart, and the least
_GLYPH = 0.54 * SMALL_FONT_SIZE  # mean width of a character in pixels
_LINE = SMALL_FONT_SIZE + 3
_POINT = 12  # pixels: the square that a marker covers
_ROUNDS = 400


class Frame(NamedTuple):
    """Where a figure puts its points.

    Attributes:
        x: Range of the axis of parameters, in decades.
        y: Range of the other one; in decades if it is logarithmic.
        height: Of the plot area in pixels.
    """

    x: tuple[float, float]
    y: tuple[float, float]
    height: float


def short_label(label: str) -> str:
    """Return a configuration's label without what colour and position say: "banded d=2", "random"."""
    return re.sub(r", [\d,]+ entries$", "", label).removeprefix("SVFT ")


def text_width(text: str) -> float:
    """Return about how wide a label is, in pixels."""
    return _GLYPH * len(text)


def spread(places: np.ndarray, gap: float) -> np.ndarray:
    """Return ascending `places` moved apart to at least `gap`, by the least squares of the moves.

    Isotonic regression of what is left of each place when the gaps before it are taken off (pool adjacent violators).
    """
    blocks: list[tuple[float, int]] = []  # mean, members
    for rank, place in enumerate(places):
        mean, members = place - rank * gap, 1
        while blocks and blocks[-1][0] > mean:
            before, others = blocks.pop()
            mean, members = (before * others + mean * members) / (others + members), others + members
        blocks.append((mean, members))
    return np.repeat([mean for mean, _ in blocks], [members for _, members in blocks]) + gap * np.arange(len(places))


def place_labels(
    left: np.ndarray, heights: np.ndarray, texts: Sequence[str], points: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """Return heights of labels at which they cover no other label and no point.

    All begin at their points' heights; those that overlap push each other apart until none does, or for `_ROUNDS`
    rounds.

    Args:
        left: Where each label begins, in pixels.
        heights: Of the labels' points, in pixels downward.
        texts: The labels.
        points: Pixels from the left and downward of all points.
    """
    right = left + np.array([text_width(text) for text in texts])
    across, down = points
    beside = (left[:, None] < right) & (left < right[:, None]) & ~np.eye(len(left), dtype=bool)
    over = (left[:, None] < across + _POINT / 2) & (across - _POINT / 2 < right[:, None])
    order = np.lexsort((np.arange(len(left)), heights)).argsort()  # of equal heights, the later one goes below
    below = order[:, None] > order
    at = heights.copy()
    for _ in range(_ROUNDS):
        overlap = np.where(beside, _LINE - np.abs(at[:, None] - at), 0).clip(0)
        push = np.where(below, overlap, -overlap).sum(axis=1)
        distance = at[:, None] - down
        overlap = np.where(over, (_LINE + _POINT) / 2 - np.abs(distance), 0).clip(0)
        push += np.where(distance < 0, -overlap, overlap).sum(axis=1)
        if np.abs(push).max(initial=0) < 0.1:
            break
        at += push / 4
    return at


def add_labels(
    figure: go.Figure, points: pd.DataFrame, *, frame: Frame, theme: Theme, beside: float = BESIDE
) -> float:
    """Add names right of points, or of a group of points side by side, each with a thin line to its point.

    Args:
        figure: That gets them.
        points: ``label``, ``x`` and ``y``, in the terms of `frame`.
        frame: Where the points are.
        theme: Light or dark.
        beside: Points about so far apart, in the terms of `frame`, are a group side by side.

    Returns:
        By how many pixels they stick out of the plot at the right if it is narrow: the margin to leave.
    """
    points = points.sort_values("x", kind="stable")
    x, y = points["x"].to_numpy(), points["y"].to_numpy()
    texts = [short_label(label) for label in points["label"]]
    groups = np.cumsum(np.diff(x, prepend=-np.inf) > 1.5 * beside)
    tails = np.array([x[groups == group].max() for group in groups]) + 0.75 * beside
    across, left = ((at - frame.x[0]) / (frame.x[1] - frame.x[0]) for at in (x, tails))
    pixel = (frame.y[1] - frame.y[0]) / frame.height
    down = (frame.y[1] - y) / pixel
    heights = place_labels(_WIDTH * left, down, texts, (_WIDTH * across, down))
    for at, value, text, tail, placed in zip(x, y, texts, tails, frame.y[1] - pixel * heights):
        figure.add_annotation(
            x=at,
            y=value,
            ax=tail,
            ay=placed,
            axref="x",
            ayref="y",
            text=text,
            font={"size": SMALL_FONT_SIZE, "color": theme.text},
            bgcolor=fade(theme.background, 0.7),
            borderpad=0,
            xanchor="left",
            arrowhead=0,
            arrowwidth=1,
            arrowcolor=theme.muted,
            standoff=7,
        )
    return max(0.0, *(_NARROW * (at - 1) + text_width(text) for text, at in zip(texts, left)))


def add_bound_name(
    figure: go.Figure, value: float, text: str, *, points: pd.DataFrame, frame: Frame, theme: Theme
) -> None:
    """Add the name of a horizontal line where it covers the fewest points and their labels.

    Args:
        figure: That gets it.
        value: Of the line, in the terms of `frame`.
        text: The name.
        points: ``label``, ``x`` and ``y``, in the terms of `frame`.
        frame: Where the points are.
        theme: Light or dark.
    """
    across = _WIDTH * (points["x"] - frame.x[0]) / (frame.x[1] - frame.x[0])
    end = across + [_POINT + text_width(short_label(label)) for label in points["label"]]
    up = frame.height * (points["y"] - value) / (frame.y[1] - frame.y[0])

    def covered(place: tuple[float, str]) -> int:
        left, side = _WIDTH * place[0], up if place[1] == "bottom" else -up
        beside = (end > left) & (across - _POINT < left + text_width(text))
        return int((beside & (side > -_POINT / 2) & (side < _LINE + _POINT / 2)).sum())

    place, side = min(((x, side) for side in ("bottom", "top") for x in (0, 0.25, 0.5, 0.75)), key=covered)
    figure.add_annotation(
        x=place,
        xref="paper",
        y=value,
        text=text,
        xanchor="left",
        yanchor=side,
        showarrow=False,
        font_color=theme.muted,
    )


def add_configurations(
    figure: go.Figure,
    table: pd.DataFrame,
    *,
    along: Literal["x", "y"],
    theme: Theme,
    pale: bool,
    filled: Sequence[bool] | None = None,
) -> None:
    """Add one mark per configuration with its interval: a trace for each method, which has its colour and marker.

    Args:
        figure: That gets them.
        table: ``label``, ``method``, ``x``, ``y``, ``low``, ``high`` (NaN: no interval) and ``hover``, HTML.
        along: The axis of the interval.
        theme: Light or dark.
        pale: Whether they stand behind: a broad pale interval, and a small mark.
        filled: For each row, whether its mark is filled; None fills all.
    """
    table = table.assign(filled=True if filled is None else filled)
    for method, rows in table.groupby("method", sort=False):
        color = series_color(method, theme)
        interval = {
            "type": "data",
            "array": rows["high"] - rows[along],
            "arrayminus": rows[along] - rows["low"],
            "color": fade(color, 0.3) if pale else color,
            "thickness": 7 if pale else 1.5,
            "width": 0 if pale else 4,
        }
        figure.add_scatter(
            name=f"{method}, behind" if pale else method,
            x=rows["x"],
            y=rows["y"],
            mode="markers",
            marker={
                "symbol": [method_marker(method) + ("" if full else "-open") for full in rows["filled"]],
                "color": fade(color, 0.7) if pale else color,
                "size": 7 if pale else 11,
                "line": {"width": 0 if pale else 2, "color": color if pale else theme.background},
            },
            customdata=rows["hover"],
            hovertemplate="%{customdata}<extra></extra>",
            showlegend=False,
            **{f"error_{along}": interval},
        )


def add_legend(figure: go.Figure, *, theme: Theme, own: str, behind: str) -> None:
    """Add a legend that tells one's own study from the one behind it."""
    for name, color, symbol, size in (
        (own, theme.text, "circle", 10),
        (behind, fade(theme.muted, 0.45), "line-ns", 7),
    ):
        marker = {"color": color, "symbol": symbol, "size": size, "line": {"color": color, "width": 7}}
        figure.add_scatter(name=name, x=[None], y=[None], mode="markers", marker=marker, hoverinfo="skip")
