"""Two updates of one weight, against dense linear algebra in float64."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

from analysis.adapters.adapter import Projection
from analysis.adapters.opening import open_adapter
from analysis.cli import app
from analysis.common.errors import AdapterError
from analysis.figures.comparison_map import LIKENESSES
from analysis.measures.comparison import (
    TOLERANCE,
    average,
    compare_adapters,
    compare_matrix,
    cosine,
    differences,
    in_basis_of,
    overlap,
    shared,
)
from analysis.measures.noise import Level
from analysis.measures.summary import summarize
from svft import basis as svft_basis
from svft.basis import signature
from tests.analysis.measures.untrained import untrained
from tests.analysis.synthetic import BERT, dense, make_matrix, write_adapter


def scattered(m, k, seed, **more):
    flat = np.random.default_rng(seed).choice(m * m, size=k, replace=False)
    return make_matrix(flat // m, flat % m, m=m, seed=seed, sigma=np.linspace(3, 1, m), **more)


def update(matrix):
    return dense(matrix)[3]  # U and V are drawn from the shape alone: the same for both


# ---- of two matrices


@given(st.integers(0, 1000), st.integers(1, 64), st.integers(1, 64))
def test_the_cosine_is_that_of_the_dense_updates(seed, k_a, k_b):
    a, b = scattered(8, k_a, seed), scattered(8, k_b, seed + 1)
    A, B = update(a), update(b)
    expected = (A * B).sum() / np.linalg.norm(A) / np.linalg.norm(B)
    assert cosine(a, b)["cosine"] == pytest.approx(expected, abs=1e-12)


def test_an_update_is_like_itself_and_unlike_its_opposite():
    a = scattered(8, 20, 0)
    assert cosine(a, a)["cosine"] == pytest.approx(1)
    assert cosine(a, replace(a, values=-3 * a.values))["cosine"] == pytest.approx(-1)
    assert (overlap(a, a)["overlap_left"], overlap(a, a)["overlap_right"]) == pytest.approx((1, 1))


def test_the_chance_level_of_the_cosine_is_what_noise_scatters_by():
    a, b = scattered(12, 60, 0), scattered(12, 40, 1)
    rng = np.random.default_rng(2)

    def drawn(matrix):
        return replace(matrix, values=rng.standard_normal(matrix.k))

    actual = [cosine(a, drawn(b)) for _ in range(4000)]
    assert len({matrix_of["chance_cosine"] for matrix_of in actual}) == 1
    outside = [abs(matrix_of["cosine"]) > matrix_of["chance_cosine"] for matrix_of in actual]
    assert np.mean(outside) == pytest.approx(0.05, abs=0.012)  # the law is exact
    assert cosine(a, make_matrix([0], [0], [1.0], m=12))["chance_cosine"] <= 1  # of one value only the sign is free


@given(st.integers(0, 1000), st.integers(1, 6))
def test_the_overlap_is_that_of_the_leading_singular_vectors_of_the_dense_updates(seed, leading):
    a, b = (scattered(8, 64, seed + shift) for shift in (0, 1))
    (P_a, _, Qt_a), (P_b, _, Qt_b) = (np.linalg.svd(update(matrix)) for matrix in (a, b))
    actual = overlap(a, b, leading=leading)
    left = np.linalg.norm(P_a[:, :leading].T @ P_b[:, :leading]) ** 2 / leading
    right = np.linalg.norm(Qt_a[:leading] @ Qt_b[:leading].T) ** 2 / leading
    assert (actual["overlap_left"], actual["overlap_right"]) == pytest.approx((left, right), abs=1e-8)


@pytest.mark.parametrize("kind", ["plain", "banded", "random", "LoRA r=1", "LoRA r=4", "full"])
def test_noise_is_called_like_another_update_at_most_one_time_in_twenty(kind):
    outside = {"cosine": [], "overlap_left": [], "overlap_right": []}
    for seed in range(0, 240, 3):  # of one size and shape
        first, second = untrained("banded", 0), untrained(kind, seed)
        row = cosine(first, second) | overlap(first, replace(second, name=str(seed)), leading=3)
        outside["cosine"].append(abs(row["cosine"]) > row["chance_cosine"])
        for side in ("left", "right"):
            level = Level(*(row[f"chance_{side}{end}"] for end in ("", "_low", "_high")))
            outside[f"overlap_{side}"].append(not level.holds(row[f"overlap_{side}"]))
    assert np.mean(list(outside.values())) < 0.05 + 2 * np.sqrt(0.05 * 0.95 / 160)


def test_two_updates_of_rank_one_have_a_cosine_with_a_wider_law():
    first = untrained("LoRA r=1", 0)
    actual = [cosine(first, untrained("LoRA r=1", 3 * seed)) for seed in range(600)]
    assert np.mean([abs(matrix_of["cosine"]) > matrix_of["chance_cosine"] for matrix_of in actual]) < 0.07


def test_the_overlap_of_random_subspaces_has_the_mean_and_spread_that_is_said():
    a, rng = untrained("full", 0), np.random.default_rng(0)
    row = overlap(a, a, leading=3)
    P = np.linalg.svd(a.coefficients())[0][:, :3]
    drawn = [np.square(P.T @ np.linalg.qr(rng.standard_normal((24, 3)))[0]).sum() / 3 for _ in range(4000)]
    assert np.mean(drawn) == pytest.approx(row["chance_left"], rel=0.02)
    outside = (drawn < np.array(row["chance_left_low"])) | (drawn > np.array(row["chance_left_high"]))
    assert 0.035 < outside.mean() < 0.06


def test_likeness_of_a_whole_adapter_is_judged_by_its_mean():
    rows = []
    for seed in range(0, 60, 3):
        first, second = untrained("banded", seed), replace(untrained("banded", seed + 300), name=str(seed))
        rows.append({"name": str(seed)} | cosine(first, second) | overlap(first, second, leading=3))
    for likeness in ("cosine", "overlap_left", "overlap_right"):
        mean, noise = average(pd.DataFrame(rows), likeness)
        assert noise.holds(mean)
        assert noise.high - noise.low < 0.5 * (0.25 if likeness == "cosine" else 1)
    alike = [row | {"cosine": 0.2} for row in rows]
    assert average(pd.DataFrame(alike), "cosine")[1].place(0.2) == "above"


def test_no_more_directions_are_compared_than_both_updates_have():
    matrix_of = make_matrix([2], [5], [1.0], m=8)
    assert overlap(matrix_of, scattered(8, 64, 0))["directions"] == 1


def projection(delta, like):
    """The matrix of an update ΔW (out, in) of another kind, projected into the basis of `like`."""
    U, V, *_ = dense(like)
    M = U.T @ delta @ V
    tall = like.shape[0] > like.shape[1]
    T = np.linalg.qr(delta @ V - U @ M, mode="r") if tall else np.linalg.qr((U.T @ delta - M @ V.T).T, mode="r").T
    rows, cols = np.divmod(np.arange(M.size), len(M))
    side = Projection(T, delta.size, 8)
    return replace(like, rows=rows, cols=cols, values=M.ravel(), pattern="projected", projection=side)


@pytest.mark.parametrize("shape", [(14, 8), (8, 14)])
@pytest.mark.parametrize("leading", [1, 3])
def test_an_update_that_leaves_the_basis_is_compared_as_a_whole(shape, leading):
    svft = scattered(8, 30, 0, shape=shape)
    delta = np.random.default_rng(1).standard_normal(shape)
    B = update(svft)
    expected = (delta * B).sum() / np.linalg.norm(delta) / np.linalg.norm(B)
    for actual in (cosine(projection(delta, svft), svft), cosine(svft, projection(delta, svft))):
        assert actual["cosine"] == pytest.approx(expected, abs=1e-12)
    (P_a, _, Qt_a), (P_b, _, Qt_b) = (np.linalg.svd(matrix_of, full_matrices=False) for matrix_of in (delta, B))
    actual = overlap(projection(delta, svft), svft, leading=leading)
    left = np.linalg.norm(P_a[:, :leading].T @ P_b[:, :leading]) ** 2 / leading
    right = np.linalg.norm(Qt_a[:leading] @ Qt_b[:leading].T) ** 2 / leading
    assert (actual["overlap_left"], actual["overlap_right"]) == pytest.approx((left, right), abs=1e-8)
    noise = overlap(svft, projection(delta, svft), leading=leading)
    assert (noise["chance_left"], noise["chance_right"]) == (leading / shape[0], leading / shape[1])


def test_two_updates_that_leave_the_basis_are_compared_as_dense_matrices():
    like = scattered(8, 30, 0, shape=(14, 8))
    rng = np.random.default_rng(2)
    A, B = rng.standard_normal((2, 14, 8))
    pair = projection(A, like), projection(B, like)
    expected = (A * B).sum() / np.linalg.norm(A) / np.linalg.norm(B)
    assert cosine(*pair, (A, B))["cosine"] == pytest.approx(expected, abs=1e-12)
    assert overlap(*pair, (A, A), leading=2)["overlap_left"] == pytest.approx(1)

    def noise():
        drawn = rng.standard_normal(B.shape)
        return drawn * (np.linalg.norm(B) / np.linalg.norm(drawn))

    actual = [cosine(*pair, (A, noise()))["cosine"] for _ in range(2000)]
    assert 1.96 * np.std(actual) == pytest.approx(cosine(*pair, (A, B))["chance_cosine"], rel=0.06)


# ---- of two adapters


@pytest.fixture
def pair(tmp_path):
    return (
        open_adapter(write_adapter(tmp_path / "plain", "plain", seed=1)),
        open_adapter(write_adapter(tmp_path / "banded", "banded", 2, seed=2)),
    )


def test_there_is_one_row_for_each_matrix_that_both_adapt(pair):
    table = compare_adapters(*pair)
    assert table["name"].tolist() == pair[0].names
    first = pair[0].matrix(table["name"][0])
    assert table["relative_norm_a"][0] == pytest.approx(np.linalg.norm(first.values) / np.linalg.norm(first.sigma))
    assert np.isfinite(table[["cosine", "overlap_left", "overlap_right"]]).all(axis=None)
    assert table["directions"].tolist() == [10] * len(table)


def test_other_targets_are_compared_on_what_they_share_and_it_is_said(tmp_path):
    few = {name: shape for name, shape in BERT.items() if "query" in name}
    other = few | {"bert.pooler.dense": (12, 12)}
    other |= {"bert.encoder.layer.1.attention.self.query": (12, 8)}
    a, b = (open_adapter(write_adapter(tmp_path / name, modules=of)) for name, of in (("a", BERT), ("b", other)))
    common = shared(a, b)
    assert common.names == ["bert.encoder.layer.0.attention.self.query"]
    assert common.only_b == ["bert.pooler.dense"]
    assert common.unlike == ["bert.encoder.layer.1.attention.self.query"]
    assert common.sentence() == (
        "Compared on the 1 matrices that both adapt; left out: 10 only the first adapts, 1 only the second adapts, "
        "1 have weights of another shape."
    )
    assert len(compare_adapters(a, b)) == 1


def test_adapters_with_nothing_in_common_get_a_sentence(tmp_path):
    a = open_adapter(write_adapter(tmp_path / "a"))
    b = open_adapter(write_adapter(tmp_path / "b", modules={"elsewhere.dense": (12, 12)}))
    with pytest.raises(AdapterError, match="adapt no matrix of one name and shape"):
        compare_adapters(a, b)


def test_a_zero_update_has_neither_cosine_nor_overlap(pair, tmp_path):
    path = write_adapter(tmp_path / "zero")
    change(path, lambda key, tensor: np.zeros_like(tensor) if key.endswith("coefficients") else tensor)
    table = compare_adapters(pair[0], open_adapter(path))
    assert table["cosine"].isna().all()
    assert table["directions"].isna().all()
    assert (table["norm_ratio"] == 0).all()


def change(path, function):
    file = path / "adapter_model.safetensors"
    save_file({key: np.ascontiguousarray(function(key, of)) for key, of in load_file(file).items()}, file)


# ---- the basis

NAME = "bert.encoder.layer.0.attention.self.query"


def with_basis(path, U, V):
    """Give the matrix NAME of an adapter file the signature of a basis."""
    actual = signature(torch.from_numpy(U), torch.from_numpy(V)).numpy().astype(np.float16)
    change(path, lambda key, tensor: actual if key.endswith(f"{NAME}.svft_signature") else tensor)
    return open_adapter(path)


@pytest.fixture
def basis():
    rng = np.random.default_rng(3)
    return tuple(np.linalg.qr(rng.standard_normal((12, 12)))[0] for _ in range(2))


def test_two_bases_count_as_one_as_they_do_where_an_adapter_is_loaded():
    assert TOLERANCE == svft_basis.TOLERANCE


def test_vectors_with_other_signs_are_the_same_basis(tmp_path, basis):
    U, V = basis
    a = with_basis(write_adapter(tmp_path / "a", "banded", 2), U, V)
    signs = np.where(np.random.default_rng(4).random((2, 12)) < 0.5, -1.0, 1.0)
    path = write_adapter(tmp_path / "b", "banded", 2, seed=9)
    b = with_basis(path, U * signs[0], V * signs[1])
    M = b.matrix(NAME).coefficients()
    repaired, error = in_basis_of(a, b, NAME)
    assert error < TOLERANCE
    # U' M V'ᵀ = U M' Vᵀ: the update stays what it is.
    np.testing.assert_allclose(U @ repaired.coefficients() @ V.T, (U * signs[0]) @ M @ (V * signs[1]).T, atol=1e-12)
    A = U @ a.matrix(NAME).coefficients() @ V.T
    B = (U * signs[0]) @ M @ (V * signs[1]).T
    expected = (A * B).sum() / np.linalg.norm(A) / np.linalg.norm(B)
    assert compare_matrix(a, b, NAME)["cosine"] == pytest.approx(expected, abs=1e-12)


def test_other_vectors_have_no_cosine(tmp_path, basis):
    U, V = basis
    rotation = np.linalg.qr(np.random.default_rng(5).standard_normal((12, 12)))[0]
    a = with_basis(write_adapter(tmp_path / "a"), U, V)
    b = with_basis(write_adapter(tmp_path / "b"), U @ rotation, V)
    row = compare_matrix(a, b, NAME)
    assert row["basis_error"] > TOLERANCE
    assert np.isnan([row["cosine"], row["overlap_left"], row["overlap_right"]]).all()
    assert row["norm_ratio"] == pytest.approx(1)


# ---- differences


def test_differences_list_every_measure_of_both(pair):
    a, b = (summarize(adapter.matrix(NAME)) for adapter in pair)
    table = differences(a, b).set_index("measure")
    assert table.at["k", "difference"] == b["k"] - a["k"]
    assert table.at["stable_rank", "a"] == a["stable_rank"]
    assert {"relative_norm", "off_diagonal_share", "turned", "intruders"} <= set(table.index)
    assert not {"label", "out", "n"} & set(table.index)


# ---- the command


def run(*words):
    return CliRunner().invoke(app, ["compare", *map(str, words)])


def test_the_command_prints_the_table_and_what_was_compared(pair):
    result = run(pair[0].path, pair[1].path)
    assert result.exit_code == 0, result.output
    assert "Layer 0 · query" in result.output
    assert "Both adapt the same 12 matrices." in result.output


def test_the_command_prints_json(pair):
    document = json.loads(run(pair[0].path, pair[1].path, "--json").output)
    assert document["first"]["method"] == "SVFT plain"
    expected = compare_adapters(*pair)
    assert [row["name"] for row in document["matrices"]] == expected["name"].tolist()
    assert [row["cosine"] for row in document["matrices"]] == pytest.approx(expected["cosine"].tolist())


def test_the_command_writes_its_figures_to_one_file_that_needs_no_network(pair, tmp_path):
    file = tmp_path / "new" / "maps.html"
    assert run(pair[0].path, pair[1].path, "--figure", file).exit_code == 0
    page = file.read_text()
    assert page.count("<figcaption>") == len(LIKENESSES)
    assert 'src="http' not in page
    assert "plotly.js" in page


def test_a_path_that_is_no_adapter_gets_a_sentence(pair, tmp_path):
    (tmp_path / "empty").mkdir()
    result = run(pair[0].path, tmp_path / "empty")
    assert result.exit_code == 2
    assert "is not an adapter" in result.output
    assert "Traceback" not in result.output
