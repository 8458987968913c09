"""The paired bootstrap: how sure a mean over seeds and test examples is. Light: no torch."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

DRAWS = 4000


def resampled_means(answers: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return the means of `answers` over seeds and examples in each draw of a paired, crossed bootstrap.

    A draw takes seeds and, independently of them, test examples with replacement, the same ones for everything in
    `answers` (Efron & Tibshirani 1993; Owen 2007, "The pigeonhole bootstrap"). With one seed the draws are over
    examples alone.

    The variance of the draws counts what is particular to one seed on one example three times, which makes intervals
    wide, and what a seed does to all examples (S − 1)/S times, which makes them narrow if seeds are few and differ
    much. In simulations of two methods on 800 examples, 95% intervals of their difference held the truth in 94 to
    100% of cases with 5 seeds and 90 to 100% with 3 as long as accuracies scattered by up to 2 points between seeds;
    with 4 points, in 87 and 82%.

    Args:
        answers: (…, seeds, n), numbers of small integers: right or wrong, or their differences.
        seed: Of the draws. Equal seeds give equal draws for equal numbers of seeds and examples.

    Returns:
        (draws, …) float64.
    """
    *_, seeds, n = answers.shape
    seed_counts, example_counts = _counts(seeds, n, seed)
    # Sums of small integers: exact in float32 up to 2^24, whatever the order in which BLAS adds them up, so that equal
    # answers have a difference of exactly 0 in every draw.
    dtype = np.float32 if seeds * n < 2**24 else np.float64
    by_seed = example_counts.astype(dtype, copy=False) @ answers.reshape(-1, n).T.astype(dtype)
    sums = np.einsum("dks,ds->dk", by_seed.reshape(DRAWS, -1, seeds), seed_counts, dtype=np.float64)
    return sums.reshape(DRAWS, *answers.shape[:-2]) / (seeds * n)


def interval(draws: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Return the middle part of the draws, (draws,), that holds `level` of them (percentile interval)."""
    low, high = np.nanquantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


@lru_cache(maxsize=4)
def _counts(seeds: int, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return how often each draw takes each seed, (draws, seeds), and each example, (draws, n)."""
    generator = np.random.default_rng(seed)
    counts = [generator.multinomial(size, np.full(size, 1 / size), size=DRAWS) for size in (seeds, n)]
    return counts[0].astype(np.float32), counts[1].astype(np.float32)
