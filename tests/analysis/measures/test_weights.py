"""Measures of a base model's weights against dense float64, and chance against draws and exact laws."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from analysis.common.errors import UserError
from analysis.measures import weights
from analysis.measures.gaussian import gaussian_condition, gaussian_values
from analysis.measures.weights import (
    MEASURES,
    basis_memory,
    chance_measures,
    decomposing_memory,
    weight_curve,
    weight_measures,
    weight_steps,
    weight_table,
)
from tests.analysis.adapters.peft_models import make_model, save_base


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SVFT_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def llama(tmp_path) -> Path:
    """A tiny random language model."""
    torch.manual_seed(0)
    return Path(save_base(make_model("llama"), tmp_path / "llama"))


SHAPES = st.tuples(st.integers(2, 40), st.integers(2, 40))


@given(shape=SHAPES, seed=st.integers(0, 1000))
def test_measures_are_those_of_the_dense_matrix(shape, seed):
    W = np.random.default_rng(seed).standard_normal(shape)
    sigma = np.linalg.svd(W, compute_uv=False)
    actual = weight_measures(sigma)
    shares = sigma / sigma.sum()
    leading = max(1, round(min(shape) / 10))
    U, s, Vt = np.linalg.svd(W, full_matrices=False)
    best = (U[:, :leading] * s[:leading]) @ Vt[:leading]
    assert actual["effective_rank"] == pytest.approx(np.exp(-(shares * np.log(shares)).sum()))
    assert actual["stable_rank"] == pytest.approx(np.linalg.norm(W) ** 2 / np.linalg.norm(W, 2) ** 2)
    assert actual["condition"] == pytest.approx(np.linalg.cond(W), rel=1e-6)
    assert actual["largest"] == pytest.approx(np.linalg.norm(W, 2))
    assert actual["leading_share"] == pytest.approx(np.linalg.norm(best) ** 2 / np.linalg.norm(W) ** 2)


def test_a_lost_direction_is_without_bound_and_zero_is_zero():
    assert weight_measures(np.array([2.0, 1.0, 0.0]))["condition"] == np.inf
    assert weight_measures(np.array([1.0, 1e-17]))["condition"] == np.inf
    assert weight_measures(np.array([1.0, 1e-9]))["condition"] == pytest.approx(1e9)
    assert weight_measures(np.zeros(3)) == dict.fromkeys(MEASURES, 0.0)
    assert chance_measures((3, 3), 0.0) == dict.fromkeys(MEASURES, 0.0)


@given(shape=SHAPES, norm=st.floats(1e-3, 1e3))
def test_chance_has_the_norm_and_falls(shape, norm):
    values = gaussian_values(shape, norm)
    assert len(values) == min(shape)
    assert np.linalg.norm(values) == pytest.approx(norm)
    assert (np.diff(values) < 0).all()
    assert np.array_equal(values, gaussian_values(shape[::-1], norm))


@pytest.mark.parametrize("gamma", [1.0, 0.5, 0.25, 0.05])
def test_chance_has_the_moments_of_marchenko_and_pastur(gamma):
    n = 2000
    lam = np.square(gaussian_values((n, int(n / gamma)), np.sqrt(n)))  # their mean is 1
    assert np.mean(lam**2) == pytest.approx(1 + gamma, rel=2e-3)
    assert np.mean(lam**3) == pytest.approx(1 + 3 * gamma + gamma**2, rel=4e-3)
    low, high = (1 - np.sqrt(gamma)) ** 2, (1 + np.sqrt(gamma)) ** 2
    assert low < lam.min()
    assert lam.max() < high
    assert lam.max() == pytest.approx(high, rel=0.02)


@pytest.mark.parametrize("shape", [(96, 96), (192, 96), (64, 256)])
def test_chance_is_what_draws_show(shape):
    rng = np.random.default_rng(0)
    draws = [np.linalg.svd(rng.standard_normal(shape), compute_uv=False) for _ in range(40)]
    chance = chance_measures(shape, float(np.sqrt(np.prod(shape))))
    measured = [weight_measures(sigma) for sigma in draws]
    for name in ("effective_rank", "stable_rank", "largest", "leading_share"):
        assert np.mean([item[name] for item in measured]) == pytest.approx(chance[name], rel=0.03)
    curve = gaussian_values(shape, float(np.sqrt(np.prod(shape))))
    assert np.abs(np.mean(draws, axis=0) - curve).max() < 0.02 * curve[0]


@pytest.mark.parametrize(("shape", "tolerance"), [((40, 40), 0.15), ((40, 80), 0.1), ((300, 40), 0.05)])
def test_half_of_the_draws_have_a_larger_condition_number(shape, tolerance):
    rng = np.random.default_rng(1)
    conditions = [np.linalg.cond(rng.standard_normal(shape)) for _ in range(600)]
    assert np.median(conditions) == pytest.approx(gaussian_condition(shape), rel=tolerance)


def test_every_weight_of_a_model_is_decomposed_once(llama, monkeypatch):
    total, *rows = weight_steps(str(llama))
    tensors = load_file(llama / "model.safetensors")
    assert total == len(rows) == len([name for name in tensors if "_proj" in name])
    for row in rows:
        W = tensors[f"{row['name']}.weight"]
        assert (row["out"], row["in"]) == tuple(W.shape)
        dense = np.linalg.svd(W.double().numpy(), compute_uv=False)
        assert np.abs(row["sigma"] - dense).max() < 1e-12 * dense[0]
    table = weight_table(rows)
    assert table["label"].iloc[0] == "Layer 0 · query"
    assert table["largest"].iloc[0] == rows[0]["sigma"][0]
    monkeypatch.setattr(weights, "_values", None)  # they come from the disk
    again = list(weight_steps(str(llama)))[1:]
    assert all(np.array_equal(row["sigma"], before["sigma"]) for row, before in zip(again, rows))


def test_weights_written_anew_are_read_anew(llama):
    before = list(weight_steps(str(llama)))[1:]
    file = llama / "model.safetensors"
    save_file({name: 2 * W for name, W in load_file(file).items()}, file, metadata={"format": "pt"})
    after = list(weight_steps(str(llama)))[1:]
    assert after[0]["sigma"] == pytest.approx(2 * before[0]["sigma"])


def test_a_weight_that_cannot_be_read_hides_no_other(llama):
    file = llama / "model.safetensors"
    tensors = load_file(file)
    name = next(name for name in tensors if "q_proj" in name)
    tensors[name][0, 0] = torch.nan
    save_file(tensors, file, metadata={"format": "pt"})
    rows = list(weight_steps(str(llama)))[1:]
    damaged = [row for row in rows if row["sigma"] is None]
    assert [f"{row['name']}.weight" for row in damaged] == [name]
    assert "NaN" in damaged[0]["reason"]
    assert len(weight_table(rows)) == len(rows) - 1


def test_what_is_no_model_is_a_sentence(tmp_path):
    with pytest.raises(UserError):
        list(weight_steps(str(tmp_path)))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "nonsense"}))
    with pytest.raises(UserError):
        list(weight_steps(str(tmp_path)))


@settings(max_examples=20)
@given(shape=SHAPES)
def test_a_curve_lies_beside_chance_of_its_norm(shape):
    sigma = np.linalg.svd(np.random.default_rng(0).standard_normal(shape), compute_uv=False)
    curve = weight_curve({"sigma": sigma, "out": shape[0], "in": shape[1]})
    assert curve["index"].tolist() == list(range(min(shape)))
    assert np.linalg.norm(curve["chance"]) == pytest.approx(np.linalg.norm(sigma))


def test_memory_is_that_of_the_tensors():
    shapes = [(48, 16), (16, 48)]
    U, V = torch.zeros(48, 16), torch.zeros(16, 16)
    assert basis_memory(shapes) == 2 * (U.nbytes + V.nbytes)
    assert decomposing_memory(shapes) == 8 * (2 * 48 * 16 + 64 * 16)  # twice W, U and V, in float64
    assert decomposing_memory([(4096, 2048)]) == 4 * (2 * 4096 * 2048 + 6144 * 2048)
