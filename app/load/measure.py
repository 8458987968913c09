"""What the app costs its server: a turn, a crowd, an arrival, a visitor's memory, a start.

Servers are fresh: their studies and the caches on disk are in directories of their own. CPU time is the server's own;
the processes that it starts to measure and to train are left out.
"""

from __future__ import annotations

import asyncio
import math
import random
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import IO

from analysis.adapters.opening import open_adapter
from analysis.adapters.shipped import shipped_adapters
from app.load.server import Server, running_app
from app.load.visitor import Turn, Visitor
from app.selection import VIEWS

EVERY = 8.0  # seconds between two turns of one visitor
TOGETHER = 10  # visitors who arrive at once
_TURNS = 12  # of one visitor, in each view
_REST = 0.05  # of a core: what a server at rest computes at most
_LONGEST_REST = 240  # seconds

Report = Callable[[str], None]


@dataclass(frozen=True)
class Measured:
    """One line of the table.

    Attributes:
        what: What was measured.
        value: The number.
        unit: Its unit.
    """

    what: str
    value: float
    unit: str


@contextmanager
def fresh_server(log: IO[str] | None = None, *, wait: bool = True) -> Iterator[Server]:
    """Run the app with nothing kept from before."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        cache = str(Path(directory) / "cache")
        with running_app(Path(directory) / "data", log=log, wait=wait, SVFT_CACHE_DIR=cache) as server:
            yield server


def matrices(adapter: str) -> list[str]:
    """Return the labels of the matrices of a shipped adapter."""
    return list(open_adapter(shipped_adapters()[adapter]).matrices["label"])


@asynccontextmanager
async def visitors(server: Server, count: int) -> AsyncIterator[list[Visitor]]:
    """Let so many visitors come, and leave in the end."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(Visitor(server.address)) for _ in range(count)]


def measure_app(clients: int, seconds: float, report: Report = lambda _: None) -> Iterator[dict]:
    """Measure everything, with so many visitors in the crowd for so many seconds.

    Yields:
        Lines of the table, see `Measured`, as dicts.
    """
    with tempfile.TemporaryFile("w+") as log:
        report("a cold start")
        with fresh_server(log, wait=False) as server:
            lines = asyncio.run(_cold_start(server))
        yield from map(asdict, lines)
        with fresh_server(log) as server:
            for lines in asyncio.run(_collect(_on_one_server(server, clients, seconds, report))):
                yield from map(asdict, lines)
        log.seek(0)
        yield asdict(Measured("tracebacks in the server's log", log.read().count("Traceback (most recent"), ""))


async def _cold_start(server: Server) -> list[Measured]:
    while True:
        try:
            async with Visitor(server.address) as visitor:
                before = time.perf_counter() - server.began
                turn = await visitor.turn()
                break
        except OSError:
            await asyncio.sleep(0.05)
    return [
        Measured("cold start, to the first figure", before + (turn.first_figure or turn.seconds), "s"),
        Measured("cold start, to the end of the first run", before + turn.seconds, "s"),
    ]


async def _collect(measured: AsyncIterator[list[Measured]]) -> list[list[Measured]]:
    return [lines async for lines in measured]


async def _on_one_server(
    server: Server, clients: int, seconds: float, report: Report
) -> AsyncIterator[list[Measured]]:
    report(f"{TOGETHER} visitors at once")
    async with visitors(server, TOGETHER) as arriving:
        turns = await asyncio.gather(*(visitor.turn() for visitor in arriving))
    first = [turn.first_figure or turn.seconds for turn in turns]
    yield [
        Measured(f"{TOGETHER} first visitors at once, first figure, median", median(first), "s"),
        Measured(f"{TOGETHER} first visitors at once, first figure, last", max(first), "s"),
        Measured(f"{TOGETHER} first visitors at once, end of the run, last", max(turn.seconds for turn in turns), "s"),
    ]
    adapter = next(name for name in shipped_adapters() if name.endswith("banded"))
    labels = matrices(adapter)
    for view in VIEWS[:2]:
        report(f"one visitor, {view}")
        yield await _one(server, adapter, view, labels[1 : 1 + _TURNS])
    report(f"{clients} visitors, a turn every {EVERY:g} s")
    async with visitors(server, clients) as crowd:
        await asyncio.gather(*(visitor.turn("explore", adapter=adapter) for visitor in crowd))
        await _rest(server)
        before = server.memory()
        async with visitors(server, clients) as more:
            await asyncio.gather(*(visitor.turn("explore", adapter=adapter) for visitor in more))
            yield [Measured("memory of one more visitor", (server.memory() - before) / clients / 1e6, "MB")]
        cpu, began = server.cpu(), time.perf_counter()
        turns = await _crowd(crowd, adapter, labels, seconds)
        used = (server.cpu() - cpu) / (time.perf_counter() - began)
    times = sorted(turn.seconds for turn in turns)
    yield [
        Measured(f"{clients} visitors, a turn every {EVERY:g} s, median of {len(times)}", median(times), "s"),
        Measured(f"{clients} visitors, a turn every {EVERY:g} s, 95th percentile", percentile(times, 95), "s"),
        Measured(f"{clients} visitors, the server's part of a core", used, ""),
    ]


async def _one(server: Server, adapter: str, view: str, labels: Sequence[str]) -> list[Measured]:
    """Measure turns of one visitor to other matrices: the first time that anyone looks at them, and again."""
    lines = []
    async with Visitor(server.address) as visitor:
        await visitor.turn("explore", adapter=adapter, view=view)
        await _rest(server)
        for when in ("first time", "seen before"):
            cpus, walls = [], []
            for label in labels:
                cpu = server.cpu()
                walls.append((await visitor.turn("explore", adapter=adapter, view=view, matrix=label)).seconds)
                cpus.append(server.cpu() - cpu)
            what = f"another matrix, {view}, {when}"
            lines += [
                Measured(f"{what}, CPU", 1000 * sum(cpus) / len(cpus), "ms"),
                Measured(f"{what}, wall", 1000 * median(walls), "ms"),
            ]
    return lines


async def _crowd(crowd: Sequence[Visitor], adapter: str, labels: Sequence[str], seconds: float) -> list[Turn]:
    """Let each visitor turn to a random matrix every `EVERY` seconds, or at once after a turn that took longer."""

    async def walk(number: int, visitor: Visitor) -> list[Turn]:
        order, turns = random.Random(number), []
        loop = asyncio.get_running_loop()
        due, end = loop.time() + EVERY * number / len(crowd), loop.time() + seconds
        while due < end:
            await asyncio.sleep(max(due - loop.time(), 0))
            turns.append(await visitor.turn("explore", adapter=adapter, matrix=order.choice(labels)))
            due = max(due + EVERY, loop.time())
        return turns

    walks = await asyncio.gather(*(walk(number, visitor) for number, visitor in enumerate(crowd)))
    return [turn for turns in walks for turn in turns]


async def _rest(server: Server) -> None:
    """Wait until a server and the processes that it started have little to do, for some minutes at most."""
    for _ in range(_LONGEST_REST):
        before = server.cpu() + server.children_cpu()
        await asyncio.sleep(1)
        if server.cpu() + server.children_cpu() - before < _REST:
            return


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return the smallest of the ascending numbers that so many per cent of them do not exceed."""
    return ordered[max(math.ceil(len(ordered) * percent / 100), 1) - 1]
