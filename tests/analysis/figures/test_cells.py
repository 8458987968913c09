"""Clipping, binning, and the box of exact cells."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.figures.box import SIDE, box_around, box_from_square, box_from_strip
from analysis.figures.cells import MAX_CELLS, bin_width, color_scale, grid, strongest
from analysis.figures.theme import LIGHT


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
def test_a_drawn_rectangle_becomes_a_box_of_at_most_64_by_64_cells_inside_the_matrix(n, data):
    ends = st.tuples(*[st.floats(-50, n + 50)] * 2)
    x, y = data.draw(ends), data.draw(ends)
    for box in (box_from_square(x, y, n), box_from_strip(x, y, n)):
        assert 0 <= box.row_start < box.row_stop <= n
        assert 0 <= box.col_start < box.col_stop <= n
        assert box.row_stop - box.row_start <= SIDE
        assert box.col_stop - box.col_start <= SIDE


def test_a_rectangle_of_the_square_is_taken_as_it_is_with_x_for_columns():
    assert box_from_square([10.2, 19.8], [40.1, 49.6], 384) == (40, 51, 10, 21)


def test_a_rectangle_of_the_strip_spans_the_columns_that_its_offsets_reach():
    assert box_from_strip([10, 19], [-2, 1], 384) == (10, 20, 8, 21)
