"""Clipping, binning, and the box of exact cells."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.figures.box import SIDE, box_around, box_of, brush_from_square, brush_from_strip, outline
from analysis.figures.cells import MAX_CELLS, bin_width, color_scale, grid, strongest
from analysis.figures.theme import LIGHT
from analysis.measures.brush import Brush


def test_the_scale_ends_at_the_99th_percentile_and_counts_what_lies_beyond():
    values = np.append(np.linspace(-1, 1, 990), np.full(10, 50.0))
    scale = color_scale(values, signed=True, theme=LIGHT)
    assert 0.99 < scale.limit <= 50
    assert scale.clipped == (np.abs(values) > scale.limit).sum()
    assert (scale.low, scale.total) == (-scale.limit, 1000)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=300))
def test_at_most_one_in_a_hundred_is_clipped_and_the_scale_is_never_empty(values):
    scale = color_scale(np.array(values), signed=False, theme=LIGHT)
    assert scale.limit > 0
    assert scale.low == 0
    assert scale.clipped <= len(values) / 100


def test_an_update_that_is_all_zero_has_a_scale():
    assert color_scale(np.zeros(5), signed=True, theme=LIGHT)[:4] == (1.0, 0, 5, -1.0)


def test_the_caption_says_how_many_lie_beyond_only_where_some_do():
    assert color_scale(np.ones(9), signed=True, theme=LIGHT).note == ""
    outliers = np.append(np.ones(396), [5, 6, 7, 8])
    assert "3 of 400 lie beyond" in color_scale(outliers, signed=True, theme=LIGHT).note


def test_a_cell_shows_the_strongest_of_its_entries_with_its_sign_and_an_empty_one_nothing():
    cells = grid(np.array([0, 0, 1]), np.array([0, 0, 1]), np.array([1.0, -3.0, 0.0]), (2, 2))
    np.testing.assert_array_equal(cells, [[-3, np.nan], [np.nan, 0]])


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.floats(-9, 9, width=32)), min_size=1, max_size=60))
def test_one_entry_is_kept_for_each_occupied_cell_and_none_in_it_is_stronger(entries):
    row, col, values = (np.array(part) for part in zip(*entries))
    keep = strongest(row, col, values)
    assert {(row[p], col[p]) for p in keep} == set(zip(row, col))
    assert len(keep) == len(set(zip(row, col)))
    for p in keep:
        assert abs(values[p]) == np.abs(values[(row == row[p]) & (col == col[p])]).max()


@given(st.integers(1, 20_000))
def test_binned_lengths_fit(length):
    width = bin_width(length)
    assert -(-length // width) <= MAX_CELLS
    assert width == 1 or length > MAX_CELLS


@pytest.mark.parametrize("place", [(0, 0), (5, 380), (383, 383)])
def test_a_box_about_an_entry_holds_it_and_stays_inside(place):
    box = box_around(*place, 384)
    assert box.row_start <= place[0] < box.row_stop
    assert box.col_start <= place[1] < box.col_stop
    assert min(box) >= 0
    assert max(box) <= 384
    assert box.row_stop - box.row_start == box.col_stop - box.col_start == 16


@given(st.integers(1, 3000), st.data())
def test_a_drawn_rectangle_becomes_a_box_inside_the_matrix_and_its_exact_cells_are_at_most_64_by_64(n, data):
    ends = st.tuples(*[st.floats(-50, n + 50)] * 2)
    x, y = data.draw(ends), data.draw(ends)
    reach = data.draw(st.integers(0, n - 1))
    for brush in (brush_from_square(x, y, n), brush_from_strip(x, y, n, reach)):
        assert 0 <= brush.rows[0] <= brush.rows[1] < n
        low, high = (0, n - 1) if brush.by == "j" else (-reach, reach)
        assert low <= brush.across[0] <= brush.across[1] <= high
        box = box_of(brush, n)
        assert 0 <= box.row_start < box.row_stop <= n
        assert 0 <= box.col_start < box.col_stop <= n
        assert box.row_stop - box.row_start <= SIDE
        assert box.col_stop - box.col_start <= SIDE
        if brush.by == "j" and max(brush.rows[1] - brush.rows[0], brush.across[1] - brush.across[0]) < SIDE:
            assert (box.row_start, box.row_stop - 1, box.col_start, box.col_stop - 1) == (*brush.rows, *brush.across)


def test_every_cell_that_a_rectangle_touches_is_in_the_box():
    assert brush_from_square([10.2, 19.8], [49.6, 40.1], 384) == Brush((40, 50), (10, 20), "j")
    assert brush_from_strip([9.6, 19.4], [1.2, -1.7], 384, 2) == Brush((10, 19), (-2, 1), "o")


def test_exact_cells_of_a_run_of_offsets_span_the_columns_that_it_reaches():
    assert box_of(Brush((10, 19), (-2, 1), "o"), 384) == (10, 20, 8, 21)


@pytest.mark.parametrize("strip", [True, False])
@pytest.mark.parametrize("brush", [Brush((2, 7), (5, 12)), Brush((2, 9), (-1, 3), "o")])
def test_the_outline_of_a_box_holds_the_middles_of_its_cells_and_of_no_other(brush, strip):
    i, j = np.indices((20, 20))
    shape = outline(brush, LIGHT, strip=strip)
    if shape["type"] == "rect":
        corners = [(shape["x0"], shape["y0"]), (shape["x1"], shape["y0"]), (shape["x1"], shape["y1"]),
                   (shape["x0"], shape["y1"])]  # fmt: skip
    else:
        corners = [tuple(map(float, corner.split(","))) for corner in shape["path"].strip("MZ").split("L")]
    x, y = (i, j - i) if strip else (j, i)
    inside = np.ones(i.shape, bool)
    for (x0, y0), (x1, y1), (x2, y2) in zip(corners, corners[1:] + corners[:1], corners[2:] + corners[:2]):
        side = (x1 - x0) * (y - y0) - (y1 - y0) * (x - x0)
        inside &= side * ((x1 - x0) * (y2 - y0) - (y1 - y0) * (x2 - x0)) > 0
    np.testing.assert_array_equal(inside, brush.holds(i, j))
