"""What the figures of running trials share: Altair, because it updates a chart in place.

A chart stays in the page, with its hover, as long as its specification does not change: so axes, scales and colours
depend on what is planned, and only the data on what has happened. Its zoom stays if Streamlit is told of it, with
``st.altair_chart(chart, theme=None, key=…, on_select="rerun", selection_mode=ZOOM)``: it takes back the zoom that it
does not know of whenever the data change.
"""

from __future__ import annotations

from typing import TypeVar

import altair as alt

from analysis.figures.theme import FONT_SIZE, SMALL_FONT_SIZE, Theme

ZOOM = "zoom"  # the parameter that holds the part of the axes that is shown

_FONT = "Source Sans, Source Sans Pro, sans-serif"
_PADDING = {"left": 4, "right": 4, "top": 10, "bottom": 4}  # pixels: half of a label stands above the plot
_Chart = TypeVar("_Chart", alt.Chart, alt.LayerChart)
_LABELS = 34  # pixels: width of the labels of a vertical axis; its title stays where it was, labels get longer


def in_house_style(chart: _Chart, theme: Theme) -> _Chart:
    """Return the chart with the fonts and colours of the Plotly figures; show it with Streamlit's ``theme=None``.

    Streamlit turns to a canvas at 2,000 marks, and leaves each mark's accessible name out at 5,000: both would change
    the specification while the data grow, so both are set from the start.
    """
    text = {"labelColor": theme.text, "titleColor": theme.text, "labelFontSize": SMALL_FONT_SIZE}
    title = {"titleFontSize": FONT_SIZE, "titleFontWeight": "normal"}
    return (
        chart.properties(usermeta={"embedOptions": {"renderer": "canvas"}})
        .configure(background="transparent", font=_FONT, padding=_PADDING)
        .configure_mark(aria=False)
        .configure_view(stroke=None)
        .configure_axis(**text, **title, gridColor=theme.grid, domainColor=theme.grid, tickColor=theme.grid)
        .configure_axisY(minExtent=_LABELS)
        .configure_legend(**text, **title, labelLimit=260)
    )
