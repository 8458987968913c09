"""Painted patterns, and the lemma on them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.lessons import lemma, painting
from analysis.lessons.painting import BLOCK, SIDE, N
from analysis.lessons.weights import WEIGHTS, load_weight
from svft.patterns import PATTERNS, register_pattern

cells = st.sets(st.integers(0, SIDE * SIDE - 1), max_size=40)


@given(cells)
@settings(max_examples=30)
def test_cells_are_blocks_of_entries(painted):
    flat = painting.entries_of(painted)
    M = np.zeros((N, N), bool)
    M.flat[flat] = True
    blocks = M.reshape(SIDE, BLOCK, SIDE, BLOCK)
    expected = np.zeros(SIDE * SIDE, bool)
    expected[list(painted)] = True
    assert len(flat) == len(set(flat.tolist())) == BLOCK**2 * len(painted)
    assert np.array_equal(blocks.all(axis=(1, 3)).ravel(), expected)
    assert np.array_equal(painting.density(flat).ravel(), expected.astype(float))


@given(cells)
@settings(max_examples=30)
def test_the_rank_of_cells_is_that_of_their_entries(painted):
    assert painting.facts_of_cells(painted) == painting.facts_of_entries(painting.entries_of(painted))


def test_the_facts_of_known_patterns():
    diagonal = painting.facts_of_cells(painting.diagonal_cells())
    assert (diagonal.k, diagonal.structural_rank, diagonal.lora_rank) == (24 * 256, 384, 8)
    row = painting.facts_of_cells(painting.row_cells(3))
    assert (row.k, row.structural_rank) == (24 * 256, 16)
    assert painting.facts_of_cells(()) == painting.Facts(0, 0)


def test_the_question_is_checked():
    few = painting.check_low_rank({0})
    spread = painting.check_low_rank(painting.diagonal_cells())
    crowded = painting.check_low_rank({*painting.row_cells(0), *painting.row_cells(1)})
    assert not few.right
    assert "at least 24" in few.sentence
    assert not spread.right
    assert "rank 384" in spread.sentence
    assert crowded.right
    assert "exceed 32" in crowded.sentence


@pytest.mark.parametrize("name", ["plain", "banded", "random", "top_k"])
def test_registered_patterns_have_the_entries_of_the_method(name):
    flat = painting.registered_entries(name, N if name == "plain" else 2)
    weight = load_weight("square")
    U, V = torch.from_numpy(weight.U), torch.from_numpy(weight.V)
    k = N if name == "plain" else 5 * N - 6
    assert sorted(PATTERNS[name].function(N, k, seed=0, U=U, V=V).tolist()) == flat.tolist()
    assert len(flat) == k


@pytest.mark.parametrize(("name", "k"), [("plain", 32), ("block", 32 * 32)])
def test_patterns_without_a_width_are_sized_by_their_leading_directions(name, k):
    i, j = np.divmod(painting.registered_entries(name, 32), N)
    assert len(i) == k
    assert max(i.max(), j.max()) == 31


def test_a_pattern_registered_elsewhere_is_one_of_them(monkeypatch):
    monkeypatch.setitem(PATTERNS, "corner", None)  # taken out again after the test
    register_pattern("corner", "The first k entries.")(lambda n, k, *, seed, U, V: torch.arange(k))
    assert painting.registered_entries("corner", 0).tolist() == list(range(N))


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_are_decomposed(name):
    weight = load_weight(name)
    assert np.allclose((weight.U * weight.sigma) @ weight.V.T, weight.W)
    assert (weight.W.shape[0] == weight.W.shape[1]) == (name == "square")


def test_all_of_m_reaches_a_target_from_a_square_weight_and_not_from_a_rectangular_one():
    square, rectangular = (load_weight(name) for name in WEIGHTS)
    assert lemma.reach(square, lemma.target(square), None).residual < 1e-24
    left = lemma.reach(rectangular, lemma.target(rectangular), None)
    assert left.residual == pytest.approx(left.outside_basis, rel=1e-12)
    assert left.residual > 0.7
    # A target within the span of the singular vectors is reached.
    M = np.random.default_rng(0).standard_normal((N, N))
    within = rectangular.W + rectangular.U @ M @ rectangular.V.T
    assert lemma.reach(rectangular, within, None).residual < 1e-24


@pytest.mark.parametrize("name", WEIGHTS)
def test_both_sides_of_the_lemma_agree_on_a_pattern(name):
    weight = load_weight(name)
    flat = painting.entries_of({*painting.row_cells(2), 100, 200, 300})
    actual = lemma.reach(weight, lemma.target(weight), flat)
    assert actual.residual == pytest.approx(actual.not_in_pattern + actual.outside_basis, rel=1e-10)
    assert actual.reached + actual.residual == pytest.approx(1, rel=1e-10)
    # No other M on the pattern comes nearer: the gradient of the residual vanishes there.
    M = np.zeros((N, N))
    M.flat[flat] = (weight.U.T @ (lemma.target(weight) - weight.W) @ weight.V).flat[flat]
    rest = lemma.target(weight) - weight.W - weight.U @ M @ weight.V.T
    assert np.abs((weight.U.T @ rest @ weight.V).flat[flat]).max() < 1e-10
    assert lemma.update_rank(weight, flat) == painting.facts_of_entries(flat).structural_rank


def test_the_table_has_both_patterns_on_both_weights():
    weights = {name: load_weight(name) for name in WEIGHTS}
    table = lemma.reach_table(weights, painting.entries_of(painting.diagonal_cells()))
    assert table["weight"].tolist() == ["square 384×384"] * 2 + ["rectangular 1536×384"] * 2
    assert table["pattern"].tolist() == ["all of M", "your Ω"] * 2
    assert (table[["reached", "not_in_pattern", "outside_basis"]].sum(axis=1) - 1).abs().max() < 1e-12
