"""How a figure stands on a page: the figure, one sentence under it, and formula and CSV behind "⋯"."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from analysis.figures.theme import THEMES, Theme


def theme() -> Theme:
    """Return the appearance that the browser shows."""
    return THEMES[st.context.theme.type or "light"]


def build(figure: Callable[..., go.Figure], *tables: Any, **options: Hashable) -> go.Figure:
    """Return ``figure(*tables, **options)``, built once for all visitors.

    Args:
        figure: Of `analysis.figures`.
        tables: Of `app.data`, which keeps one object for the same numbers, and of which nobody changes any.
        options: Theme, names, what is selected.
    """
    key = (figure, *map(id, tables), *sorted(options.items()))
    with _lock:
        if key in _built:
            _built.move_to_end(key)
            return _built[key][1]
    made = figure(*tables, **options)
    with _lock:
        _built[key] = tables, made  # with its tables: while they are here, their ids are nobody else's
        while len(_built) > _MOST_BUILT:
            _built.popitem(last=False)
    return made


_MOST_BUILT = 256
_built: OrderedDict[tuple, tuple[tuple, go.Figure]] = OrderedDict()
_lock = Lock()


def draw(
    figure: go.Figure,
    *,
    key: str,
    on_select: Callable[[], None] | None = None,
    select: str | tuple[str, ...] = "points",
    height: int | None = None,
) -> None:
    """Draw a figure with its alternative text.

    Args:
        figure: From `analysis.figures`.
        key: Of the figure; what is selected in it stands in the session state under it.
        on_select: Called on a click or a drawn box.
        select: What can be selected: "points", "box", or both.
        height: In pixels, if the figure's own does not suit the page.
    """
    st.plotly_chart(
        figure,
        theme=None,
        key=key,
        height=height or "content",
        alt=figure.layout.meta["alt"],
        config={"displayModeBar": False},
        on_select=on_select or "ignore",
        selection_mode=select,
    )


def explain(
    figure: go.Figure, table: pd.DataFrame, *, key: str, file_name: str, more: Callable[[], None] | None = None
) -> None:
    """Write a figure's sentence, with its formula and its table as CSV behind "⋯"; `more` draws what else is there."""
    with st.container(horizontal=True, wrap=False, key=f"foot-{key}", gap="small"):
        st.caption(figure.layout.meta["caption"], width="stretch")
        with st.popover(
            "⋯", type="tertiary", help="Formula, CSV, numbers" if more else "Formula and CSV", key=f"more-{key}"
        ):
            st.latex(figure.layout.meta["formula"])
            st.download_button(
                "CSV",
                lambda: table.to_csv(index=False),
                file_name=file_name,
                mime="text/csv",
                icon=":material/download:",
                on_click="ignore",
                key=f"csv-{key}",
            )
            if more is not None:
                more()


def clicked(key: str) -> str | None:
    """Return the first entry of what was clicked in the figure `key`, None if a click took a selection back."""
    points = st.session_state[key]["selection"]["points"]
    return customdata(points[0])[0] if points else None


def customdata(point: dict[str, Any]) -> list[Any]:
    """Return the data of a selected point, which arrives as a list or as a dict of positions."""
    data = point["customdata"]
    return list(data.values()) if isinstance(data, dict) else list(data)
