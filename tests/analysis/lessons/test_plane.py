"""The plane against dense linear algebra."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.lessons import plane

entries = st.floats(-10, 10, allow_nan=False)


@given(st.tuples(entries, entries, entries, entries))
def test_singular_values_by_hand_are_those_of_lapack(values):
    W = np.reshape(values, (2, 2))
    by_hand = plane.singular_values_by_hand(W)
    assert np.allclose(by_hand, np.linalg.svd(W, compute_uv=False), rtol=0, atol=1e-7 * max(by_hand[0], 1e-6))


@given(st.floats(-180, 180), st.floats(-180, 180), st.tuples(st.floats(0, 3), st.floats(0, 3)))
def test_the_ellipse_has_the_half_axes_that_were_set(u, v, sigma):
    W = plane.compose(u, sigma, v)
    assert np.allclose(np.linalg.svd(W, compute_uv=False), sorted(sigma, reverse=True), atol=1e-12)
    assert np.allclose(W @ plane.rotation(v), plane.rotation(u) * np.array(sigma), atol=1e-12)


def test_the_question_is_checked():
    right = plane.check_largest(6.708)
    assert right.right
    assert "45" in right.sentence
    mistakes = {45: "square root", 2.236: "σ₂", 5: "WᵀW", 7.071: "√(σ₁² + σ₂²)", 1: "Not yet"}
    for typed, hint in mistakes.items():
        reply = plane.check_largest(typed)
        assert not reply.right
        assert hint in reply.sentence


def test_by_hand_needs_no_table_of_numbers():
    assert np.linalg.svd(plane.BY_HAND, compute_uv=False) == pytest.approx(
        plane.singular_values_by_hand(plane.BY_HAND)
    )
