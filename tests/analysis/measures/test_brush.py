"""A box in M: its energy against the dense matrix, its levels against draws of noise, its text."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.adapters.adapter import Projection
from analysis.measures.brush import DRAWS, Brush, both_hold, brush_row, brush_table, brushed, strongest_boxes
from analysis.measures.noise import random_update
from tests.analysis.synthetic import band, make_matrix

N = 12


@st.composite
def matrices(draw):
    k = draw(st.integers(1, N * N))
    seed = draw(st.integers(0, 2**20))
    flat = np.random.default_rng(seed).choice(N * N, size=k, replace=False)
    return make_matrix(flat // N, flat % N, m=N, seed=seed)


@st.composite
def brushes(draw):
    """Boxes of both kinds, some of them beyond the matrix."""
    by = draw(st.sampled_from("jo"))
    rows = sorted(draw(st.tuples(*[st.integers(0, N + 3)] * 2)))
    across = sorted(draw(st.tuples(*[st.integers(0 if by == "j" else -N, N + 3)] * 2)))
    return Brush(tuple(rows), tuple(across), by)


def dense_mask(brush: Brush) -> np.ndarray:
    """The cells of the box, one by one, as the words say it."""
    mask = np.zeros((N, N), bool)
    for i in range(N):
        for j in range(N):
            place = j if brush.by == "j" else j - i
            mask[i, j] = brush.rows[0] <= i <= brush.rows[1] and brush.across[0] <= place <= brush.across[1]
    return mask


def projected(seed: int = 0, out: int = 20) -> tuple:
    """A projected update of rank 3 of an (out, N) weight, and it dense, in coordinates of the basis."""
    rng = np.random.default_rng(seed)
    dense = rng.standard_normal((out, 3)) @ rng.standard_normal((3, N))
    rows, cols = np.divmod(np.arange(N * N), N)
    matrix = make_matrix(rows, cols, dense[:N].ravel(), m=N, shape=(out, N), pattern="projected")
    return replace(matrix, projection=Projection(dense[N:], trained=99, rank_bound=3)), dense


@given(matrices(), brushes())
@settings(max_examples=80)
def test_a_box_holds_its_part_of_the_dense_matrix(matrix, brush):
    squares, mask = matrix.coefficients() ** 2, dense_mask(brush)
    held = brushed(matrix, brush)
    assert held.inside == pytest.approx((squares * mask).sum() / squares.sum())
    assert held.share == held.inside
    trained = np.zeros((N, N), bool)
    trained[matrix.rows, matrix.cols] = True
    assert held.entries == (trained & mask).sum()
    assert held.chance == pytest.approx((trained & mask).sum() / trained.sum())


@given(st.integers(0, 50), brushes())
@settings(max_examples=30)
def test_a_projection_has_a_share_of_m_and_one_of_the_whole_update(seed, brush):
    matrix, dense = projected(seed)
    mask = dense_mask(brush)
    held = brushed(matrix, brush)
    in_box = (dense[:N] ** 2 * mask).sum()
    assert held.inside == pytest.approx(in_box / (dense[:N] ** 2).sum())
    assert held.share == pytest.approx(in_box / (dense**2).sum())
    assert held.level.mean == pytest.approx(mask.sum() / dense.size)


@given(brushes())
def test_the_columns_and_offsets_of_a_box_are_those_of_its_cells(brush):
    i, j = np.nonzero(dense_mask(brush))
    first, last = brush.columns(N)
    if len(i) == 0:
        return
    assert first <= j.min()
    assert last >= j.max()
    low, high = brush.offsets()
    assert low <= (j - i).min()
    assert high >= (j - i).max()
    if brush.by == "j" and max(brush.rows[1], brush.across[1]) < N:  # nothing of the box lies outside: they are exact
        assert (first, last, low, high) == (j.min(), j.max(), (j - i).min(), (j - i).max())


@given(matrices(), brushes())
@settings(max_examples=30)
def test_the_strongest_box_is_at_least_the_one_that_was_drawn(matrix, brush):
    if not brush.holds(matrix.rows, matrix.cols).any():
        return
    rng = np.random.default_rng(0)
    draws = [random_update(matrix, rng) for _ in range(3)]
    actual = strongest_boxes(matrix, brush, draws=3)
    for drawn, most in zip(draws, actual):
        assert brushed(drawn, brush).share <= most * (1 + 1e-9)
        assert most <= 1 + 1e-9


@pytest.mark.parametrize("by", ["j", "o"])
def test_the_strongest_box_is_the_best_of_all_places(by):
    matrix = make_matrix(*band(N, 3), m=N)
    brush = Brush((2, 4), (3, 4), "j") if by == "j" else Brush((2, 4), (-1, 0), "o")
    (actual,) = strongest_boxes(matrix, brush, draws=1)
    drawn = random_update(matrix, np.random.default_rng(0))
    span = range(N - 1) if by == "j" else range(-3, 3)
    places = [Brush((i, i + 2), (a, a + 1), by) for i in range(N - 2) for a in span]
    assert actual == pytest.approx(max(brushed(drawn, place).share for place in places))


def test_the_best_box_of_noise_does_not_stand_out_and_a_planted_one_does():
    m, best = 40, 0
    matrix = make_matrix(*np.divmod(np.arange(m * m), m), m=m)
    for seed in range(20):  # of what an eye would find in noise, about 1 in 20 stands out
        noise = random_update(matrix, seed + 1000)
        squares = noise.coefficients() ** 2
        sums = np.lib.stride_tricks.sliding_window_view(squares, (8, 8)).sum(axis=(2, 3))
        i, j = np.unravel_index(sums.argmax(), sums.shape)
        best += brushed(noise, Brush((i, i + 7), (j, j + 7)), DRAWS).stands_out
    assert best <= 4
    planted = matrix.coefficients()
    planted[10:18, 20:28] *= 3
    box = Brush((10, 17), (20, 27))
    held = brushed(make_matrix(matrix.rows, matrix.cols, planted.ravel(), m=m), box, DRAWS)
    assert held.stands_out
    assert "this one stands out" in held.sentence(box)


def test_a_sentence_names_both_shares_of_a_projection_and_its_chance():
    matrix, _ = projected()
    box = Brush((0, 5), (0, 5))
    shown = brushed(matrix, box, DRAWS).sentence(box)
    assert shown.startswith("Rows 0–5, columns 0–5 hold **")
    assert "25% by chance (36 of 144 entries)" in shown
    assert "Of the whole ‖ΔW‖²" in shown
    assert "In 19 random updates" in shown


def test_one_box_of_two_adapters_is_said_in_one_sentence():
    box = Brush((0, 5), (0, 11))
    upper = make_matrix(np.arange(N), np.arange(N), np.repeat([2.0, 1.0], 6), m=N)
    even = make_matrix(np.arange(N), np.arange(N), np.ones(N), m=N)
    shown = both_hold(box, (brushed(upper, box), brushed(even, box)), ("A", "B"))
    assert (
        shown == "Rows 0–5, columns 0–11 hold 80% of ‖M‖² in A (by chance 50%) and 50% of ‖M‖² in B (by chance 50%)."
    )


def test_an_empty_box_and_a_zero_update_have_no_share_and_a_sentence():
    box = Brush((0, 3), (5, 8))
    empty = brushed(make_matrix(*band(N, 0), m=N), box, DRAWS)
    assert (empty.entries, empty.share, empty.stands_out) == (0, 0, False)
    assert empty.sentence(box) == "Rows 0–3, columns 5–8 hold none of the trained entries."
    zero = brushed(make_matrix(*band(N, 0), np.zeros(N), m=N), Brush((0, 3), (0, 3)))
    assert (zero.entries, zero.share) == (4, 0)
    assert "nan" not in zero.sentence(box)


def test_the_same_box_in_every_matrix_is_judged_together_and_unknown_ones_stay_empty():
    calm = make_matrix(*band(N, 3), m=N)
    loud = calm.coefficients()
    loud[:4, :4] *= 30
    matrices = [make_matrix(calm.rows, calm.cols, loud[calm.rows, calm.cols], m=N), calm]
    rows = [{**brush_row(matrix, Brush((0, 3), (0, 3))), "name": name} for name, matrix in zip("ab", matrices)]
    table = pd.DataFrame({"name": list("abc"), "label": list("ABC"), "layer": [0, 1, 2], "kind": "query"})
    actual = brush_table(table, rows)
    assert actual["stands_out"].tolist() == [True, False, False]
    assert actual["share"].iloc[0] == pytest.approx((loud[:4, :4] ** 2).sum() / (loud**2).sum())
    assert np.isnan(actual["share"].iloc[2])


@given(brushes())
def test_a_box_survives_its_text(brush):
    assert Brush.parse(brush.text) == brush


@pytest.mark.parametrize(
    "text", ["", "i1..2", "i5..2_j0..1", "i0..1_j3..2", "i0..1_j-3..2", "i0..1_x0..2", "i0..9999999_j0..1", "x" * 9999]
)
def test_a_text_that_is_no_box_is_none(text):
    assert Brush.parse(text) is None
