"""What it costs, and signs."""

import numpy as np
import pandas as pd
import pytest
import torch

from analysis.adapters.opening import open_adapter
from analysis.adapters.shipped import DIRECTORY
from analysis.lessons import cost, signs
from analysis.lessons.factors import flipped_signs, two_dials
from analysis.lessons.weights import load_weight
from analysis.running.predictor import load_predictor


def test_memory_is_that_of_real_arrays():
    out, in_, d, r = 48, 20, 3, 2
    W = np.zeros((out, in_), np.float32)
    U, _, Vt = np.linalg.svd(W, full_matrices=False)
    M = sum(abs(i - j) <= d for i in range(20) for j in range(20))
    table = cost.memory_table(out, in_, d, r).set_index("what")
    assert table["megabytes"].tolist() == pytest.approx(
        [W.nbytes / 1e6, (U.nbytes + Vt.nbytes) / 1e6, 4 * M / 1e6, 4 * r * (out + in_) / 1e6]
    )
    assert table.index[table["trained"]].tolist() == ["M", "LoRA"]
    assert cost.memory_table(8, 8, 32, 1)["numbers"][2] == 64  # a band cannot be wider than M


def test_times_are_measured_and_grow_with_the_cube():
    measured = cost.measure_svd((8, 16), repeats=1)
    assert measured["n"].tolist() == [8, 16]
    assert (measured["seconds"] > 0).all()
    measured = pd.DataFrame({"n": [10, 100], "seconds": [1.0, 2.0]})
    assert cost.extrapolate(measured, np.array([100, 200])).tolist() == [2.0, 16.0]


def test_the_question_on_memory_is_checked():
    assert cost.check_basis(2.95).right
    assert cost.check_basis(2.8125).right  # in MiB
    for typed, hint in {0.737: "4 bytes", 2.359: "U is out", 0.59: "one of the two", 99: "Not yet"}.items():
        reply = cost.check_basis(typed)
        assert not reply.right
        assert hint in reply.sentence


def test_factors_by_place():
    i, j = np.indices((4, 4))
    assert np.array_equal(two_dials(2.0, 0.5)(i, j), np.where(np.eye(4, dtype=bool), 2.0, 0.5))
    S = np.diag(np.where(np.arange(4) % 2 == 0, -1, 1))
    assert np.array_equal(flipped_signs(2)(i, j), S @ np.ones((4, 4)) @ S)
    assert torch.equal(flipped_signs(2)(*map(torch.from_numpy, (i, j))), torch.from_numpy(flipped_signs(2)(i, j)))


@pytest.mark.parametrize("every", [2, 3])
def test_flipped_vectors_are_a_decomposition_and_the_signature_finds_them(every):
    actual = signs.repair(load_weight("square"), every)
    assert actual.weight_error < 1e-12
    i, j = np.indices(actual.signs.shape)
    assert np.array_equal(actual.signs, flipped_signs(every)(i, j))
    assert (signs.flipped(every, actual)(i, j) == 1).all()


@pytest.mark.parametrize("pattern", ["plain", "banded"])
def test_only_what_is_off_the_diagonal_breaks(pattern):
    adapter = open_adapter(DIRECTORY / f"bbc_headlines-{pattern}")
    matrix = adapter.matrix(adapter.names[0])
    error = signs.update_error(matrix, signs.flipped(2, None))
    M, S = matrix.coefficients(), np.diag(np.where(np.arange(matrix.m) % 2 == 0, -1, 1))
    assert error == pytest.approx(np.linalg.norm(S @ M @ S - M) / np.linalg.norm(M))
    assert (error == 0) == (pattern == "plain")
    assert signs.check_immune(pattern).right == (pattern == "plain")


def test_a_model_acts_with_the_factors_and_has_its_own_numbers_again():
    predictor = load_predictor(DIRECTORY / "bbc_headlines-banded")
    text = "Rate rise fears shake markets"

    def predict(**change):
        return predictor.predict(text, **change)["probability"].to_numpy()

    trained, half = predict(), predict(alpha=0.5)
    assert np.allclose(predict(factor=two_dials(0.5, 0.5)), half, atol=1e-6)
    assert np.abs(predict(factor=two_dials(1, 0)) - trained).max() > 1e-4
    broken = predict(factor=signs.flipped(2, None))
    repaired = predict(factor=signs.flipped(2, signs.repair(load_weight("square"), 2)))
    assert np.abs(broken - trained).max() > 0.01
    assert np.array_equal(repaired, trained)
    assert np.array_equal(predict(), trained)
