"""Figures as one HTML file that needs nothing else: no server, no network."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

import plotly.graph_objects as go

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #262730; }}
figure {{ margin: 2rem 0; }}
</style>
<h1>{title}</h1>
<p>{introduction}</p>
{figures}
</html>
"""


def write_page(path: Path, title: str, introduction: str, figures: Sequence[go.Figure]) -> None:
    """Write figures, each with its caption, to one HTML file.

    Args:
        path: Of the file; its directory is made if it is missing.
        title: Plain text.
        introduction: One paragraph of plain text.
        figures: As the functions of this package return them.
    """
    parts = [
        f'<figure role="group" aria-label="{escape(figure.layout.meta["alt"])}">'
        # Plotly's code goes into the file once.
        + figure.to_html(full_html=False, include_plotlyjs=place == 0, config={"displayModeBar": False})
        + f"<figcaption>{escape(figure.layout.meta['caption'])}</figcaption></figure>"
        for place, figure in enumerate(figures)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    page = _PAGE.format(title=escape(title), introduction=escape(introduction), figures="\n".join(parts))
    path.write_text(page, encoding="utf-8")
