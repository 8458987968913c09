"""Tables of M against sums over the dense matrix, and chance levels against draws of noise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.measures.coefficients import (
    concentration,
    energy_by_offset,
    energy_profile,
    energy_shares,
    entries,
    entries_for_energy,
)
from analysis.measures.noise import random_update
from tests.analysis.synthetic import band, make_matrix


@st.composite
def matrices(draw):
    m = draw(st.integers(1, 12))
    k = draw(st.integers(1, m * m))
    seed = draw(st.integers(0, 2**20))
    flat = np.random.default_rng(seed).choice(m * m, size=k, replace=False)
    return make_matrix(flat // m, flat % m, m=m, seed=seed)


@given(matrices())
@settings(max_examples=60)
def test_energies_are_sums_over_the_dense_matrix(matrix):
    squares = matrix.coefficients() ** 2
    total = squares.sum()
    offsets = energy_by_offset(matrix)
    for row in offsets.itertuples():
        assert row.energy == pytest.approx(np.trace(squares, row.offset))
    np.testing.assert_allclose(offsets["share"], offsets["energy"] / total)
    assert offsets["entries"].sum() == matrix.k
    np.testing.assert_allclose(offsets["noise_share"], offsets["entries"] / matrix.k)
    assert offsets["offset"].is_monotonic_increasing
    shares = energy_shares(matrix).set_index("part")
    leading = int(np.ceil(matrix.n / 10))
    assert shares.at["on_diagonal", "share"] == pytest.approx(np.trace(squares) / total)
    assert shares.at["off_diagonal", "share"] == pytest.approx(1 - np.trace(squares) / total)
    assert shares.at["leading_10pct", "share"] == pytest.approx(squares[:leading, :leading].sum() / total)


@given(matrices())
@settings(max_examples=30)
def test_entries_are_those_of_the_matrix(matrix):
    table = entries(matrix)
    dense = np.zeros((matrix.m, matrix.m))
    dense[table["i"], table["j"]] = table["value"]
    np.testing.assert_array_equal(dense, matrix.coefficients())
    assert (table["offset"] == table["j"] - table["i"]).all()
    floor = 0.01 * matrix.sigma[0]
    expected = [
        row.value / np.sqrt(max(matrix.sigma[row.i], floor) * max(matrix.sigma[row.j], floor))
        for row in table.itertuples()
    ]
    np.testing.assert_allclose(table["relative"], expected)
    np.testing.assert_array_equal(table["sigma_i"], matrix.sigma[table["i"]])
    np.testing.assert_array_equal(table["sigma_j"], matrix.sigma[table["j"]])


def test_relative_values_have_a_floor_at_one_percent_of_the_largest_singular_value():
    matrix = make_matrix([0, 1], [1, 1], [1.0, 1.0], m=2, sigma=[4.0, 0.0])
    np.testing.assert_allclose(entries(matrix)["relative"], [1 / np.sqrt(4 * 0.04), 1 / 0.04])


@given(matrices(), st.integers(1, 12))
@settings(max_examples=40)
def test_the_profile_is_sums_over_the_dense_matrix_and_counts_of_entries(matrix, most):
    squares = matrix.coefficients() ** 2 / (matrix.values**2).sum()
    trained = np.zeros((matrix.m, matrix.m))
    trained[matrix.rows, matrix.cols] = 1 / matrix.k
    table = energy_profile(matrix, most)
    width = int(np.ceil(matrix.m / most))
    starts = range(0, matrix.m, width)
    for side, axis in (("left", 1), ("right", 0)):
        part = table[table["side"] == side]
        assert len(part) <= most
        for column, dense in (("share", squares), ("noise_share", trained)):
            sums = dense.sum(axis=axis)
            np.testing.assert_allclose(part[column], [sums[start : start + width].sum() for start in starts])
    i, j = np.indices(squares.shape)
    for row in table[table["side"] == "distance"].itertuples():
        assert row.share == pytest.approx(squares[abs(j - i) <= row.at].sum())
        assert row.noise_share == pytest.approx(trained[abs(j - i) <= row.at].sum())


def test_of_untrained_profiles_at_most_one_in_twenty_has_a_group_that_stands_out():
    matrix = make_matrix(*band(64, 2), m=64)
    actual = [energy_profile(random_update(matrix, seed))["stands_out"].any() for seed in range(200)]
    assert np.mean(actual) <= 0.1
    strong = matrix.coefficients()
    strong[:8] *= 4
    loud = energy_profile(make_matrix(matrix.rows, matrix.cols, strong[matrix.rows, matrix.cols], m=64))
    assert loud["stands_out"].any()
    assert not loud.loc[loud["side"] == "distance", "stands_out"].any()


def test_noise_stays_within_its_interval_nineteen_times_in_twenty():
    matrix = make_matrix(*band(40, 2), m=40)
    table = energy_by_offset(matrix)
    shares = np.array([energy_by_offset(random_update(matrix, seed))["share"] for seed in range(400)])
    np.testing.assert_allclose(shares.mean(axis=0), table["noise_share"], atol=0.01)
    inside = (shares >= table["noise_low"].to_numpy()) & (shares <= table["noise_high"].to_numpy())
    assert 0.93 < inside.mean() < 0.97


def test_an_empty_part_and_the_whole_have_no_spread():
    table = energy_shares(make_matrix(np.arange(20), np.arange(20), m=20)).set_index("part")
    assert table.loc["on_diagonal", ["noise_low", "noise_share", "noise_high"]].tolist() == [1, 1, 1]
    assert table.loc["off_diagonal", ["noise_low", "noise_share", "noise_high"]].tolist() == [0, 0, 0]


@pytest.mark.parametrize("k", [1, 7, 300])
def test_concentration_sums_the_largest_entries(k):
    matrix = make_matrix(np.zeros(k), np.arange(k), m=k)
    table = concentration(matrix)
    squares = np.sort(matrix.values**2)[::-1]
    expected = [squares[:count].sum() / squares.sum() for count in table["count"]]
    np.testing.assert_allclose(table["energy_share"], expected)
    assert (table["count"].iloc[0], table["count"].iloc[-1]) == (0, k)
    assert len(table) <= 201


def test_entries_for_energy_is_the_fewest_that_hold_the_share():
    matrix = make_matrix([0, 1, 2, 3], [0, 1, 2, 3], [3.0, -1.0, 0.0, 4.0])  # energies 9, 1, 0, 16
    assert entries_for_energy(matrix, 0.6)["fraction"] == 0.25
    assert entries_for_energy(matrix, 0.9)["count"] == 2
    assert entries_for_energy(matrix, 0.97)["fraction"] == 0.75


@given(matrices(), st.floats(0.01, 0.99))
@settings(max_examples=60)
def test_entries_for_energy_of_any_matrix(matrix, share):
    count = int(entries_for_energy(matrix, share)["count"])
    squares = np.sort(matrix.values**2)[::-1]
    assert squares[:count].sum() >= share * squares.sum() * (1 - 1e-12)
    assert squares[: count - 1].sum() < share * squares.sum() * (1 + 1e-12)


@pytest.mark.parametrize("share", [0, 1, -0.5, np.nan])
def test_a_share_outside_its_range_is_refused(share):
    with pytest.raises(ValueError, match="between 0 and 1"):
        entries_for_energy(make_matrix(), share)


def test_neighbouring_diagonals_share_a_row_symmetrically_about_the_diagonal():
    matrix = make_matrix(*np.divmod(np.arange(90 * 90), 90), m=90)
    table, single = energy_by_offset(matrix, most=65), energy_by_offset(matrix)
    assert len(table) <= 65 < len(single) == 179
    assert table["share"].sum() == pytest.approx(1)
    assert table["entries"].sum() == matrix.k
    np.testing.assert_array_equal(table["offset"], -table["offset"][::-1])
    assert 0 in table["offset"].tolist()


def test_a_zero_update_has_shares_of_zero():
    matrix = make_matrix([0, 1, 3], [0, 2, 3], [0.0, 0.0, 0.0])
    tables = (energy_by_offset, energy_shares, concentration, entries, energy_profile)
    for table in (function(matrix) for function in tables):
        assert not table.isna().to_numpy().any()
        shares = table.filter(regex="^(share|energy|energy_share|relative)$")
        assert (shares == 0).to_numpy().all()
    actual = entries_for_energy(matrix)
    assert (actual["count"], actual["fraction"]) == (0, 0)
