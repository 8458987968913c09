"""Decompositions of sparse matrices against LAPACK on the dense matrix, whatever way they take."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ortho_group

from analysis.common import linear_algebra
from analysis.common.linear_algebra import clusters, pair, singular_values, sparse, svd
from tests.analysis.synthetic import band


@pytest.fixture(params=["direct", "through the Gram matrix"])
def way(request, monkeypatch):
    """Both ways of the module, at sizes that a test can afford."""
    if request.param != "direct":
        monkeypatch.setattr(linear_algebra, "DIRECT_SIZE", 1)


def check_svd(dense):
    m = len(dense)
    A = sparse(*np.nonzero(dense), dense[np.nonzero(dense)], m)
    expected = np.linalg.svd(dense, compute_uv=False)
    tolerance = 2e-7 * max(expected[0], 1e-300)
    np.testing.assert_allclose(singular_values(A), expected, atol=tolerance)
    actual = svd(A)
    np.testing.assert_allclose(actual.values, expected, atol=1e-12 * max(expected[0], 1.0))
    np.testing.assert_allclose(actual.P * actual.values @ actual.Q.T, dense, atol=1e-10 * max(expected[0], 1.0))
    for vectors in (actual.P, actual.Q):
        np.testing.assert_allclose(vectors.T @ vectors, np.eye(m), atol=1e-6)


@given(m=st.integers(1, 12), density=st.floats(0, 1), seed=st.integers(0, 2**20), diagonal=st.booleans())
@settings(max_examples=150)
def test_any_sparse_matrix(m, density, seed, diagonal):
    rng = np.random.default_rng(seed)
    dense = rng.standard_normal((m, m)) * (rng.random((m, m)) < density)
    check_svd(dense + diagonal * np.diag(rng.uniform(0, 3, m)))


@pytest.mark.parametrize("zeros", [0, 1, 7])
@pytest.mark.parametrize("width", [1, 3, 40])
def test_bands_also_of_deficient_rank(way, zeros, width):
    rng = np.random.default_rng(0)
    dense = np.zeros((60, 60))
    rows, cols = band(60, width)
    dense[rows, cols] = rng.standard_normal(len(rows))
    dense[:, 20 : 20 + zeros] = 0
    check_svd(dense)


def test_tiny_singular_values_keep_orthonormal_vectors(way):
    rng = np.random.default_rng(1)
    P, Q = ortho_group.rvs(30, random_state=rng), ortho_group.rvs(30, random_state=rng)
    check_svd(P * np.geomspace(1, 1e-13, 30) @ Q.T)


def test_a_large_band_agrees_with_lapack():
    m = 1100  # above DIRECT_SIZE
    rows, cols = band(m, 2)
    values = np.random.default_rng(0).standard_normal(len(rows))
    A = sparse(rows, cols, values, m)
    expected = np.linalg.svd(A.toarray(), compute_uv=False)
    np.testing.assert_allclose(singular_values(A), expected, atol=2e-7 * expected[0])


def test_a_diagonal_needs_no_arithmetic():
    actual = svd(sparse(np.arange(3), np.arange(3), np.array([1.0, -3.0, 2.0]), 3))
    assert actual.values.tolist() == [3, 2, 1]
    assert actual.P.tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
    assert actual.Q.tolist() == [[0, 0, 1], [-1, 0, 0], [0, 1, 0]]


def test_a_matrix_of_zeros_keeps_the_basis():
    actual = svd(sparse(np.array([0]), np.array([1]), np.array([0.0]), 3))
    assert actual.values.tolist() == [0, 0, 0]
    assert (np.eye(3) == actual.P).all()
    assert (np.eye(3) == actual.Q).all()


@given(m=st.integers(1, 5), spread=st.floats(0, 3), seed=st.integers(0, 2**20))
@settings(max_examples=100)
def test_pairing_is_the_best_of_all_permutations(m, spread, seed):
    rng = np.random.default_rng(seed)
    # From near the identity, where most pairs are sure, to anything.
    P, Q = (np.linalg.qr(np.eye(m) + spread * rng.standard_normal((m, m)))[0] for _ in range(2))
    P, Q = P[:, rng.permutation(m)], Q
    weight = np.abs(P) * np.abs(Q)
    actual = pair(P, Q)
    assert sorted(actual) == list(range(m))
    best = max(weight[np.arange(m), list(order)].sum() for order in itertools.permutations(range(m)))
    assert weight[np.arange(m), actual].sum() == pytest.approx(best, abs=1e-12)


def test_clusters_link_neighbours():
    assert clusters(np.array([5.0, 4.95, 4.9, 3.0, 0.0, 0.0]), 0.06).tolist() == [0, 0, 0, 3, 4, 4]
    assert clusters(np.zeros(3), 0.0).tolist() == [0, 0, 0]
