"""Every column against dense float64 linear algebra: W and ΔW formed from explicit U and V, and decomposed in full."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.linalg import subspace_angles
from scipy.optimize import linear_sum_assignment

from analysis.common import linear_algebra
from analysis.measures.spectrum import (
    cumulative_energy,
    intruders,
    new_singular_values,
    new_svd,
    spectrum,
    subspace_overlap,
)
from tests.analysis.synthetic import band, dense, make_matrix


@st.composite
def matrices(draw):
    """Any Ω, tall, square and wide weights, updates from tiny to larger than W."""
    m = draw(st.integers(1, 10))
    seed = draw(st.integers(0, 2**20))
    k = draw(st.integers(1, m * m))
    flat = np.random.default_rng(seed).choice(m * m, size=k, replace=False)
    shape = draw(st.sampled_from([(m, m), (m + 4, m), (m, m + 3)]))
    scale = draw(st.sampled_from([1e-3, 0.05, 0.5, 5.0]))
    return make_matrix(flat // m, flat % m, m=m, shape=shape, scale=scale, seed=seed)


def dense_svd(matrix):
    """Old U and V, and the thin SVD of W + ΔW computed without knowing them; only where its values are apart."""
    U, V, W, update = dense(matrix)
    left, values, right = np.linalg.svd(W + update, full_matrices=False)
    gaps = np.diff(np.append(values, 0.0))
    assume((np.abs(gaps) > 1e-4 * values[0]).all())
    return U, V, left, values, right.T


@given(matrices())
@settings(max_examples=100)
def test_spectrum_is_that_of_the_dense_weights(matrix):
    U, V, left, values, right = dense_svd(matrix)
    table = spectrum(matrix)
    cosines_left, cosines_right = np.abs(U.T @ left), np.abs(V.T @ right)
    weight = cosines_left * cosines_right
    rank_new = table["rank_new"].to_numpy(int)
    best = linear_sum_assignment(weight, maximize=True)
    assert weight[table["index"], rank_new].sum() == pytest.approx(weight[best].sum(), abs=1e-8)
    np.testing.assert_allclose(table["sigma"], matrix.sigma)
    np.testing.assert_allclose(table["sigma_new"], values[rank_new], atol=1e-10 * values[0])
    np.testing.assert_allclose(table["delta"], values[rank_new] - matrix.sigma, atol=1e-10 * values[0])
    np.testing.assert_allclose(table["relative_delta"], table["delta"] / matrix.sigma)
    np.testing.assert_allclose(table["cosine_left"], cosines_left[table["index"], rank_new], atol=1e-7)
    np.testing.assert_allclose(table["cosine_right"], cosines_right[table["index"], rank_new], atol=1e-7)
    # No two values nearly coincide here.
    np.testing.assert_array_equal(table["subspace_left"], table["cosine_left"])
    np.testing.assert_array_equal(table["subspace_right"], table["cosine_right"])
    assert (table["moved"] == (table["index"] != rank_new)).all()
    assert (table["turned"] == (table[["cosine_left", "cosine_right"]].min(axis=1) < 0.9)).all()


@given(matrices())
@settings(max_examples=60)
def test_the_overlap_is_that_of_the_dense_weights(matrix):
    U, V, left, _, right = dense_svd(matrix)
    overlap = subspace_overlap(matrix)
    assert overlap["r"].tolist() == list(range(1, matrix.m + 1))
    for r in overlap["r"]:
        row = overlap.iloc[r - 1]
        for side, old, new in (("left", U, left), ("right", V, right)):
            expected = subspace_angles(old[:, :r], new[:, :r])
            assert row[f"overlap_{side}"] == pytest.approx(np.mean(np.cos(expected) ** 2), abs=1e-7)
        assert row["chance"] == r / matrix.n


def test_chance_is_the_mean_overlap_of_random_subspaces():
    rng = np.random.default_rng(0)
    draws = [np.linalg.qr(rng.standard_normal((12, 5)))[0] for _ in range(2000)]
    overlap = subspace_overlap(make_matrix(m=12))
    assert np.mean([np.sum(Q[:5] ** 2) / 5 for Q in draws]) == pytest.approx(overlap["chance"][4], abs=0.01)


@given(matrices(), st.integers(1, 12), st.floats(0.1, 0.95))
@settings(max_examples=60)
def test_intruders_are_those_of_the_dense_weights(matrix, top, threshold):
    U, V, left, values, right = dense_svd(matrix)
    table = intruders(matrix, top, threshold)
    count = min(top, matrix.m)
    assert table["rank_new"].tolist() == list(range(count))
    np.testing.assert_allclose(table["sigma_new"], values[:count], atol=1e-10 * values[0])
    cosines = [np.abs(old.T @ new[:, :count]).max(axis=0) for old, new in ((U, left), (V, right))]
    np.testing.assert_allclose(table["max_cosine_left"], cosines[0], atol=1e-7)
    np.testing.assert_allclose(table["max_cosine_right"], cosines[1], atol=1e-7)
    assert (table["intruder"] == (table[["max_cosine_left", "max_cosine_right"]].min(axis=1) < threshold)).all()


@given(matrices())
@settings(max_examples=60)
def test_energy_by_direction_is_that_of_the_dense_update(matrix):
    values = np.linalg.svd(dense(matrix)[3], compute_uv=False)
    np.testing.assert_allclose(matrix.update_singular_values, values, atol=1e-12 * values[0])
    table = cumulative_energy(matrix)
    assert table["directions"].tolist() == list(range(matrix.m + 1))
    expected = np.append(0, np.cumsum(values**2)) / np.sum(values**2)
    np.testing.assert_allclose(table["energy_share"], expected, atol=1e-12)


# -- the plain pattern only changes singular values ------------------------------------------------------------------


@given(m=st.integers(1, 40), scale=st.sampled_from([0.01, 0.3, 3.0]), seed=st.integers(0, 2**20))
@settings(max_examples=60)
def test_a_plain_adapter_has_rotation_zero_and_no_intruder(m, scale, seed):
    matrix = make_matrix(np.arange(m), np.arange(m), m=m, scale=scale, seed=seed, pattern="plain")
    table = spectrum(matrix)
    for column in ("cosine_left", "cosine_right", "subspace_left", "subspace_right"):
        assert (table[column] == 1).all()  # to the last bit
    assert not table["turned"].any()
    assert not intruders(matrix, top=m)["intruder"].any()
    np.testing.assert_array_equal(table["sigma_new"], np.abs(matrix.sigma + matrix.values))
    order = np.argsort(-table["sigma_new"].to_numpy(), kind="stable")
    assert (table["rank_new"].to_numpy(int)[order] == np.arange(m)).all()
    overlap = subspace_overlap(matrix)
    kept = [len(set(order[:r]) & set(range(r))) / r for r in overlap["r"]]
    np.testing.assert_allclose(overlap["overlap_left"], kept)
    np.testing.assert_allclose(overlap["overlap_right"], kept)


def test_a_plain_adapter_stays_so_for_equal_and_vanishing_singular_values():
    matrix = make_matrix(range(5), range(5), [0.5, -0.5, -4.0, 0.0, 0.0], m=5, sigma=[2, 2, 2, 0, 0])
    table = spectrum(matrix)
    assert not table["turned"].any()
    assert (table[["cosine_left", "cosine_right"]] == 1).all(axis=None)
    assert table["sigma_new"].tolist() == [2.5, 1.5, 2.0, 0.0, 0.0]
    assert table["relative_delta"].isna().tolist() == [False, False, False, True, True]


# -- changed place is not turned, and turned is not a turn within equal values ---------------------------------------


def test_changed_place_is_apart_from_turned():
    table = spectrum(make_matrix([2], [2], [4.0], sigma=[4, 3, 2, 1]))
    assert table["rank_new"].tolist() == [1, 2, 0, 3]
    assert table["moved"].tolist() == [True, True, True, False]
    assert not table["turned"].any()


def test_a_large_off_diagonal_entry_turns_without_changing_place():
    table = spectrum(make_matrix([0], [1], [3.0], sigma=[4, 3.5, 1, 0.5]))
    assert table["turned"].tolist() == [True, True, False, False]
    assert not table["moved"].any()


@pytest.mark.parametrize("gap", [0.0, 1e-7])
def test_a_turn_within_nearly_equal_values_is_no_turn(gap):
    # A tiny entry turns a degenerate pair by 45°, in the plane that the pair spans.
    table = spectrum(make_matrix([0, 1], [1, 0], [1e-4, 1e-4], sigma=[2 + gap, 2, 1, 0.5]))
    assert table["cosine_left"][0] == pytest.approx(np.sqrt(0.5), abs=1e-3)
    np.testing.assert_allclose(table[["subspace_left", "subspace_right"]], 1, atol=1e-6)
    assert not table["turned"].any()
    assert not table["moved"].any()
    matrix = make_matrix([0, 1], [1, 0], [1e-4, 1e-4], sigma=[2 + gap, 2, 1, 0.5])
    np.testing.assert_allclose(intruders(matrix)[["max_cosine_left", "max_cosine_right"]], 1, atol=1e-6)


def test_values_driven_together_are_compared_as_a_subspace():
    # Σ + M is 2 times a rotation in the first plane: its singular vectors there are anything.
    c = np.sqrt(0.5)
    matrix = make_matrix([0, 0, 1, 1], [0, 1, 0, 1], [2 * c - 3, -2 * c, 2 * c, 2 * c - 2.5], sigma=[3, 2.5, 1, 0.5])
    table = spectrum(matrix)
    np.testing.assert_allclose(table["sigma_new"], [2, 2, 1, 0.5])
    np.testing.assert_allclose(table[["subspace_left", "subspace_right"]], 1, atol=1e-9)
    assert not table["turned"].any()


def test_vanishing_values_turn_independently_on_both_sides():
    table = spectrum(make_matrix([3], [2], [1.0], sigma=[5, 4, 0, 0]))
    assert table["sigma_new"].tolist() == [5, 4, 1, 0]
    assert not table["turned"].any()


@pytest.mark.parametrize("values", [[0.0, 0.0, 0.0], [1e-30, 0.0, -1e-30]])
def test_a_zero_update_changes_nothing(values):
    matrix = make_matrix([0, 1, 3], [2, 1, 0], values)
    table = spectrum(matrix)
    assert not table.isna().to_numpy().any()
    np.testing.assert_allclose(table["delta"], 0, atol=1e-15)
    assert not table["moved"].any()
    assert not table["turned"].any()
    np.testing.assert_allclose(subspace_overlap(matrix)[["overlap_left", "overlap_right"]], 1)
    assert not intruders(matrix)["intruder"].any()


def test_the_energy_of_a_zero_update_is_zero():
    table = cumulative_energy(make_matrix([0, 1], [2, 1], [0.0, 0.0]))
    assert (table["energy_share"] == 0).all()
    assert not table.isna().to_numpy().any()


def test_a_weight_of_zeros_shows_the_update_alone():
    matrix = make_matrix([0], [1], [2.0], m=2, sigma=[0, 0])
    assert spectrum(matrix)["sigma_new"].tolist() == [2, 0]
    assert not spectrum(matrix)["turned"].any()


# -- a truncated basis -----------------------------------------------------------------------------------------------


def test_a_truncated_basis_tells_only_what_it_knows():
    # σ of the weight: 5, 3, 2 and an unseen tail of 1.9 and 0.8.
    matrix = make_matrix([0, 1, 1], [0, 1, 2], [-3.5, 1.0, 0.1], m=3, shape=(7, 5), sigma=[5, 3, 2])
    U, V, W, update = dense(matrix)
    left, values, right = np.linalg.svd(W + update, full_matrices=False)
    table = spectrum(matrix)
    assert table["rank_new"].isna().tolist() == [True, False, True]  # 1.5 and 1.99… fell among the tail
    assert table["moved"].isna().tolist() == [True, False, True]
    assert table["rank_new"][1] == 0
    for row in table.itertuples():
        assert np.abs(values - row.sigma_new).min() < 1e-12
    overlap = subspace_overlap(matrix)
    assert overlap["r"].tolist() == [1]
    assert overlap["overlap_left"][0] == pytest.approx((U[:, 0] @ left[:, 0]) ** 2, abs=1e-12)
    assert overlap["chance"][0] == 1 / 5
    actual = intruders(matrix)
    assert len(actual) == 1
    assert actual["max_cosine_left"][0] == pytest.approx(np.abs(U.T @ left[:, 0]).max())
    assert actual["max_cosine_right"][0] == pytest.approx(np.abs(V.T @ right[0]).max())


# -- large matrices --------------------------------------------------------------------------------------------------


def test_large_matrices_take_another_way_to_the_same_numbers(monkeypatch):
    matrix = make_matrix(*band(60, 3), m=60, scale=0.05)
    again = make_matrix(*band(60, 3), m=60, scale=0.05)
    direct, direct_values = spectrum(matrix), matrix.update_singular_values
    monkeypatch.setattr(linear_algebra, "DIRECT_SIZE", 8)
    np.testing.assert_allclose(again.update_singular_values, direct_values, atol=1e-7)
    np.testing.assert_allclose(new_singular_values(again), new_svd(matrix).values, atol=1e-6)
    columns = ["sigma_new", "rank_new", "cosine_left", "cosine_right", "turned"]
    np.testing.assert_allclose(spectrum(again)[columns].astype(float), direct[columns].astype(float), atol=1e-6)
