"""Rank of ΔW against the budget."""

from __future__ import annotations

from analysis.figures.rank_budget import rank_budget
from app import figures
from app.views.race.results import Results


def show(results: Results) -> None:
    """Draw the three ranks of each configuration."""
    figure = rank_budget(results.summary, theme=figures.theme())
    figures.draw(figure, key="ranks")
    figures.explain(figure, results.summary, key="ranks", file_name="ranks.csv")
