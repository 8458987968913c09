"""Norms and ranks against dense float64 linear algebra, and bounds against counting."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from analysis.measures.ranks import OF, norms, rank_bounds, ranks
from tests.analysis.synthetic import dense, make_matrix

EPS = np.finfo(np.float32).eps


@st.composite
def matrices(draw):
    m = draw(st.integers(1, 10))
    seed = draw(st.integers(0, 2**20))
    flat = np.random.default_rng(seed).choice(m * m, size=draw(st.integers(1, m * m)), replace=False)
    shape = draw(st.sampled_from([(m, m), (m + 4, m), (m, m + 3)]))
    return make_matrix(flat // m, flat % m, m=m, shape=shape, seed=seed)


def three(matrix):
    _, _, W, update = dense(matrix)
    return dict(zip(OF, (W, W + update, update)))


@given(matrices())
@settings(max_examples=60)
def test_norms_are_those_of_the_dense_weights(matrix):
    table = norms(matrix).set_index("of")
    for of, A in three(matrix).items():
        expected = [np.linalg.norm(A, 2), np.linalg.norm(A, "fro"), np.linalg.norm(A, "nuc")]
        np.testing.assert_allclose(table.loc[of, ["spectral", "frobenius", "nuclear"]].astype(float), expected)


@given(matrices(), st.sampled_from([None, 0.01, 0.2]))
@settings(max_examples=60)
def test_ranks_are_those_of_the_dense_weights(matrix, tolerance):
    table = ranks(matrix, tolerance).set_index("of")
    for of, A in three(matrix).items():
        values = np.linalg.svd(A, compute_uv=False)
        threshold = (max(matrix.shape) * EPS if tolerance is None else tolerance) * values[0]
        assume((np.abs(values - threshold) > 1e-9 * values[0]).all())
        row = table.loc[of]
        assert row["threshold"] == pytest.approx(threshold)
        assert row["numerical_rank"] == np.linalg.matrix_rank(A, tol=threshold)
        assert row["stable_rank"] == pytest.approx(np.linalg.norm(A) ** 2 / values[0] ** 2)
        shares = values[values > 1e-14 * values[0]] / values.sum()
        assert row["effective_rank"] == pytest.approx(np.exp(-(shares * np.log(shares)).sum()))


@given(matrices())
@settings(max_examples=60)
def test_the_rank_of_the_update_is_the_structural_rank_for_generic_values(matrix):
    bounds = rank_bounds(matrix)
    assert bounds["structural_rank"] == np.linalg.matrix_rank(matrix.coefficients())
    assert bounds["min_k_n"] == min(matrix.k, matrix.n)
    assert bounds["lora_rank"] == matrix.k / (matrix.shape[0] + matrix.shape[1])


def test_a_random_pattern_of_n_entries_cannot_reach_rank_n():
    flat = np.random.default_rng(0).choice(384 * 384, size=384, replace=False)
    bounds = rank_bounds(make_matrix(flat // 384, flat % 384, m=384, shape=(384, 384)))
    assert (bounds["min_k_n"], bounds["lora_rank"]) == (384, 0.5)
    assert bounds["structural_rank"] == pytest.approx(211, abs=10)


def test_ranks_have_a_floor_of_rounding_in_the_stored_type():
    matrix = make_matrix([0, 1, 2], [0, 1, 2], [1.0, 1e-5, 1e-9])
    assert ranks(matrix)["numerical_rank"].iloc[2] == 2
    assert ranks(matrix, tolerance=1e-12)["numerical_rank"].iloc[2] == 3
    assert ranks(matrix, tolerance=1e-3)["numerical_rank"].iloc[2] == 1


def test_a_zero_update_has_rank_zero_of_every_kind():
    matrix = make_matrix([0, 2], [1, 2], [0.0, 0.0])
    row = ranks(matrix).iloc[2]
    assert row["stable_rank"] == row["effective_rank"] == row["numerical_rank"] == row["threshold"] == 0
    assert norms(matrix).iloc[2].tolist() == ["ΔW", 0, 0, 0]
    assert ranks(matrix).iloc[1].tolist()[1:5] == ranks(matrix).iloc[0].tolist()[1:5]


def test_a_weight_of_zeros_has_rank_zero():
    row = ranks(make_matrix([0], [1], [2.0], sigma=[0, 0, 0, 0])).iloc[0]
    assert row["stable_rank"] == row["effective_rank"] == row["numerical_rank"] == 0


@pytest.mark.parametrize("values", [[0.5, 0.2], [-4.9, -2.9]])
def test_a_truncated_basis_knows_the_update_and_not_the_weight(values):
    matrix = make_matrix([0, 1], [0, 1], values, m=2, shape=(7, 5), sigma=[5, 3])
    _, _, _, update = dense(matrix)
    table, rank = norms(matrix), ranks(matrix)
    assert table["spectral"][0] == 5
    # 5.5 leads whatever the tail is; 0.1 may not.
    assert (table["spectral"][1] == pytest.approx(5.5)) if values[0] > 0 else np.isnan(table["spectral"][1])
    assert table[["frobenius", "nuclear"]].isna().all(axis=1).tolist() == [True, True, False]
    assert rank["stable_rank"].isna().tolist() == [True, True, False]
    assert rank["numerical_rank"].isna().tolist() == [True, True, False]
    assert table["frobenius"][2] == pytest.approx(np.linalg.norm(update))
    assert rank["numerical_rank"][2] == 2
