"""A pattern of one's own, for the method custom: a JSON file with the entries (i, j) of M that are trained."""

from __future__ import annotations

import json

from analysis.common.errors import UserError


def read_pattern(content: bytes) -> tuple[tuple[int, int], ...]:
    """Return the entries (i, j) in a JSON file's content.

    Raises:
        UserError: If it is not a list of pairs of whole numbers of at least 0.
    """
    try:
        pairs = [tuple(pair) for pair in json.loads(content)]
    except (ValueError, TypeError, RecursionError):
        pairs = []
    if not pairs or not all(len(pair) == 2 and all(type(k) is int and k >= 0 for k in pair) for pair in pairs):
        raise UserError(
            "This is not a pattern: a JSON file with a list of entries [i, j] is expected, such as [[0, 0], [0, 1]]."
        )
    return tuple(pairs)
