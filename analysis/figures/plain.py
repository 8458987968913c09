"""A figure that is written down as plain dicts, and becomes Plotly's own only if someone asks for that.

Plotly checks each property as it is set, which takes most of the time of making a figure. A `PlainFigure` takes what
it is given as it is, and `to_dict` gives it to a page at once. Asked for anything else of a figure it becomes
Plotly's own, checks included, and stays so. A test holds that both are the same figure.
"""

from __future__ import annotations

from threading import RLock
from typing import Any

import plotly.graph_objects as go
from _plotly_utils.utils import convert_to_base64

_becoming = RLock()  # one figure may be shown to many visitors


class PlainTrace(dict):
    """A trace as a dict, which is changed as Plotly's own is."""

    def update(self, *others: Any, **properties: Any) -> PlainTrace:  # type: ignore[override]
        """Merge properties into the trace, and return it; None takes a property back."""
        for other in (*others, properties):
            for name, value in dict(other).items():
                self[name] = merged(self.get(name), value)
        return self


def merged(before: Any, value: Any) -> Any:
    """Return `value`, or, if both are dicts, `before` with it merged in."""
    if not (isinstance(before, dict) and isinstance(value, dict)):
        return value
    return before | {name: merged(before.get(name), part) for name, part in value.items()}


class PlainFigure(go.Figure):
    """A figure as dicts, see above.

    Args:
        layout: As Plotly's schema has it, without its short forms ("title_text").
    """

    def __init__(self, layout: dict[str, Any]) -> None:
        self._plain: dict[str, Any] | None = {"data": [], "layout": layout}

    def __getattr__(self, name: str) -> Any:
        """Become Plotly's own figure: what is missing is there then."""
        with _becoming:
            plain = self.__dict__.get("_plain")
            if plain is None:
                return object.__getattribute__(self, name)
            self._plain = None
            try:
                super().__init__(**plain)
            except ValueError:
                self._plain = plain
                raise
        return getattr(self, name)

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies are Plotly's own figures."""
        return go.Figure, (self.to_dict(),)

    @property
    def plain_layout(self) -> dict[str, Any] | None:
        """The layout as it is written down, to be changed in place; None if the figure is Plotly's own by now."""
        return self._plain and self._plain["layout"]

    def to_dict(self) -> dict[str, Any]:
        """Return the figure as it is sent to a browser, arrays as base64."""
        plain = self._plain
        if plain is None:
            return super().to_dict()
        sent = _copied(plain)
        convert_to_base64(sent)
        return sent

    def add_trace(self, trace: Any, *place: Any, **more: Any) -> go.Figure:
        """Add a trace, given as Plotly's object or as its dict."""
        if self._plain is None or place or more:
            return super().add_trace(trace, *place, **more)
        self._plain["data"].append(trace if isinstance(trace, dict) else trace.to_plotly_json())
        return self

    def add_scatter(self, **properties: Any) -> go.Figure:
        """Add points or lines."""
        return self.add_trace({"type": "scatter", **properties})

    def add_bar(self, **properties: Any) -> go.Figure:
        """Add bars."""
        return self.add_trace({"type": "bar", **properties})

    def add_heatmap(self, **properties: Any) -> go.Figure:
        """Add a heatmap."""
        return self.add_trace({"type": "heatmap", **properties})

    def add_annotation(self, given: dict[str, Any] | None = None, **properties: Any) -> go.Figure:
        """Add words."""
        return self._add("annotations", super().add_annotation, {**(given or {}), **properties})

    def add_shape(self, given: dict[str, Any] | None = None, **properties: Any) -> go.Figure:
        """Add a line, a rectangle or a path."""
        return self._add("shapes", super().add_shape, {**(given or {}), **properties})

    def add_hline(self, y: float, **properties: Any) -> go.Figure:
        """Add a line across the figure."""
        return self._add_across("x", super().add_hline, {"y": y}, {"type": "line", "y0": y, "y1": y}, properties)

    def add_vline(self, x: float, **properties: Any) -> go.Figure:
        """Add a line from the top of the figure to its bottom."""
        return self._add_across("y", super().add_vline, {"x": x}, {"type": "line", "x0": x, "x1": x}, properties)

    def add_hrect(self, y0: float, y1: float, **properties: Any) -> go.Figure:
        """Add a band across the figure."""
        sides = {"y0": y0, "y1": y1}
        return self._add_across("x", super().add_hrect, sides, {"type": "rect", **sides}, properties)

    def add_vrect(self, x0: float, x1: float, **properties: Any) -> go.Figure:
        """Add a band from the top of the figure to its bottom."""
        sides = {"x0": x0, "x1": x1}
        return self._add_across("y", super().add_vrect, sides, {"type": "rect", **sides}, properties)

    def _add_across(
        self, along: str, checked: Any, given: dict[str, Any], shape: dict[str, Any], properties: dict[str, Any]
    ) -> go.Figure:
        """Add a shape from end to end of the axis `along`, with an annotation that says where it stands."""
        annotation = properties.get("annotation")
        left_open = annotation is not None and not {along, "xanchor", "yanchor", "showarrow"} <= annotation.keys()
        if self._plain is None or left_open or any(name.startswith("annotation_") for name in properties):
            return checked(**given, **properties)
        axes = {"xref": "x", "yref": "y"}
        axes[f"{along}ref"] += " domain"
        if annotation is not None:
            self.add_annotation({**given, **axes, **annotation})
        shape = {**shape, f"{along}0": 0, f"{along}1": 1, **axes, **properties}
        return self.add_shape({name: value for name, value in shape.items() if name != "annotation"})

    def _add(self, part: str, checked: Any, properties: dict[str, Any]) -> go.Figure:
        if self._plain is None:
            return checked(**properties)
        self._plain["layout"].setdefault(part, []).append(_spelled_out(properties))
        return self


def _spelled_out(properties: dict[str, Any]) -> dict[str, Any]:
    """Return properties with Plotly's short forms as the dicts that they stand for: "line_width" is in "line"."""
    whole: dict[str, Any] = {}
    for name, value in properties.items():
        outer, _, inner = name.partition("_")
        whole[outer] = {**whole.get(outer, {}), inner: value} if inner else value
    return whole


_OF_AXES = ("xaxis", "yaxis", "xref", "yref", "anchor", "matches", "overlaying", "scaleanchor")
_AXES = {"x1": "x", "y1": "y", "x1 domain": "x domain", "y1 domain": "y domain"}  # as Plotly calls the first ones


def _copied(node: Any) -> Any:
    """Return a copy of nested dicts and lists of dicts without what is None; everything else is shared."""
    if isinstance(node, dict):
        named = {name: _AXES.get(node[name], node[name]) for name in _OF_AXES if isinstance(node.get(name), str)}
        return {name: _copied(value) for name, value in (node | named).items() if value is not None}
    if isinstance(node, list | tuple) and node and isinstance(node[0], dict):
        return [_copied(value) for value in node]
    return node
