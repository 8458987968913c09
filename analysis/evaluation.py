"""How sure a measured accuracy is: intervals, and recovered performance. Numbers in, numbers out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

_Z95 = 1.959963984540054  # 97.5 % point of the normal distribution
_DRAWS = 4000


def wilson_interval(correct: int, n: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of an accuracy of `correct` out of `n` (Wilson 1927)."""
    p = correct / n
    centre = (p + _Z95**2 / (2 * n)) / (1 + _Z95**2 / n)
    half = _Z95 / (1 + _Z95**2 / n) * math.sqrt(p * (1 - p) / n + _Z95**2 / (4 * n**2))
    return max(0.0, centre - half), min(1.0, centre + half)


@dataclass(frozen=True)
class RecoveredPerformance:
    """(method − head only) / (full fine-tuning − head only), as a ratio with its 95 % interval.

    All three are None where it is not defined: full fine-tuning is not clearly above head only.
    """

    value: float | None
    low: float | None
    high: float | None

    @property
    def defined(self) -> bool:
        """Whether full fine-tuning is clearly above head only, so that there is something to recover."""
        return self.value is not None


def recovered_performance(
    method: np.ndarray, head_only: np.ndarray, full: np.ndarray, seed: int = 0
) -> RecoveredPerformance:
    """Return how much of the way from head only to full fine-tuning a method goes.

    The interval is a paired bootstrap: each draw takes seeds and test examples with replacement, the same ones for
    all three (Efron & Tibshirani 1993). "Clearly above" means that the 95 % interval of full − head only, from the
    same draws, lies above 0.

    Args:
        method: Right or wrong, (seeds, test examples) bool.
        head_only: The same for head only, paired by seed and example.
        full: The same for full fine-tuning.
        seed: Of the draws.

    Raises:
        ValueError: Where the three differ in shape.
    """
    if not method.shape == head_only.shape == full.shape:
        raise ValueError(
            "Recovered performance compares like with like: method, head only and full fine-tuning need the same "
            f"seeds and test examples, not {method.shape}, {head_only.shape} and {full.shape}."
        )
    gain = method.astype(np.float64) - head_only
    room = full.astype(np.float64) - head_only
    seeds, n = gain.shape
    generator = np.random.default_rng(seed)
    # A draw is a weight for each seed and each example, how often it was taken.
    seed_weights = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=_DRAWS) / seeds
    example_weights = generator.multinomial(n, np.full(n, 1 / n), size=_DRAWS) / n
    gains = ((seed_weights @ gain) * example_weights).sum(axis=1)
    rooms = ((seed_weights @ room) * example_weights).sum(axis=1)
    if np.quantile(rooms, 0.025) <= 0:
        return RecoveredPerformance(None, None, None)
    ratios = gains / np.where(rooms > 0, rooms, np.nan)
    low, high = np.nanquantile(ratios, [0.025, 0.975])
    return RecoveredPerformance(float(gain.mean() / room.mean()), float(low), float(high))
