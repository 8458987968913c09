"""Many visitors at once, without a browser: nothing goes wrong, and the benchmark of the app counts what it says."""

import asyncio
import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.load import measure, server, walk
from app.load.visitor import Visitor


def run(visits):
    """Return what a coroutine returns: in a thread, since a browser's loop may be running in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, visits).result()


pytestmark = [pytest.mark.slow, pytest.mark.enable_socket]


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return tmp_path_factory.mktemp("load") / "log"


@pytest.fixture(scope="module")
def running(tmp_path_factory, log):
    with log.open("w") as stream, server.running_app(tmp_path_factory.mktemp("load"), log=stream) as running:
        yield running


def test_six_visitors_on_all_pages_see_no_error(running, log):
    figures, complaints = run(walk.walk(running, clients=6, turns=30))
    assert not complaints
    assert figures > 30
    assert "Traceback" not in log.read_text()


def test_a_page_about_no_adapter_is_complained_of(running):
    async def visit():
        async with Visitor(running.address) as visitor:
            await visitor.turn("explore", adapter="no such adapter")
            return visitor.complaints

    [sentence] = run(visit())
    assert "no such adapter" in sentence


def test_a_turn_is_the_page_that_was_asked_for(running):
    async def visit():
        async with Visitor(running.address) as visitor:
            labels = measure.matrices("BBC headlines · plain")[:2]
            turns = [
                await visitor.turn("explore", adapter="BBC headlines · plain", matrix=element) for element in labels
            ]
            again = await visitor.turn("explore", adapter="BBC headlines · plain", matrix=labels[1])
            race = await visitor.turn("race", tab="Budgets")
        return [*turns, again, race]

    first, second, again, race = run(visit())
    assert first.figures == second.figures == again.figures == 5
    assert again.received < second.received < first.received  # a browser keeps what it was sent before
    assert 0 < first.first_figure < first.seconds
    assert race.figures != 5


@pytest.mark.parametrize(("percent", "value"), [(50, 2), (51, 3), (95, 4), (0, 1)])
def test_a_percentile_is_one_of_the_numbers(percent, value):
    assert measure.percentile([1, 2, 3, 4], percent) == value


def test_requests_reach_every_page():
    order, labels = random.Random(0), {"a": ["x"], "b": ["y"]}
    pages = {walk.request(order, ["a", "b"], labels)[0] for _ in range(100)}
    assert pages == {"", "explore", "race", "learn"}
