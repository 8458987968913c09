"""The benchmark's numbers mean what they say."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from analysis.planning import benchmark
from analysis.training.methods import count_budget
from svft.cache import cache_directory, cache_files
from svft.layer import SvftLayer


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


@pytest.mark.slow
def test_every_method_of_the_registry_is_measured_and_every_pattern_at_few_entries():
    built = benchmark._models()
    few = {title: model for title, model in built.items() if title.endswith(" entries")}
    # all but head only, custom and chosen, and the dense rebuild
    assert len(built) == len(benchmark.METHODS) - 2 + len(few)
    assert sum(benchmark.DENSE_REBUILD in name for name in built) == 1
    assert len(few) == 6
    for title, model in few.items():
        budget = int(title.split(", ")[1].removesuffix(" entries").replace(",", ""))
        assert count_budget(model) == pytest.approx(budget, abs=36)
        assert all(layer.svft_shared_U is None for layer in model.modules() if isinstance(layer, SvftLayer))


def test_a_fresh_cache_is_empty_and_goes_away(monkeypatch):
    before = cache_directory()
    with benchmark._fresh_cache():
        inside = cache_directory()
        assert inside != before
        assert cache_files() == []
    assert cache_directory() == before
    assert not inside.exists()
