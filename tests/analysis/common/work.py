"""What jobs do in tests: in a module of its own, so that their processes import little."""

from __future__ import annotations

import threading

from analysis.common.errors import UserError


def count(n):
    yield n
    for number in range(n):
        yield {"number": number}


def refuse(name):
    yield 1
    raise UserError(f"There is no adapter {name}.")


def break_down():
    import numpy as np

    yield 1
    yield np.ones(2) + np.ones(3)


def go_on_for_ever():
    yield 1
    while True:
        threading.Event().wait(60)
