"""The benchmark's numbers mean what they say."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from analysis import benchmark
from analysis.benchmark import _Contestant, _interleave, _peak_bytes
from svft.decomposition import cache_directory, cache_files


def _contestant(name: str, megabytes: int) -> _Contestant:
    model = nn.Linear(8, 8)
    return _Contestant(name, model, lambda: torch.zeros(megabytes * 250_000).add_(1))


def test_ratios_are_relative_to_lora():
    table = _interleave([_contestant("LoRA r=8", 1), _contestant("other", 1)], rounds=3).set_index("method")
    assert table.loc["LoRA r=8", ["time_ratio", "memory_ratio"]].tolist() == [1.0, 1.0]
    assert table.loc["other", "time_ratio"] == pytest.approx(
        table.loc["other", "seconds"] / table.loc["LoRA r=8", "seconds"]
    )


@pytest.mark.parametrize("megabytes", [4, 16])
def test_peak_counts_what_a_step_allocates_on_top_of_what_is_resident(megabytes):
    resident = (8 * 8 + 8) * 4 * 3  # weight and bias, and two optimizer moments of each
    assert _peak_bytes(_contestant("x", megabytes)) == pytest.approx(resident + megabytes * 1e6, rel=1e-3)


def test_singular_values_through_m_equal_those_of_the_dense_update(monkeypatch):
    monkeypatch.setattr(benchmark, "LARGE_LAYER", (96, 40))
    monkeypatch.setattr(benchmark, "LARGE_OFF_DIAG", 3)
    table = benchmark.singular_values_of_update().set_index("what")
    assert table.loc["through M", "largest_difference"] < 1e-5


def test_dense_rebuild_computes_what_svft_computes():
    torch.manual_seed(0)
    layer = nn.Linear(12, 20)
    rebuilt = benchmark.DenseRebuild(layer, off_diag=1)
    x = torch.randn(3, 12)
    torch.testing.assert_close(rebuilt(x), layer(x), atol=1e-5, rtol=1e-5)


def test_every_method_of_the_registry_is_measured(monkeypatch):
    built = benchmark._models()
    assert len(built) == len(benchmark.METHODS)  # all but head only, and the dense rebuild in its place
    assert sum(benchmark.DENSE_REBUILD in name for name in built) == 1


def test_a_fresh_cache_is_empty_and_goes_away(monkeypatch):
    before = cache_directory()
    with benchmark._fresh_cache():
        inside = cache_directory()
        assert inside != before
        assert cache_files() == []
    assert cache_directory() == before
    assert not inside.exists()
