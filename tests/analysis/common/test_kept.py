"""What is kept is made once, given to everyone, and never mixed up, whatever many threads ask at once."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from analysis.common.kept import Kept, kept

THREADS = 16


def together(work, count=THREADS):
    """Call ``work(number)`` in so many threads that begin at the same moment; return what they return."""
    start = threading.Barrier(count)

    def begin(number):
        start.wait()
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(begin, range(count)))


def test_a_value_that_many_ask_for_at_once_is_made_once():
    for _ in range(50):
        made, values = [], Kept(4)

        def make(made=made):
            made.append(object())
            return made[-1]

        seen = together(lambda _, values=values, make=make: values.get("key", make))
        assert len(made) == 1
        assert set(map(id, seen)) == {id(made[0])}


def test_who_asks_for_one_value_does_not_wait_for_another():
    values, going, go_on = Kept(4), threading.Event(), threading.Event()

    def slow():
        going.set()
        assert go_on.wait(60)
        return "slow"

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(values.get, "slow", slow)
        assert going.wait(60)
        assert values.get("quick", lambda: "quick") == "quick"
        assert values.peek("slow") is None
        go_on.set()
        assert waiting.result(60) == "slow"
    assert values.peek("slow") == "slow"


def test_each_thread_gets_the_value_of_its_key_while_there_is_room_for_few():
    values = Kept(5)

    def ask(number):
        order = random.Random(number)
        for _ in range(500):
            key = order.randrange(20)
            if order.random() < 0.02:
                values.clear(*([key] if order.random() < 0.5 else []))
            assert values.get(key, lambda key=key: (key, key * key)) == (key, key * key)
            assert len(values) <= 5

    together(ask)
    assert not values._making


def test_the_value_that_was_asked_for_longest_ago_goes_first():
    made = []
    square = kept(2)(lambda number: made.append(number) or number * number)
    assert [square(number) for number in (1, 2, 1, 3, 1, 2)] == [1, 4, 1, 9, 1, 4]
    assert made == [1, 2, 3, 2]


def test_an_error_goes_to_who_asked_and_the_next_one_tries_again():
    outcomes = iter([ValueError("not yet"), "there"])

    @kept(2)
    def work():
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    with pytest.raises(ValueError, match="not yet"):
        work()
    assert work() == work() == "there"


def test_those_who_wait_for_what_fails_try_themselves():
    attempts, values = [], Kept(2)

    def fail():
        attempts.append(None)
        raise ValueError

    def ask(_):
        with pytest.raises(ValueError):
            values.get("key", fail)

    together(ask)
    assert len(attempts) == THREADS
    assert values.get("key", lambda: 1) == 1


@pytest.mark.parametrize("keys", [("key",), ()])
def test_what_is_forgotten_while_it_is_made_is_given_and_not_kept(keys):
    values = Kept(2)

    def make():
        values.clear(*keys)
        return "old"

    assert values.get("key", make) == "old"
    assert values.peek("key") is None
    assert values.get("key", lambda: "new") == "new"


def test_something_is_entered_only_while_a_value_is_made():
    entered = []

    @contextmanager
    def around():
        entered.append(True)
        yield

    double = kept(2, around=around)(lambda number: 2 * number)
    assert [double(1), double(1), double(2)] == [2, 2, 4]
    assert len(entered) == 2
    double.clear(1)
    assert double.peek(1) is None
    assert double.peek(2) == 4
