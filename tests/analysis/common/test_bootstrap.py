"""The paired bootstrap against its exact distribution, its exact variance, and the truth."""

from itertools import product

import numpy as np
import pytest

from analysis.common.bootstrap import DRAWS, interval, resampled_means


def exact_variance(gain):
    """Return the variance of the bootstrap of the mean of `gain` (seeds, n), from multinomial second moments."""
    seeds, n = gain.shape
    of_seeds, of_examples = (np.full((k, k), (1 - 1 / k) / k**2) + np.eye(k) / k**2 for k in (seeds, n))
    return np.einsum("se,tf,st,ef->", gain, gain, of_seeds, of_examples) - gain.mean() ** 2


def test_draws_take_every_choice_of_seeds_and_examples_equally_often():
    gain = np.array([[1, 2], [4, 8]])
    choices = [
        gain[np.ix_(seeds, examples)].mean() for seeds, examples in product(product((0, 1), repeat=2), repeat=2)
    ]
    values, expected = np.unique(choices, return_counts=True)
    draws = resampled_means(gain)
    for value, count in zip(values, expected):
        p = count / len(choices)
        assert abs((draws == value).mean() - p) < 5 * np.sqrt(p * (1 - p) / DRAWS)


@pytest.mark.parametrize("shape", [(1, 200), (2, 50), (5, 80)])
def test_the_variance_of_the_draws_is_the_exact_one(shape):
    gain = np.random.default_rng(0).integers(-1, 2, size=shape)
    draws = resampled_means(gain)
    assert draws.mean() == pytest.approx(gain.mean(), abs=5 * np.sqrt(exact_variance(gain) / DRAWS))
    assert draws.var() == pytest.approx(exact_variance(gain), rel=0.1)


def test_with_one_seed_and_many_examples_the_interval_is_the_normal_one():
    right = np.random.default_rng(0).random((1, 2000)) < 0.8
    low, high = interval(resampled_means(right))
    error = np.sqrt(right.var() / right.size)
    assert (low, high) == pytest.approx((right.mean() - 1.96 * error, right.mean() + 1.96 * error), abs=0.1 * error)


def test_everything_is_resampled_alike_so_that_equal_answers_never_differ():
    right = np.random.default_rng(0).random((4, 3, 157)) < 0.5
    right[3] = right[0]
    draws = resampled_means(right)
    assert draws.shape == (DRAWS, 4)
    assert (draws[:, 3] == draws[:, 0]).all()
    np.testing.assert_allclose(draws[:, 1] - draws[:, 0], resampled_means(right[1].astype(int) - right[0]), atol=1e-12)


def test_nothing_changes_where_all_seeds_and_examples_are_equal():
    assert (resampled_means(np.ones((3, 40))) == 1).all()


def test_equal_seeds_give_equal_draws_and_others_do_not():
    right = np.random.default_rng(0).random((3, 40)) < 0.5
    np.testing.assert_array_equal(resampled_means(right, seed=1), resampled_means(right, seed=1))
    assert (resampled_means(right, seed=1) != resampled_means(right, seed=2)).any()


@pytest.mark.parametrize(("scatter", "at_least"), [(0.0, 0.93), (0.02, 0.88)])
def test_the_interval_holds_the_truth_about_as_often_as_it_says(scatter, at_least):
    # Two methods that differ by 5 points, 5 seeds, 200 examples of unlike difficulty. A rough count is enough.
    generator = np.random.default_rng(0)
    held = 0
    for _ in range(120):
        hard = generator.random(200)
        levels = np.array([0.6, 0.65])[:, None, None] + generator.normal(0, scatter, (2, 5, 1))
        right = hard + generator.normal(0, 0.1, (2, 5, 200)) < levels
        low, high = interval(resampled_means(right[1].astype(int) - right[0]))
        held += low <= 0.05 <= high
    assert held / 120 >= at_least


def test_the_interval_holds_the_middle_of_the_draws():
    assert interval(np.arange(101.0), 0.9) == pytest.approx((5, 95))
