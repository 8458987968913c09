"""Numbers that people type, on the command line and in links."""

from __future__ import annotations

import math

from analysis.common.errors import UserError


def number(text: str) -> float:
    """Return a finite number.

    Raises:
        UserError: If the text is not one.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(f"{text!r} is not a number.")
    return value


def whole_numbers(text: str) -> tuple[int, ...]:
    """Return the whole numbers of a list, in which ``0-4`` stands for five: ``0,1,2``, ``0-4``, ``41_472``.

    Raises:
        UserError: If the text is not such a list.
    """
    numbers: list[int] = []
    try:
        for word in _words(text):
            first, dash, last = word.partition("-")
            numbers += range(int(first), int(last) + 1) if dash else [int(word)]
    except ValueError as error:
        raise UserError(f"{text!r} is not a list of whole numbers: write them as 0,1,2 or 0-4.") from error
    return tuple(numbers)


def numbers(text: str) -> tuple[float, ...]:
    """Return the numbers of a list: ``1e-3,3e-3``.

    Raises:
        UserError: If the text is not such a list.
    """
    return tuple(number(word) for word in _words(text))


def _words(text: str) -> list[str]:
    return [word for word in map(str.strip, text.split(",")) if word]
