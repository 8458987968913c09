"""The null of every measure that has no closed law: the same measure of random updates, drawn once and kept on disk.

What a random update is, and the laws of shares of energy, are in `measures.noise`. Draws are seeded by what they
depend on: equal matrices get equal numbers, on every page, and unequal ones draws of their own.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.adapters.adapter import AdaptedMatrix
from analysis.common import disk_cache
from analysis.common.disk_cache import Arrays
from analysis.common.linear_algebra import DIRECT_SIZE, singular_values, sparse
from analysis.measures.coefficients import SHARE, held_by_largest, sample_counts
from analysis.measures.noise import Level, level_of, predicted_level, random_update, spectrum_of
from analysis.measures.ranks import effective_rank, stable_rank
from analysis.measures.spectrum import held_by_leading, intruders, spectrum

DRAWS = 39  # the least whose minimum and maximum are an exact 95% interval, see `noise.level_of`
MORE_DRAWS = 119  # from which the ends are less a matter of luck
MANY_DRAWS = 399  # if a draw costs next to nothing
FEW_DRAWS = 10  # if it costs a decomposition with vectors, see `noise.predicted_level`

_QUICK = 512  # directions whose singular values take hundredths of a second
_CHEAP = 2**14  # entries that are sorted in a millisecond
_VERSION = 1  # goes into the names of files: a change makes old ones unused


@dataclass(frozen=True, eq=False)
class EntryNull:
    """How concentrated noise is.

    Attributes:
        curve: For `coefficients.concentration`, row by row: noise_low, noise_mid and noise_high, the share of energy
            that so many largest entries of noise hold (95% interval and mean).
        fraction: Part of the entries that holds 90% of M's energy.
    """

    curve: pd.DataFrame
    fraction: Level


@dataclass(frozen=True, eq=False)
class SpectralNull:
    """What rank noise has, and what it does to the singular values and vectors of W.

    Attributes:
        levels: Of "stable_rank" and "effective_rank" of ΔW, for SVFT alone: other kinds keep their singular values.
            Of "turned", "moved", "intruders" and "largest_change" (the largest |Δσ|), as `summary.summarize` has them,
            up to 1,024 directions. What has no null is not in it, nor is what noise has no choice about.
        curve: For `spectrum.cumulative_energy`, row by row: noise_low, noise_mid, noise_high; None if the null keeps
            the singular values.
    """

    levels: dict[str, Level]
    curve: pd.DataFrame | None


def entry_null(matrix: AdaptedMatrix) -> EntryNull | None:
    """Return how concentrated noise is; None if that would take minutes: an update of high rank with n > 1024.

    Drawn in milliseconds (SVFT), or in up to seconds the first time (others).
    """
    draw = _entries(matrix)
    if draw is None:
        return None
    arrays = _kept(*draw)
    return EntryNull(_curve(arrays["curve"]), Level(*arrays["fraction"].tolist()))


def spectral_null(matrix: AdaptedMatrix) -> SpectralNull:
    """Return what rank noise has and what it does to W's singular values and vectors; seconds the first time."""
    arrays: Arrays = {}
    for draw in (_values(matrix), _movement(matrix)):
        arrays |= _kept(*draw) if draw else {}
    curve = arrays.pop("curve", None)
    levels = {name: Level(*level.tolist()) for name, level in arrays.items() if np.isfinite(level).all()}
    return SpectralNull(levels, None if curve is None else _curve(curve))


def is_kept(matrix: AdaptedMatrix) -> bool:
    """Whether `entry_null` and `spectral_null` of a matrix are on disk, or need no draws."""
    draws = (_entries(matrix) if matrix.projected else None, _values(matrix), _movement(matrix))
    return all(disk_cache.recall(draw[0]) is not None for draw in draws if draw)


Draw = tuple[str, Callable[[np.random.Generator], Arrays]]  # the name that it is kept under, and what draws it


def _kept(key: str, draw: Callable[[np.random.Generator], Arrays]) -> Arrays:
    values = disk_cache.recall(key)
    if values is None:
        values = draw(np.random.default_rng(zlib.crc32(key.encode())))
        disk_cache.keep(key, values)
    return values


