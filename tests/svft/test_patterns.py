"""Patterns Ω and how a budget is shared."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft import PeftModel, get_peft_model

import svft
from analysis.adapters import open_adapter
from svft.patterns import (
    PATTERNS,
    banded_indices,
    directions_within,
    effective_pattern,
    nearest_off_diag,
    pattern_size,
    plain_indices,
    spread_budget,
)
from tests.svft.tiny import config_for, make_model, svft_layers

n_and_off_diag = st.integers(1, 12).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n + 2)))


def draw(name: str, n: int, k: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    U, V = torch.randn(n, n, generator=generator), torch.randn(n, n, generator=generator)
    return PATTERNS[name].function(n, k, seed=seed, U=U, V=V)


@given(n_and_off_diag)
def test_the_size_of_a_band_is_counted_by_its_definition(sizes):
    n, d = sizes
    band = sum(abs(j - i) <= d for i in range(n) for j in range(n))
    assert pattern_size(n, d) == band


@given(st.sampled_from(list(PATTERNS)), n_and_off_diag, st.integers(0, 2**40))
def test_indices_are_distinct_and_within_the_matrix(name, sizes, seed):
    n, d = sizes
    k = pattern_size(n, d)
    flat = draw(name, n, k, seed)
    assert flat.dtype == torch.int64
    assert len(set(flat.tolist())) == len(flat)
    assert flat.min() >= 0
    assert flat.max() < n * n
    if PATTERNS[name].sized:  # whole bands are met exactly by all of them
        assert len(flat) == k


@given(st.sampled_from(["random", "top_k"]), st.integers(1, 12), st.data())
def test_random_and_top_k_meet_any_budget_exactly_in_ascending_order(name, n, data):
    k = data.draw(st.integers(1, n * n))
    flat = draw(name, n, k)
    assert len(flat) == k
    assert (flat.diff() > 0).all()


@given(st.integers(1, 12), st.data())
def test_banded_takes_the_nearest_half_width(n, data):
    k = data.draw(st.integers(1, n * n))
    distance = [abs(pattern_size(n, d) - k) for d in range(n)]
    assert abs(pattern_size(n, nearest_off_diag(n, k)) - k) == min(distance)
    assert len(draw("banded", n, k)) == pattern_size(n, nearest_off_diag(n, k))


@given(n_and_off_diag, st.data())
def test_plain_and_banded_follow_their_storage_order_within_the_leading_block(sizes, data):
    n, d = sizes
    r = data.draw(st.integers(1, n))
    assert plain_indices(n, r).tolist() == [i * n + i for i in range(r)]
    by_diagonal = [i * n + i + o for o in range(-d, d + 1) for i in range(r) if 0 <= i + o < r]
    assert banded_indices(n, d, r).tolist() == by_diagonal


@given(st.integers(2, 10), st.data())
def test_top_k_is_the_largest_alignment_found_by_brute_force(n, data):
    k = data.draw(st.integers(1, n * n))
    U, V = torch.linalg.qr(torch.randn(n, n)).Q, torch.linalg.qr(torch.randn(n, n)).Q
    alignment = (U.T @ V).abs().flatten()
    chosen = PATTERNS["top_k"].function(n, k, seed=0, U=U, V=V)
    threshold = np.sort(alignment.numpy())[-k]
    assert alignment[chosen].min() >= threshold
    assert len(chosen) == k


def test_random_depends_on_its_seed_and_on_nothing_else():
    assert torch.equal(draw("random", 9, 20, seed=3), draw("random", 9, 20, seed=3))
    assert not torch.equal(draw("random", 9, 20, seed=3), draw("random", 9, 20, seed=4))


@given(st.lists(st.integers(1, 64), min_size=1, max_size=12), st.data())
def test_a_budget_is_spread_exactly_and_in_proportion_to_n(sizes, data):
    capacity = [n * n for n in sizes]
    budget = data.draw(st.integers(len(sizes), sum(capacity)))
    shares = spread_budget(budget, sizes)
    assert sum(shares) == budget
    assert all(1 <= share <= full for share, full in zip(shares, capacity))
    if budget <= min(sizes) * len(sizes):  # no matrix is full, so that only rounding stands between
        for share, n in zip(shares, sizes):
            assert abs(share - budget * n / sum(sizes)) <= max(1, len(sizes))


@pytest.mark.parametrize("budget", [0, 2, 16 + 25 + 36 + 1])
def test_a_budget_that_cannot_be_met_is_refused_with_its_limits(budget):
    with pytest.raises(ValueError, match=r"between 3 \(one entry per matrix\) and 77 \(every entry\)"):
        spread_budget(budget, [4, 5, 6])


@given(st.sampled_from(["plain", "banded", "block"]), st.integers(1, 40), st.data())
def test_a_small_budget_leaves_the_number_of_leading_directions_that_comes_nearest(name, n, data):
    k = data.draw(st.integers(1, n * n))
    entries = {"plain": lambda r: r, "banded": lambda r: pattern_size(r, min(1, r - 1)), "block": lambda r: r * r}[
        name
    ]
    r = directions_within(name, n, k)
    if name == "banded" and k >= pattern_size(n, 1):
        assert r == n
    elif (name, k) == ("banded", 3):  # between 1 and 4 entries; with 4, the nearest half-width would be 0
        assert r == 1
    else:
        assert abs(entries(r) - k) == min(abs(entries(side) - k) for side in range(1, n + 1))
    assert directions_within(name, n, len(draw(name, r, k))) == r  # as a file's reader finds it again
    assert directions_within("random", n, k) == n


@pytest.mark.parametrize(
    ("pattern", "budget", "entries"),
    [("plain", 30, 30), ("banded", 12 * 7, 12 * 7), ("banded", 12 * 8, 12 * 7), ("block", 12 * 10, 12 * 9)],
)
def test_patterns_of_few_entries_train_the_leading_directions(pattern, budget, entries, tmp_path):
    model = get_peft_model(make_model(), svft.SvftConfig(pattern=pattern, budget=budget, init_weights=False))
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == entries
    for layer in svft_layers(model).values():
        rows, cols = layer.coefficient_positions("default")
        r = layer.spec["default"].rank
        assert max(rows.max(), cols.max()) == r - 1 <= 2
        delta = layer.get_delta_weight("default")
        assert torch.linalg.matrix_rank(delta, atol=1e-5) <= r
    model.save_pretrained(tmp_path)
    adapter = open_adapter(tmp_path)
    for module, layer in svft_layers(model).items():
        matrix = adapter.matrix(module.removeprefix("base_model.model."))
        rows, cols = layer.coefficient_positions("default")
        assert [matrix.rows.tolist(), matrix.cols.tolist()] == [rows.tolist(), cols.tolist()]
    loaded = PeftModel.from_pretrained(make_model(), tmp_path)
    for layer, other in zip(svft_layers(model).values(), svft_layers(loaded).values(), strict=True):
        assert torch.allclose(layer.get_delta_weight("default"), other.get_delta_weight("default"), atol=1e-6)


def test_a_block_takes_the_leading_square_and_without_a_rank_every_entry():
    for options, r in (({"rank": 3}, 3), ({}, 16)):
        model = get_peft_model(make_model(), svft.SvftConfig(pattern="block", **options))
        assert all(len(layer.svft_coefficients["default"]) == r * r for layer in svft_layers(model).values())


@pytest.mark.parametrize("pattern", ["random", "top_k", "banded"])
def test_the_budget_of_an_adapter_counts_all_its_matrices(pattern):
    budget = 1234
    model = get_peft_model(make_model(), svft.SvftConfig(pattern=pattern, budget=budget))
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    if pattern == "banded":
        assert abs(trainable - budget) <= 12 * 16  # half a diagonal pair a matrix
    else:
        assert trainable == budget


def test_top_k_falls_back_to_random_on_rectangular_weights_and_says_so():
    assert effective_pattern("top_k", (16, 16)) == "top_k"
    assert effective_pattern("top_k", (40, 16)) == "random"
    assert effective_pattern("custom", (40, 16)) == "custom"
    layers = svft_layers(get_peft_model(make_model(), config_for("top_k")))
    for layer in layers.values():
        square = layer.out_features == layer.in_features
        assert layer.spec["default"].pattern == ("top_k" if square else "random")


def test_top_k_of_a_layer_equals_brute_force_on_its_basis():
    layers = svft_layers(get_peft_model(make_model(), config_for("top_k", target_modules=["query"])))
    for layer in layers.values():
        U, V = layer.get_basis("default")
        alignment = (U.T @ V).abs().flatten()
        k = layer.svft_coefficients["default"].numel()
        expected = alignment.argsort(descending=True)[:k].sort().values
        assert torch.equal(layer.svft_indices["default"].long(), expected)


def test_matrices_of_equal_shape_get_different_random_patterns():
    layers = svft_layers(get_peft_model(make_model(), config_for("random", target_modules=["query", "key"])))
    drawn = {tuple(layer.svft_indices["default"].tolist()) for layer in layers.values()}
    assert len(drawn) == len(layers)


def test_custom_indices_are_taken_as_they_are():
    model = get_peft_model(make_model(), config_for("custom"))
    for layer in svft_layers(model).values():
        assert layer.svft_indices["default"].tolist() == [0, 21, 33, 115]  # (0,0) (1,5) (2,1) (7,3), sorted, n = 16


def test_custom_indices_must_name_every_adapted_matrix_and_stay_within_the_matrix():
    with pytest.raises(ValueError, match=r"no entry for bert.encoder.layer.0.attention.self.key"):
        get_peft_model(
            make_model(),
            svft.SvftConfig(pattern="custom", custom_indices={"query": [(0, 0)]}, target_modules=["query", "key"]),
        )
    with pytest.raises(ValueError, match=r"reaches \(16\), but M of .* is 16×16"):
        get_peft_model(
            make_model(),
            svft.SvftConfig(pattern="custom", custom_indices={"query": [(0, 16)]}, target_modules=["query"]),
        )
