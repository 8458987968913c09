"""Rows, tables and totals of a whole adapter, against the tables of single matrices and the dense weights."""

import pickle
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import numpy as np
import pandas as pd
import pytest

from analysis.adapters.opening import open_adapter
from analysis.measures.coefficients import energy_shares, entries_for_energy
from analysis.measures.null import entry_null
from analysis.measures.ranks import norms, rank_bounds, ranks
from analysis.measures.spectrum import intruders, spectrum
from analysis.measures.summary import (
    noise_words,
    summarize,
    summarize_adapter,
    summarize_beside_noise,
    summary_table,
    totals,
)
from tests.analysis.synthetic import BERT, dense, make_matrix, write_adapter

PATTERNS = [("plain", None), ("banded", 2), ("random", 2), ("top_k", 1)]


@pytest.mark.parametrize(("pattern", "off_diag"), PATTERNS)
def test_a_row_agrees_with_the_dense_weights(tmp_path, pattern, off_diag):
    adapter = open_adapter(write_adapter(tmp_path, pattern, off_diag))
    for name in adapter.names:
        matrix = adapter.matrix(name)
        _, _, W, update = dense(matrix)
        row = summarize(matrix)
        values = np.linalg.svd(update, compute_uv=False)
        assert row["weight_norm"] == pytest.approx(np.linalg.norm(W))
        assert row["update_norm"] == pytest.approx(np.linalg.norm(update))
        assert row["relative_norm"] == pytest.approx(np.linalg.norm(update) / np.linalg.norm(W))
        assert row["update_spectral"] == pytest.approx(values[0])
        assert row["update_nuclear"] == pytest.approx(values.sum())
        assert row["stable_rank"] == pytest.approx((values**2).sum() / values[0] ** 2)
        assert row["numerical_rank"] == np.linalg.matrix_rank(update, tol=max(W.shape) * 2**-23 * values[0])


def test_a_row_says_what_the_tables_of_the_matrix_say(tmp_path):
    adapter = open_adapter(write_adapter(tmp_path, "banded", 2))
    matrix = adapter.matrix(adapter.names[4])
    row, table = summarize_beside_noise(matrix), spectrum(matrix)
    update = ranks(matrix).iloc[2]
    for column in ("stable_rank", "effective_rank", "numerical_rank"):
        assert row[column] == update[column]
    assert row["update_nuclear"] == norms(matrix)["nuclear"][2]
    assert {key: row[key] for key in rank_bounds(matrix).index} == rank_bounds(matrix).to_dict()
    shares = energy_shares(matrix).set_index("part")
    for column, part in (("off_diagonal_share", "off_diagonal"), ("leading_share", "leading_10pct")):
        assert row[column] == shares.at[part, "share"]
        for end in ("share", "low", "high"):
            assert row[f"noise_{column.removesuffix('_share')}_{end}"] == shares.at[part, f"noise_{end}"]
    concentrated = entries_for_energy(matrix)
    assert row["entries_for_90"] == concentrated["fraction"]
    few = entry_null(matrix).fraction
    ends = ("noise_entries_for_90", "noise_entries_for_90_low", "noise_entries_for_90_high")
    assert tuple(row[end] for end in ends) == (few.mean, few.low, few.high)
    assert row["largest_delta_sigma"] == table["delta"][table["delta"].abs().idxmax()]
    relative = table["relative_delta"][table["sigma"] >= 0.01 * table["sigma"].max()]
    assert row["largest_relative_delta_sigma"] == relative[relative.abs().idxmax()]
    assert (row["moved"], row["turned"]) == (table["moved"].sum(), table["turned"].sum())
    assert row["intruders"] == intruders(matrix)["intruder"].sum()


@pytest.mark.parametrize(("pattern", "off_diag"), PATTERNS)
def test_the_table_has_one_row_per_matrix_in_the_order_of_the_adapter(tmp_path, pattern, off_diag):
    adapter = open_adapter(write_adapter(tmp_path, pattern, off_diag))
    table = summarize_adapter(adapter)
    assert table["name"].tolist() == adapter.names
    shared = ["name", "layer", "kind", "label", "out", "in", "n", "m", "k", "pattern_label"]
    pd.testing.assert_frame_equal(table[shared], adapter.matrices[shared])
    assert not table.isna().to_numpy().any()
    for column in table.columns:
        assert column in summarize_adapter.__doc__
    if pattern == "plain":
        assert (table[["turned", "intruders", "off_diagonal_share"]] == 0).all(axis=None)


