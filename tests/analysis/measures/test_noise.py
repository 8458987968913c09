"""Random updates and their laws: against draws of the dense definition, and exact where an exact value is known."""

from dataclasses import replace

import numpy as np
import pytest

from analysis.measures import noise
from analysis.measures.coefficients import energy_by_offset, energy_shares, inside_basis
from analysis.measures.noise import Level, level_of, predicted_level, random_update
from tests.analysis.measures.untrained import OTHERS, SVFT, projected, untrained
from tests.analysis.synthetic import band, make_matrix


def test_noise_of_svft_has_the_same_energy_on_the_same_entries():
    matrix = make_matrix(*band(9, 1), m=9)
    drawn = random_update(matrix, seed=3)
    assert drawn.update_norm == pytest.approx(matrix.update_norm)
    np.testing.assert_array_equal(drawn.rows, matrix.rows)
    np.testing.assert_array_equal(drawn.values, random_update(matrix, seed=3).values)
    assert (drawn.values != random_update(matrix, seed=4).values).all()


@pytest.mark.parametrize("kind", OTHERS)
@pytest.mark.parametrize("seed", range(3))  # each a shape: square, tall, wide
def test_noise_of_another_kind_has_the_same_singular_values(kind, seed):
    matrix = untrained(kind, seed)
    drawn = random_update(matrix, 5)
    np.testing.assert_allclose(
        drawn.update_singular_values, matrix.update_singular_values, atol=1e-12 * matrix.update_norm
    )
    assert drawn.energy == pytest.approx(matrix.energy)
    assert (drawn.outside is None) == (matrix.outside is None)


@pytest.mark.parametrize("kind", OTHERS)
@pytest.mark.parametrize("seed", [0, 1])
def test_mean_and_variance_of_shares_are_those_of_random_directions(kind, seed):
    matrix = untrained(kind, seed)
    (out, in_), n = matrix.shape, matrix.n
    values = noise.spectrum_of(matrix)
    group = np.minimum(np.abs(matrix.cols - matrix.rows), 5)
    law = noise.shares(matrix, group, 6)
    rng, actual = np.random.default_rng(0), []
    for _ in range(3000):  # the definition: whole frames, dense
        left, right = (np.linalg.qr(rng.standard_normal((size, len(values))))[0] for size in (out, in_))
        M = ((left[:n] * values) @ right[:n].T).ravel()
        actual.append(np.bincount(group, weights=M**2) / matrix.energy)
    actual = np.array(actual)
    size = law.first + law.second
    variance = law.mean * (1 - law.mean) / (size + 1)
    np.testing.assert_allclose(actual.mean(axis=0), law.mean, atol=4 * np.sqrt(variance.max() / len(actual)))
    np.testing.assert_allclose(actual.var(axis=0), variance, rtol=0.2)
    low, high = law.interval()
    assert 0.94 < ((actual >= low) & (actual <= high)).mean() < 0.99


def test_of_rank_one_the_law_is_that_of_a_point_on_a_sphere():
    # The left vector of a rank-one update is a random direction: c of N coordinates hold Beta(c/2, (N − c)/2).
    tall, square = untrained("LoRA r=1", 1), untrained("LoRA r=1", 0)
    inside = noise.shares(tall, np.zeros(tall.k, int), 1)
    assert (inside.first[0], inside.second[0]) == pytest.approx((12, 8))  # 24 of 40 coordinates
    assert noise.shares(square, np.zeros(square.k, int), 1).mean[0] == 1  # nothing can lie outside


def test_of_all_gaussian_entries_the_law_is_that_of_a_sphere():
    matrix = make_matrix(*np.divmod(np.arange(16), 4), m=4)
    law = noise.shares(matrix, (matrix.rows == matrix.cols).astype(int), 2)
    assert (law.first[1], law.second[1]) == (2, 6)


def test_levels_of_draws_are_exact_by_rank():
    draws = np.arange(39.0)
    assert level_of(draws) == Level(19, 0, 38)
    assert (level_of(np.arange(79.0)).low, level_of(np.arange(79.0)).high) == (1, 77)
    with pytest.raises(ValueError, match="39, 79"):
        level_of(np.arange(40.0))
    rng = np.random.default_rng(0)
    out = [not level_of(rng.exponential(size=39)).holds(rng.exponential()) for _ in range(4000)]
    assert np.mean(out) == pytest.approx(0.05, abs=0.012)


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng, size: rng.normal(9, 1, size),
        lambda rng, size: rng.poisson(0.3, size).astype(float),
        lambda rng, size: rng.poisson(20, size).astype(float),
        lambda rng, size: rng.gamma(3, size=size),
    ],
)
def test_few_draws_predict_the_next_one(draw):
    rng = np.random.default_rng(1)
    out = [not predicted_level(draw(rng, 10)).holds(draw(rng, 1)[0]) for _ in range(4000)]
    assert np.mean(out) < 0.06


def test_words_of_a_level():
    level = Level(2.0, 1.0, 4.0)
    assert [level.place(value) for value in (0, 1, 4, 5)] == ["below", "inside", "inside", "above"]
    assert level.words("{:.0f}".format) == "1 to 4"
    assert Level(0.2, 0.1, 0.3).words("{:.0f}".format) == "0"
    assert level.count(5, "{:.0f}".format) == "more than in noise (1 to 4)"


def test_shares_of_a_zero_update_are_not_called_different():
    svft = untrained("banded", 1)
    for zero in (replace(svft, values=np.zeros(svft.k)), projected(np.zeros((40, 24)), 4)):
        assert not energy_by_offset(zero)["stands_out"].any()
        assert not energy_shares(zero).isna().any(axis=None)


@pytest.mark.parametrize("kind", SVFT)
def test_all_of_an_svft_update_lies_inside_the_basis(kind):
    assert inside_basis(untrained(kind, 0)).tolist() == pytest.approx([1, 1, 1, 1])
