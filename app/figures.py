"""How a figure stands on a page: the figure, one sentence under it, and formula and CSV behind "⋯"."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from types import SimpleNamespace
from typing import Any, Literal

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from analysis.common.kept import Kept
from analysis.figures.plain import PlainFigure
from analysis.figures.theme import THEMES, Theme


def theme() -> Theme:
    """Return the appearance that the browser shows."""
    return THEMES[st.context.theme.type or "light"]


class Built(go.Figure):
    """A figure as it is sent to a browser, made once for all visitors: nobody can change it.

    Attributes:
        layout: Its ``meta``, the words around the figure.
    """

    layout = None  # type: ignore[assignment]  # not Plotly's property

    def __init__(self, sent: dict[str, Any]) -> None:
        self._sent = sent
        self.layout = SimpleNamespace(meta=sent["layout"]["meta"])

    def to_dict(self) -> dict[str, Any]:
        """Return the figure as Streamlit sends it."""
        return self._sent


def build(figure: Callable[..., go.Figure], *tables: Any, **options: Hashable) -> Built:
    """Return ``figure(*tables, **options)``, built once for all visitors.

    Args:
        figure: Of `analysis.figures`.
        tables: Of `app.data`, which keeps one object for the same numbers, and of which nobody changes any.
        options: Theme, names, what is selected.
    """
    # The tables are kept with the figure: while they are here, their ids are nobody else's.
    key = (figure, *map(id, tables), *sorted(options.items()))
    return _built.get(key, lambda: (Built(figure(*tables, **options).to_dict()), tables))[0]


_MOST_BUILT = 256
_built: Kept[tuple[Built, tuple]] = Kept(_MOST_BUILT)


def words(figure: go.Figure) -> dict[str, str]:
    """Return what stands around a figure."""
    plain = figure.plain_layout if isinstance(figure, PlainFigure) else None
    return plain["meta"] if plain else figure.layout.meta


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
        alt=words(figure)["alt"],
        config={"displayModeBar": False},
        on_select=on_select or "ignore",
        selection_mode=select,
    )


def explain(
    figure: go.Figure, table: pd.DataFrame, *, key: str, file_name: str, more: Callable[[], None] | None = None
) -> None:
    """Write a figure's sentence, with its formula and its table as CSV behind "⋯"; `more` draws what else is there."""
    with st.container(horizontal=True, wrap=False, key=f"foot-{key}", gap="small"):
        st.caption(words(figure)["caption"], width="stretch")
        with st.popover(
            "⋯", type="tertiary", help="Formula, CSV, numbers" if more else "Formula and CSV", key=f"more-{key}"
        ):
            st.latex(words(figure)["formula"])
            offer_csv(lambda: table, key=key, file_name=file_name, type="secondary")
            if more is not None:
                more()


def offer_csv(
    table: Callable[[], pd.DataFrame],
    *,
    key: str,
    file_name: str,
    type: Literal["secondary", "tertiary"] = "tertiary",
) -> None:
    """Draw a button that downloads a table as CSV; it is made when someone asks for it."""
    st.download_button(
        "CSV",
        lambda: table().to_csv(index=False),
        file_name=file_name,
        mime="text/csv",
        icon=":material/download:",
        type=type,
        on_click="ignore",
        key=f"csv-{key}",
    )


def clicked(key: str) -> str | None:
    """Return the first entry of what was clicked in the figure `key`, None if a click took a selection back."""
    points = st.session_state[key]["selection"]["points"]
    return customdata(points[0])[0] if points else None


def customdata(point: dict[str, Any]) -> list[Any]:
    """Return the data of a selected point, which arrives as a list or as a dict of positions."""
    data = point["customdata"]
    return list(data.values()) if isinstance(data, dict) else list(data)
