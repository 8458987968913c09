"""Coverage curves against a direct dense computation."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.adapters.adapter import AdaptedMatrix, Projection, grid
from analysis.measures.coverage import coverage
from svft.patterns import banded_indices


def projected(shape: tuple[int, int], seed: int = 0) -> tuple[AdaptedMatrix, np.ndarray]:
    """Return the projection of a dense update onto a random basis, and the dense UᵀΔWV with its norm in it."""
    rng = np.random.default_rng(seed)
    n = min(shape)
    U, sigma, Vt = np.linalg.svd(rng.standard_normal(shape), full_matrices=False)
    update = rng.standard_normal(shape) * np.geomspace(1, 0.01, shape[1])
    M = U.T @ update @ Vt.T
    rest = update - U @ M @ Vt
    outside = None
    if shape[0] > shape[1]:
        outside = np.linalg.qr(rest @ Vt.T, mode="r")
    elif shape[0] < shape[1]:
        outside = np.linalg.qr((U.T @ rest).T, mode="r").T
    rows, cols = grid(n)
    alignment = np.abs(U.T @ Vt.T) if outside is None else None
    matrix = AdaptedMatrix(
        "x", 0, "query", "Layer 0 · query", shape, sigma, rows, cols, M.ravel(), "projected", "LoRA, projected", None,
        Projection(outside, 10, n, None, alignment),
    )  # fmt: skip
    assert matrix.update_norm == pytest.approx(np.linalg.norm(update))
    return matrix, np.square(M) / np.square(update).sum()


SHAPES = pytest.mark.parametrize("shape", [(12, 12), (20, 12), (12, 20)])


@SHAPES
def test_every_curve_is_the_energy_on_its_entries(shape):
    matrix, shares = projected(shape)
    table = coverage(matrix)
    n = matrix.n
    for row in table[table["pattern"] == "best"].itertuples():
        assert row.share == pytest.approx(np.sort(shares, axis=None)[::-1][: row.k].sum())
    for row in table[table["pattern"] == "banded"].itertuples():
        d = next(d for d in range(n) if len(banded_indices(n, d)) == row.k)
        assert row.share == pytest.approx(shares.ravel()[banded_indices(n, d).numpy()].sum())
    plain = table[table["pattern"] == "plain"].iloc[0]
    assert (plain["k"], plain["share"]) == (n, pytest.approx(np.trace(shares)))
    assert (table["chance"] == table["k"] / (shape[0] * shape[1])).all()
    if shape[0] == shape[1]:
        order = np.argsort(-matrix.projection.alignment, axis=None)
        for row in table[table["pattern"] == "top_k"].itertuples():
            assert row.share == pytest.approx(shares.ravel()[order[: row.k]].sum())
    else:
        assert "top_k" not in set(table["pattern"])


@SHAPES
def test_random_is_the_mean_and_spread_of_many_draws(shape):
    matrix, shares = projected(shape)
    rng = np.random.default_rng(1)
    table = coverage(matrix)
    for row in table[(table["pattern"] == "random") & (table["k"] > 5)].iloc[::6].itertuples():
        draws = [rng.choice(shares.ravel(), row.k, replace=False).sum() for _ in range(4000)]
        assert row.share == pytest.approx(np.mean(draws), abs=4 * np.std(draws) / 60 + 1e-12)
        if row.high < 1 and row.low > 0:
            assert (row.high - row.low) / 2 == pytest.approx(1.96 * np.std(draws), rel=0.1, abs=1e-9)


@SHAPES
def test_all_entries_cover_what_lies_inside_the_basis_and_no_pattern_beats_the_best(shape):
    matrix, _ = projected(shape)
    table = coverage(matrix)
    whole = table[table["k"] == matrix.n**2]
    np.testing.assert_allclose(whole["share"], matrix.inside_share)
    best = table[table["pattern"] == "best"].set_index("k")["share"]
    for row in table.itertuples():
        assert row.share <= np.interp(row.k, best.index, best) + 1e-9 or row.k not in best.index
