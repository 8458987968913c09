"""Visitors who turn over all pages of the app, in an order that a seed fixes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

from analysis.adapters.recognise import recognise
from analysis.adapters.shipped import shipped_adapters
from analysis.models.packages import DEFAULT_BASE
from app.load.measure import matrices, visitors
from app.load.server import Server
from app.load.visitor import Visitor
from app.selection import RACE_TABS, VIEWS

CHAPTERS = 6

Request = tuple[str, dict[str, str]]


async def walk(server: Server, clients: int, turns: int, *, seed: int = 0) -> tuple[int, list[str]]:
    """Let visitors make so many turns in all, each at once after its last.

    Returns:
        How many figures they were shown, and what the pages complained of.
    """
    bases = {label: recognise(path).base for label, path in shipped_adapters().items()}
    adapters = [label for label, base in bases.items() if base == DEFAULT_BASE]  # any two can be compared
    labels = {adapter: matrices(adapter) for adapter in adapters}
    shares = [turns // clients + (number < turns % clients) for number in range(clients)]

    async def go(visitor: Visitor, number: int) -> int:
        order, figures = random.Random(f"{seed} {number}"), 0
        for _ in range(shares[number]):
            page, query = request(order, adapters, labels)
            figures += (await visitor.turn(page, **query)).figures
        return figures

    async with visitors(server, clients) as crowd:
        figures = await asyncio.gather(*(go(visitor, number) for number, visitor in enumerate(crowd)))
        return sum(figures), [complaint for visitor in crowd for complaint in visitor.complaints]


def request(order: random.Random, adapters: Sequence[str], labels: dict[str, list[str]]) -> Request:
    """Return a page, and a query that it understands."""
    adapter, other = order.choice(adapters), order.choice(adapters)
    chosen = {"adapter": adapter, "matrix": order.choice(labels[adapter])}
    return order.choice(
        [
            ("", {"adapter": adapter}),
            ("explore", chosen | {"view": VIEWS[0]}),
            ("explore", chosen | {"view": VIEWS[1]}),
            ("explore", chosen | {"view": VIEWS[2]}),
            ("explore", chosen | {"vs": other, "view": order.choice(VIEWS[:2])}),
            ("race", {"tab": order.choice(RACE_TABS)}),
            ("learn", {"chapter": str(order.randint(1, CHAPTERS))}),
        ]
    )
