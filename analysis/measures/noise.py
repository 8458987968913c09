"""Noise: what an update that learned nothing would show. One random update, and the exact laws that need no draw.

A null must fit the kind of update, or it calls different what differs by its method alone:
- SVFT: independent Gaussian values on the same Ω, with the same energy.
- Any other kind (LoRA, DoRA, full fine-tuning, …): the same singular values in random directions, ΔW = L S Rᵀ with L
  and R uniform on orthonormal frames (Haar). An untrained LoRA, a product of two Gaussian matrices, is exactly that:
  of low rank alone it is more concentrated than independent entries would be.

What a null keeps (the energy; the ranks of ΔW under the second one) it says nothing about.

Share of energy that a set of entries holds. Of k Gaussian values, c hold c/k on average, and their share follows
Beta(c/2, (k − c)/2). Under random directions the mean is c/(out·in), and the variance has a closed form, from the
fourth moments of Haar matrices (Collins & Śniady 2006, "Integration with respect to the Haar measure"): entries of one
row, of one column, and of neither are correlated differently. The law is taken as the Beta law of that mean and
variance; simulated at ranks 1 to n, its 95% interval left out 3 to 5% of the draws.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import betainc, betaincc, betaincinv, stdtrit

from analysis.adapters.adapter import AdaptedMatrix, Projection
from analysis.common.wording import percent

INTERVAL = (0.025, 0.975)  # of all noise levels
LEVEL = 0.05  # of random updates that may be called different from noise


@dataclass(frozen=True)
class Level:
    """What noise shows of one quantity.

    Attributes:
        mean: Mean of the draws.
        low: Lower end of the 95% interval.
        high: Upper end.
    """

    mean: float
    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Whether a value lies inside the interval: it is as noise would be."""
        return self.low <= value <= self.high

    def place(self, value: float) -> str:
        """Return where a value lies: "inside", "above" or "below"."""
        return "inside" if self.holds(value) else "above" if value > self.high else "below"

    def percent(self, share: float) -> str:
        """Return a share as per cent, with the digits that tell it from the ends of the interval: "39.5%"."""
        width = 100 * (self.high - self.low)
        return f"{share:.{max(1 - int(np.floor(np.log10(width))), 0)}%}" if width > 0 else percent(share)

    def count(self, value: float, form: Callable[[float], str]) -> str:
        """Say how a number of things compares with that in noise: "fewer than in noise (0 to 3)"."""
        compared = {"inside": "as in noise", "above": "more than in noise", "below": "fewer than in noise"}
        return f"{compared[self.place(value)]} ({self.words(form)})"

    def words(self, form: Callable[[float], str]) -> str:
        """Return the interval in words, "24.0 to 55.1"; one number if both ends read the same."""
        low, high = form(self.low), form(self.high)
        return low if low == high else f"{low} to {high}"


def level_of(draws: np.ndarray) -> Level:
    """Return the level of a quantity from its values in independent random updates, (b,) with b + 1 a multiple of 40.

    Of b draws and one more value from the same law each order is equally likely, so the value lies below the j-th
    smallest or above the j-th largest with the probability 2j/(b + 1), whatever the law (less, if values tie). With 39
    draws minimum and maximum are an exact 95% interval; with 399, the tenth from either end.

    Raises:
        ValueError: If b + 1 is not a multiple of 40.
    """
    j, rest = divmod(len(draws) + 1, 40)
    if rest:
        raise ValueError(f"An exact 95% interval needs 39, 79, 119, … draws, not {len(draws)}.")
    ordered = np.sort(draws)
    return Level(float(draws.mean()), float(ordered[j - 1]), float(ordered[-j]))


def predicted_level(draws: np.ndarray) -> Level:
    """Return the level of a quantity that is not negative from few draws, (b,), each of which costs a decomposition.

    The interval is the 95% prediction interval of a normal law, mean ± t·s·√(1 + 1/b) with b − 1 degrees of freedom,
    and never narrower than what the draws spanned, which counts for numbers that are mostly equal. If the draws are
    whole numbers, so are its ends.
    """
    b, mean = len(draws), float(draws.mean())
    reach = float(stdtrit(b - 1, INTERVAL[1]) * draws.std(ddof=1) * np.sqrt(1 + 1 / b))
    low, high = max(min(mean - reach, float(draws.min())), 0.0), max(mean + reach, float(draws.max()))
    if (draws == np.round(draws)).all():
        low, high = float(np.ceil(low)), float(np.floor(high))
    return Level(mean, low, high)


def what(matrix: AdaptedMatrix) -> str:
    """Return what noise is for a matrix, in words that complete "noise is …"."""
    if matrix.projected:
        return "an update with the same singular values in random directions"
    return "random values on the same entries, of the same energy"


def random_update(matrix: AdaptedMatrix, seed: int | np.random.Generator = 0) -> AdaptedMatrix:
    """Return `matrix` with its update replaced by noise, see above: any measure of it is one draw from the null."""
    rng = np.random.default_rng(seed)
    if matrix.projection is not None:
        return _redirected(matrix, matrix.projection, rng)
    noise = rng.standard_normal(matrix.k)
    return replace(matrix, values=noise * (np.linalg.norm(matrix.values) / np.linalg.norm(noise)))


