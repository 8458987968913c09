"""The band of M is counted and ordered in one place, which opens files without torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from svft_bands import band_indices, band_size, half_width, nearest_half_width

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_a_band_is_all_entries_within_its_half_width_diagonal_by_diagonal(n):
    for d in range(n + 1):
        expected = [i * n + i + o for o in range(-d, d + 1) for i in range(n) if 0 <= i + o < n]
        assert band_indices(n, d).tolist() == expected
        assert band_size(n, d) == len(expected)
        assert half_width(len(expected), n) == nearest_half_width(n, len(expected)) == min(d, n - 1)
    sizes = {band_size(n, d) for d in range(n)}
    assert all(half_width(k, n) is None for k in range(n * n + 2) if k not in sizes)


def test_a_band_within_the_leading_block_keeps_the_places_of_the_whole():
    assert band_indices(4, 1, rank=2).tolist() == [4, 0, 5, 1]


def test_an_svft_adapter_opens_without_torch():
    code = (
        "import sys; from analysis.adapters import open_adapter; "
        "adapter = open_adapter('analysis/adapters/bbc_headlines-banded'); adapter.matrix(adapter.names[0]); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