def _curve(columns: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(columns, columns=["noise_low", "noise_mid", "noise_high"])


def _entries(matrix: AdaptedMatrix) -> Draw | None:
    if matrix.projected:
        values = spectrum_of(matrix)
        if matrix.n > DIRECT_SIZE < 8 * len(values):
            return None
        key = disk_cache.key_of("null-entries", _VERSION, matrix.shape, values)
        return key, lambda rng: _sorted((random_update(matrix, rng).values for _ in range(DRAWS)), matrix.k)
    number = MANY_DRAWS if matrix.k <= _CHEAP else DRAWS
    key = disk_cache.key_of("null-entries", _VERSION, matrix.k)
    return key, lambda rng: _sorted((rng.standard_normal(matrix.k) for _ in range(number)), matrix.k)


def _sorted(draws: Iterable[np.ndarray], k: int) -> Arrays:
    counts, curves, fractions = sample_counts(k), [], []
    for values in draws:
        held = held_by_largest(values)
        curves.append(held[counts])
        fractions.append(np.searchsorted(held, SHARE) / k)
    return {"curve": _band(np.array(curves)), "fraction": _row(level_of(np.array(fractions)))}


def _values(matrix: AdaptedMatrix) -> Draw | None:
    """Return the draw of singular values of Gaussian noise on Ω; None if the null keeps them, or it takes minutes.

    They depend on Ω alone, and of a random Ω on the number of its entries: each draw then has an Ω of its own.
    """
    if matrix.projected or (matrix.m > DIRECT_SIZE and matrix.pattern not in ("plain", "banded")):
        return None
    number = MANY_DRAWS if matrix.pattern == "plain" else MORE_DRAWS if matrix.m <= _QUICK else DRAWS
    m, k, size = matrix.m, matrix.k, int(max(matrix.rows.max(), matrix.cols.max())) + 1
    if matrix.pattern == "random":
        key = disk_cache.key_of("null-values", _VERSION, m, k, size)
    else:
        key = disk_cache.key_of("null-values", _VERSION, m, matrix.rows, matrix.cols)

    def draw(rng: np.random.Generator) -> Arrays:
        spectra = []
        for _ in range(number):
            rows, cols = matrix.rows, matrix.cols
            if matrix.pattern == "random":
                rows, cols = np.divmod(rng.choice(size * size, k, replace=False), size)
            spectra.append(singular_values(sparse(rows, cols, rng.standard_normal(k), m)))
        return {
            "stable_rank": _row(level_of(np.array([stable_rank(values) for values in spectra]))),
            "effective_rank": _row(level_of(np.array([effective_rank(values) for values in spectra]))),
            "curve": _band(np.array([held_by_leading(values) for values in spectra])),
        }

    return key, draw


def _movement(matrix: AdaptedMatrix) -> Draw | None:
    """Return the draw of what noise does to the singular values and vectors of W; None if that would take minutes."""
    if matrix.m > DIRECT_SIZE or not matrix.energy:
        return None
    of = (spectrum_of(matrix),) if matrix.projected else (matrix.rows, matrix.cols, matrix.update_norm)
    key = disk_cache.key_of("null-movement", _VERSION, matrix.shape, matrix.sigma, *of)

    def draw(rng: np.random.Generator) -> Arrays:
        draws = pd.DataFrame([movement(random_update(matrix, rng)) for _ in range(FEW_DRAWS)])
        return {name: _row(predicted_level(column.to_numpy(float))) for name, column in draws.items()}

    return key, draw


def movement(matrix: AdaptedMatrix) -> dict[str, float]:
    """Return the numbers of `SpectralNull.levels` that tell what an update did to W; NaN if unknown."""
    table = spectrum(matrix)
    moved = table["moved"]
    values = {
        "largest_change": float(table["delta"].abs().max()),
        "moved": np.nan if moved.isna().any() else float(moved.sum()),
    }
    if matrix.projected or (matrix.rows != matrix.cols).any():  # a diagonal turns nothing
        values["turned"] = float(table["turned"].sum())
        values["intruders"] = float(intruders(matrix)["intruder"].sum())
    return values


def _row(level: Level) -> np.ndarray:
    return np.array([level.mean, level.low, level.high])


def _band(curves: np.ndarray) -> np.ndarray:
    """Return low, mean and high of curves, (draws, points), at each point: (points, 3)."""
    levels = [level_of(column) for column in curves.T]
    return np.array([(level.low, level.mean, level.high) for level in levels])
