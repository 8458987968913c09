"""The decomposition of a weight, exact and randomized, and where the tuner gets it from."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from peft import get_peft_model

import svft
from svft import decomposition
from svft.decomposition import Decomposition, decompose
from tests.svft.tiny import config_for, make_model, svft_layers

SHAPES = [(12, 12), (30, 12), (12, 30), (1, 7), (7, 1)]


def random_weight(out: int, in_: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.Tensor:
    return torch.randn(out, in_, generator=torch.Generator().manual_seed(seed)).to(dtype)


def same(a: Decomposition, b: Decomposition) -> bool:
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in ("U", "sigma", "V", "signature"))


# -- exact


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_it_is_the_thin_svd_that_numpy_finds(shape, dtype):
    W = random_weight(*shape, dtype)
    actual = decompose(W)
    eps = torch.finfo(actual.U.dtype).eps
    assert actual.U.dtype == actual.V.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    sigma = np.linalg.svd(W.double().numpy(), compute_uv=False)
    np.testing.assert_allclose(actual.sigma.double().numpy(), sigma, rtol=0, atol=8 * eps * sigma[0])
    U, V = actual.U.double(), actual.V.double()
    identity = torch.eye(min(shape), dtype=torch.float64)
    torch.testing.assert_close(U.T @ U, identity, rtol=0, atol=32 * eps)
    torch.testing.assert_close(V.T @ V, identity, rtol=0, atol=32 * eps)
    torch.testing.assert_close((U * actual.sigma) @ V.T, W.double(), rtol=0, atol=32 * eps * float(sigma[0]))
    assert actual.error < 1e-6


def test_signs_are_canonical_the_largest_entry_of_a_left_vector_is_positive():
    actual = decompose(random_weight(30, 12))
    leading = actual.U.gather(0, actual.U.abs().argmax(dim=0, keepdim=True))
    assert (leading > 0).all()


def test_a_copy_in_another_layout_is_decomposed_alike():
    W = random_weight(30, 12)
    assert same(decompose(W), decompose(W.T.contiguous().T))


def test_a_zero_weight_has_a_decomposition():
    actual = decompose(torch.zeros(5, 3))
    assert not actual.sigma.any()
    torch.testing.assert_close(actual.U.T @ actual.U, torch.eye(3))


def test_a_weight_that_is_not_finite_is_refused():
    W = random_weight(4, 4)
    W[0, 0] = float("nan")
    with pytest.raises(ValueError, match="NaN or infinite entries"):
        decompose(W)


# -- the tuner


def test_progress_can_be_observed():
    seen = []
    with svft.decomposition_progress(lambda done, total, name: seen.append((done, total, name))):
        get_peft_model(make_model(), config_for("plain", target_modules=["query"]))
    names = [f"bert.encoder.layer.{layer}.attention.self.query" for layer in (0, 1)]
    assert seen == [(1, 2, names[0]), (2, 2, names[1])]


def test_the_tuner_takes_decompositions_from_where_it_is_told(monkeypatch):
    asked = []

    class Recording:
        recall = staticmethod(decomposition.recall)

        @staticmethod
        def decompose(weight, rank=None, name="The weight"):
            asked.append(name)
            return decompose(weight, rank, name)

    monkeypatch.setattr(svft.SvftLayer, "decomposer", Recording)
    model = get_peft_model(make_model(), config_for("plain"))
    assert asked == [layer.module_name for layer in svft_layers(model).values()]


# -- the randomized method


def low_rank_plus_noise(n: int = 64, decay: float = 0.5) -> torch.Tensor:
    actual = decompose(random_weight(n + 8, n))
    return (actual.U * decay ** torch.arange(n).float()) @ actual.V.T


def test_a_small_rank_of_a_large_weight_is_randomized_and_states_its_error(monkeypatch, caplog):
    W = low_rank_plus_noise()
    exact = decompose(W)
    monkeypatch.setattr(decomposition, "RANDOMIZED_FROM", 64)
    actual = decompose(W, rank=8)
    assert actual.U.shape == (72, 8)
    assert actual.V.shape == (64, 8)
    assert actual.signature.shape == (2, 8, 2)
    residual = torch.linalg.vector_norm(W @ actual.V - actual.U * actual.sigma, dim=0).max() / actual.sigma[0]
    assert actual.error == pytest.approx(float(residual), abs=1e-6)
    assert f"{actual.error:.1e}" in caplog.text
    torch.testing.assert_close(actual.sigma, exact.sigma[:8], rtol=1e-3, atol=1e-5)


def test_a_rank_that_is_not_small_against_n_is_exact(monkeypatch):
    monkeypatch.setattr(decomposition, "RANDOMIZED_FROM", 64)
    assert decompose(low_rank_plus_noise(), rank=17).U.shape == (72, 64)


def test_the_random_stream_of_the_program_is_left_alone(monkeypatch):
    monkeypatch.setattr(decomposition, "RANDOMIZED_FROM", 64)
    before = torch.random.get_rng_state()
    decompose(low_rank_plus_noise(), rank=8)
    assert torch.equal(torch.random.get_rng_state(), before)