def _redirected(matrix: AdaptedMatrix, projection: Projection, rng: np.random.Generator) -> AdaptedMatrix:
    """Return the update with its singular values in random directions, in coordinates of the thin basis."""
    values = spectrum_of(matrix)
    (left, below), (right, beside) = (_frame(rng, size, matrix.n, len(values)) for size in matrix.shape)
    left, below = left * values, below * values
    outside = below @ right.T if len(below) else left @ beside.T if len(beside) else None
    return replace(matrix, values=(left @ right.T).ravel(), projection=replace(projection, outside=outside))


def _frame(rng: np.random.Generator, size: int, n: int, r: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a random orthonormal frame (size, r): its first n rows, and its other rows up to a rotation.

    It is Q of a Gaussian (size, r). What is below row n counts only up to a rotation, so it is drawn as the triangular
    factor that it has (Bartlett): r rows instead of size − n.
    """
    rest = rng.standard_normal((min(size - n, r), r))
    if size - n > r:
        rest = np.triu(rest, 1)
        rest[np.diag_indices(r)] = np.sqrt(rng.chisquare(size - n - np.arange(r)))
    Q, R = np.linalg.qr(np.concatenate([rng.standard_normal((n, r)), rest]))
    Q *= np.where(np.diag(R) < 0, -1.0, 1.0)
    return Q[:n], Q[n:]


def spectrum_of(matrix: AdaptedMatrix) -> np.ndarray:
    """Return the singular values of ΔW that are not rounding; a single zero of a zero update."""
    values = matrix.update_singular_values
    return values[: max(int((values > matrix.rounding).sum()), 1)]


@dataclass(frozen=True)
class Shares:
    """The law of the share of energy in each group of entries, under noise.

    Attributes:
        mean: (groups,).
        first, second: Parameters of the Beta law of each; NaN where the share is always 0 or 1.
    """

    mean: np.ndarray
    first: np.ndarray
    second: np.ndarray

    def interval(self) -> tuple[np.ndarray, np.ndarray]:
        """Return both ends of the 95% interval, (groups,) each."""
        fixed = np.isnan(self.first)
        low, high = (np.where(fixed, self.mean, betaincinv(self.first, self.second, q)) for q in INTERVAL)
        return low, high

    def surprise(self, share: np.ndarray) -> np.ndarray:
        """Return the two-sided p-value of a share of each group, (groups,); 1 where noise leaves no choice."""
        at = np.clip(share, 0.0, 1.0)
        tail = np.minimum(betainc(self.first, self.second, at), betaincc(self.first, self.second, at))
        return np.where(np.isnan(self.first), 1.0, np.minimum(2 * tail, 1.0))


def shares(matrix: AdaptedMatrix, group: np.ndarray, groups: int) -> Shares:
    """Return the law of the share of energy in each group of trained entries, under noise.

    Args:
        matrix: The adapted matrix.
        group: Number of the group that each entry is in, (k,).
        groups: How many there are.
    """
    count = np.bincount(group, minlength=groups).astype(float)
    free = matrix.shape[0] * matrix.shape[1] if matrix.projected else matrix.k
    mean = count / free
    inner = (count > 0) & (count < free)
    if matrix.projected:
        variance = _directed_variance(matrix, group, count)
        size = np.divide(mean * (1 - mean), variance, out=np.ones(groups), where=inner & (variance > 0)) - 1
    else:
        size = np.full(groups, free / 2)
    first, second = (np.where(inner, part * size, np.nan) for part in (mean, 1 - mean))
    return Shares(mean, first, second)


def _directed_variance(matrix: AdaptedMatrix, group: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Return the variance of the share of energy in each group of entries of L S Rᵀ, (groups,)."""
    squares = np.square(spectrum_of(matrix))
    total = squares.sum()
    purity = float(np.square(squares / total).sum()) if total else 1.0  # Σs⁴/(Σs²)²: 1 at rank one
    groups = len(count)
    row, col = (
        np.square(np.bincount(group * matrix.m + place, minlength=groups * matrix.m).reshape(groups, -1)).sum(axis=1)
        - count
        for place in (matrix.rows, matrix.cols)
    )
    pairs = {(True, True): count, (True, False): row, (False, True): col, (False, False): count**2 - count - row - col}
    out, in_ = matrix.shape
    product = np.zeros(groups)
    for (same_row, same_col), number in pairs.items():
        left, right = _fourth_moments(out, same_row), _fourth_moments(in_, same_col)
        matching = left @ right
        product += number * (matching + purity * (left.sum() * right.sum() - matching))
    return np.maximum(product - (count / (out * in_)) ** 2, 0.0)


def _fourth_moments(size: int, same: bool) -> np.ndarray:
    """Return E[x_a x_b y_c y_d] of two rows x, y of a Haar matrix, as weights of δ_ab δ_cd, δ_ac δ_bd and δ_ad δ_bc.

    Args:
        size: Of the matrix.
        same: Whether x and y are one row.
    """
    if same or size == 1:
        return np.full(3, 1 / (size * (size + 2)))
    return np.array([size + 1, -1, -1]) / (size * (size - 1) * (size + 2))
