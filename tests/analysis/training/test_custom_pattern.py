"""A pattern of one's own, from a file."""

import pytest

from analysis.common.errors import UserError
from analysis.training.custom_pattern import read_pattern


def test_pairs_are_read():
    assert read_pattern(b"[[0, 0], [3, 1]]") == ((0, 0), (3, 1))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b"7",
        b"[[0, 0, 0]]",
        b"[[0, -1]]",
        b"[[0, 1.5]]",
        b"[[true, 0]]",
        b'["ab"]',
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_anything_else_is_refused(content):
    with pytest.raises(UserError, match="is not a pattern"):
        read_pattern(content)
