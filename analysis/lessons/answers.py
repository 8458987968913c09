"""What a question says to an answer."""

from __future__ import annotations

from typing import NamedTuple


class Answer(NamedTuple):
    """The reply to an answer.

    Attributes:
        right: Whether it is right.
        sentence: Why, or what to look at again; for people.
    """

    right: bool
    sentence: str


def near(given: float, expected: float, tolerance: float = 0.01) -> bool:
    """Whether a number that someone typed is `expected`, up to a part `tolerance` of it."""
    return abs(given - expected) <= tolerance * abs(expected)