def test_progress_is_told_and_a_stop_keeps_the_rows_so_far(tmp_path):
    adapter = open_adapter(write_adapter(tmp_path))
    told = []
    summarize_adapter(adapter, progress=lambda *step: told.append(step))
    assert told == [(i, 12, name) for i, name in enumerate(adapter.names)] + [(12, 12, "")]
    answers = iter([False, False, True])
    table = summarize_adapter(adapter, should_stop=lambda: next(answers))
    assert table["name"].tolist() == adapter.names[:2]
    assert summarize_adapter(adapter, should_stop=lambda: True).columns.tolist() == table.columns.tolist()


def test_rows_can_be_computed_in_another_process(tmp_path):
    adapter = open_adapter(write_adapter(tmp_path, modules=dict(list(BERT.items())[:2])))
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        rows = list(pool.map(summarize_beside_noise, map(adapter.matrix, adapter.names)))
        table = pool.submit(summarize_adapter, adapter).result()
    pd.testing.assert_frame_equal(summary_table(rows), table)
    pd.testing.assert_frame_equal(table, summarize_adapter(pickle.loads(pickle.dumps(adapter))))


def test_totals_are_those_of_all_matrices_as_one_block_diagonal_matrix(tmp_path):
    adapter = open_adapter(write_adapter(tmp_path, "banded", 2))
    table = summarize_adapter(adapter)
    actual = totals(table)
    matrices = [adapter.matrix(name) for name in adapter.names]
    update = np.concatenate([matrix.values for matrix in matrices])
    weight = np.concatenate([matrix.sigma for matrix in matrices])
    off = np.concatenate([matrix.rows != matrix.cols for matrix in matrices])
    assert (actual["matrices"], actual["k"]) == (12, adapter.trainable)
    assert actual["update_norm"] == pytest.approx(np.linalg.norm(update))
    assert actual["relative_norm"] == pytest.approx(np.linalg.norm(update) / np.linalg.norm(weight))
    assert actual["off_diagonal_share"] == pytest.approx((update[off] ** 2).sum() / (update**2).sum())
    assert actual["turned"] == table["turned"].sum()
    assert abs(actual["largest_delta_sigma"]) == table["largest_delta_sigma"].abs().max()
    for measure in actual.index:
        assert measure in totals.__doc__


def test_a_zero_update_has_zero_measures_and_no_gaps():
    row = summarize(make_matrix([0, 1], [1, 1], [0.0, 0.0]))
    assert not pd.isna(pd.Series(row)).any()
    zeros = ["update_norm", "relative_norm", "update_spectral", "update_nuclear", "stable_rank", "effective_rank",
             "numerical_rank", "off_diagonal_share", "leading_share", "entries_for_90", "largest_delta_sigma", "moved",
             "turned", "intruders"]  # fmt: skip
    assert {key: row[key] for key in zeros} == dict.fromkeys(zeros, 0)
    beside = summarize_beside_noise(make_matrix([0, 1], [1, 1], [0.0, 0.0]))
    assert totals(summary_table([beside]))["relative_norm"] == 0


def test_the_interval_of_noise_is_written_out(tmp_path):
    table = summarize_adapter(open_adapter(write_adapter(tmp_path, "plain")))
    assert set(noise_words(table, "off_diagonal")) == {"0%"}
    assert noise_words(table.assign(noise_leading_low=0.012, noise_leading_high=0.2), "leading")[0] == "1% to 20%"
    assert noise_words(table.assign(noise_leading_low=np.nan), "leading")[0] == ""


def test_noise_of_a_whole_adapter_lies_in_its_interval(tmp_path):
    whole = totals(summarize_adapter(open_adapter(write_adapter(tmp_path, "banded", 2))))  # random coefficients
    for name in ("off_diagonal", "leading"):
        low, mean, high = (whole[f"noise_{name}_{end}"] for end in ("low", "share", "high"))
        assert low < mean < high
        assert low < whole[f"{name}_share"] < high


def test_a_head_only_checkpoint_has_an_empty_table(tmp_path):
    write_adapter(tmp_path, modules={}, config={"peft_type": "LORA", "target_modules": "dummy-target-modules"})
    table = summarize_adapter(open_adapter(tmp_path))
    assert table.empty
    assert totals(table)["k"] == 0
    assert totals(table)["turned"] == 0


def test_a_truncated_basis_leaves_gaps_and_not_numbers():
    matrix = make_matrix([0, 1], [0, 1], [-4.9, 0.2], m=2, shape=(7, 5), sigma=[5, 3])
    row = summarize(replace(matrix, layer=None))
    assert {key for key, value in row.items() if value is pd.NA or value != value} == {
        "layer", "weight_norm", "relative_norm", "moved",
    }  # fmt: skip
