"""Edits of coefficients: exact, on matrices in float64."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.adapters.opening import open_adapter
from analysis.common.errors import UserError
from analysis.measures.edits import OPERATIONS, Edit, cards, layers, most_changed_layer
from tests.analysis.synthetic import band, make_matrix, write_adapter

M = 10


@st.composite
def matrices(draw):
    """Scattered matrices of every density, with repeated values and zeros among them."""
    k = draw(st.integers(1, M * M))
    flat = np.random.default_rng(draw(st.integers(0, 1000))).choice(M * M, size=k, replace=False)
    values = draw(st.lists(st.sampled_from([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0]), min_size=k, max_size=k))
    return make_matrix(flat // M, flat % M, values, m=M)


OPTIONS = {
    "shuffled": {},
    "signs_only": {},
    "leading_only": {"share": 0.3},
    "trailing_only": {"share": 0.5},
    "largest_only": {"share": 0.3},
    "random_only": {"share": 0.3},
    "without_band": {"first": 1, "last": 2},
    "without_brushed": {"box": "i2..4_j0..6"},
    "without_as_many": {"box": "i2..4_j0..6"},
    "scaled": {"alpha": -1.5},
}


def test_every_operation_is_tried_here():
    assert OPTIONS.keys() == OPERATIONS.keys()


@pytest.mark.parametrize("operation", OPTIONS)
@given(matrix=matrices())
def test_an_edit_keeps_everything_but_the_values(operation, matrix):
    before = matrix.values.copy()
    after = Edit(operation, OPTIONS[operation]).apply(matrix)
    assert after.values.shape == before.shape
    assert np.isfinite(after.values).all()
    np.testing.assert_array_equal(matrix.values, before)  # what was given stays as it was
    for name in ("name", "rows", "cols", "sigma", "shape", "pattern"):
        np.testing.assert_array_equal(getattr(after, name), getattr(matrix, name))


@given(matrices(), st.floats(0, 1))
def test_as_many_values_at_random_are_kept_as_are_asked_for(matrix, share):
    after = Edit("random_only", {"share": share}).apply(matrix)
    changed = after.values != matrix.values
    assert changed.sum() <= matrix.k - round(share * matrix.k)
    assert (after.values[changed] == 0).all()
    full = Edit("random_only", {"share": share}).apply(make_matrix(matrix.rows, matrix.cols, np.ones(matrix.k), m=M))
    assert full.values.sum() == round(share * matrix.k)


def test_edits_that_zero_values_have_a_random_control_and_others_none():
    assert Edit("shuffled").control(1.0) is Edit("signs_only").control(0.99) is None
    assert Edit("leading_only", {"share": 0.1}).control(0.098) == Edit("random_only", {"share": 0.098})


@given(matrices(), st.integers(0, 9), st.integers(0, 9))
def test_the_control_of_a_box_zeroes_as_many_entries_elsewhere(matrix, last_row, last_column):
    matrix = make_matrix(matrix.rows, matrix.cols, np.ones(matrix.k), m=M)
    edit = Edit("without_brushed", {"box": f"i0..{last_row}_j0..{last_column}"}, (matrix.name,))
    control = edit.control(0.5)
    assert control.names == edit.names
    inside = (matrix.rows <= last_row) & (matrix.cols <= last_column)
    zeroed = control.apply(matrix).values == 0
    assert zeroed.sum() == (edit.apply(matrix).values == 0).sum() == inside.sum()
    if 2 * inside.sum() <= matrix.k:
        assert not (zeroed & inside).any()


@given(matrices())
def test_shuffling_keeps_the_multiset_of_values_and_so_the_norm(matrix):
    after = Edit("shuffled").apply(matrix)
    np.testing.assert_array_equal(np.sort(after.values), np.sort(matrix.values))


def test_shuffling_is_the_same_each_time_and_another_one_in_each_matrix():
    from dataclasses import replace

    first_matrix = make_matrix(*band(M, 1), m=M)
    second_matrix = replace(first_matrix, name="another")
    first, again, other = (
        Edit("shuffled").apply(matrix).values for matrix in (first_matrix, first_matrix, second_matrix)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first, first_matrix.values)


@given(matrices())
def test_signs_only_keeps_signs_and_the_norm_and_has_one_size(matrix):
    after = Edit("signs_only").apply(matrix).values
    np.testing.assert_array_equal(np.sign(after), np.sign(matrix.values))
    assert np.linalg.norm(after) == pytest.approx(np.linalg.norm(matrix.values), rel=1e-12)
    assert len(np.unique(np.abs(after[after != 0]))) <= 1


@pytest.mark.parametrize(
    ("edit", "stays"),
    [
        (Edit("leading_only", {"share": 0.3}), lambda i, j: (i < 3) & (j < 3)),
        (Edit("leading_only"), lambda i, j: (i < 1) & (j < 1)),
        (Edit("trailing_only"), lambda i, j: (i >= 5) & (j >= 5)),
        (Edit("without_band", {"first": 0, "last": 0}), lambda i, j: i != j),
        (Edit("without_band", {"first": 2, "last": 4}), lambda i, j: (abs(i - j) < 2) | (abs(i - j) > 4)),
        (
            Edit("without_brushed", {"box": "i1..2_j4..5"}),
            lambda i, j: ~((i >= 1) & (i < 3) & (j >= 4) & (j < 6)),
        ),
        (
            Edit("without_brushed", {"box": "i1..2_o-1..0"}),
            lambda i, j: ~((i >= 1) & (i < 3) & (j - i >= -1) & (j - i <= 0)),
        ),
        (Edit("scaled", {"alpha": 1.0}), lambda i, j: i == i),
        (Edit("scaled", {"alpha": 0.0}), lambda i, j: i != i),
    ],
)
@given(matrix=matrices())
def test_what_stays_is_what_the_name_says(edit, stays, matrix):
    i, j = np.indices((M, M))
    expected = np.where(stays(i, j), matrix.coefficients(), 0)
    np.testing.assert_array_equal(edit.apply(matrix).coefficients(), expected)


@given(matrices(), st.floats(0, 1))
def test_the_largest_entries_stay_and_no_other(matrix, share):
    after = Edit("largest_only", {"share": share}).apply(matrix).values
    count = int(np.ceil(round(share * matrix.k, 9)))
    expected = np.sort(np.abs(matrix.values))[::-1][:count]
    np.testing.assert_array_equal(np.sort(np.abs(after))[::-1][:count], expected)
    assert np.count_nonzero(after) <= count
    assert set(np.flatnonzero(after)) <= set(np.flatnonzero(after == matrix.values))


@given(matrices(), st.floats(-3, 3))
def test_scaling_is_exact(matrix, alpha):
    np.testing.assert_array_equal(Edit("scaled", {"alpha": alpha}).apply(matrix).values, alpha * matrix.values)


def test_only_the_named_matrices_change():
    matrix = make_matrix(*band(M, 1), m=M)
    assert Edit("scaled", {"alpha": 0.0}, ("elsewhere",)).apply(matrix) is matrix
    assert not Edit("scaled", {"alpha": 0.0}, (matrix.name,)).apply(matrix).values.any()


# ---- edits as data


@pytest.mark.parametrize("operation", OPTIONS)
@pytest.mark.parametrize("names", [None, ("a", "b")])
def test_an_edit_survives_its_json(operation, names):
    edit = Edit(operation, OPTIONS[operation], names)
    assert Edit.from_json(edit.to_json()) == edit
    assert "\n" not in edit.to_json()


@pytest.mark.parametrize(
    ("operation", "options", "message"),
    [
        ("magic", {}, "There is no edit 'magic'"),
        ("largest_only", {"share": 1.5}, "must lie between 0 and 1, not 1.5"),
        ("without_band", {"first": 3, "last": 2}, "not 3 to 2"),
        ("without_brushed", {"box": "i3..2_j0..1"}, "is no box of M"),
    ],
)
def test_what_makes_no_edit_gets_a_sentence(operation, options, message):
    with pytest.raises(UserError, match=message):
        Edit(operation, options).apply(make_matrix())


# ---- cards


def test_the_cards_ask_six_different_questions_of_an_adapter(tmp_path):
    adapter = open_adapter(write_adapter(tmp_path / "a", "banded", 2))
    actual = cards(adapter)
    assert len({card.edit.to_json() for card in actual}) == len({card.title for card in actual}) == 6
    for card in actual:
        changed = [name for name in adapter.names if card.edit.apply(adapter.matrix(name)) is not None]
        assert changed == adapter.names


def test_the_layer_that_is_switched_off_is_the_one_that_changed_most(tmp_path):
    adapter = open_adapter(write_adapter(tmp_path / "a", "banded", 2))
    norms = {
        layer: np.linalg.norm(np.concatenate([adapter.matrix(name).values for name in names]))
        for layer, names in layers(adapter).items()
    }
    layer, names = most_changed_layer(adapter)
    assert norms[layer] == max(norms.values())
    off = cards(adapter)[-1].edit
    assert off.names == names
    assert layer in cards(adapter)[-1].sentence


def test_matrices_without_a_layer_are_a_layer_of_their_own(tmp_path):
    modules = {"pooler.dense": (12, 12), "layer.0.query": (12, 12)}
    adapter = open_adapter(write_adapter(tmp_path / "a", modules=modules))
    assert layers(adapter) == {"no layer": ("pooler.dense",), "layer 0": ("layer.0.query",)}
