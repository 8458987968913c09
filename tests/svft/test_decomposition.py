"""The decomposition of a weight, its cache on disk, and the randomized method."""

from __future__ import annotations

import multiprocessing
import os
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from peft import get_peft_model

import svft
from svft import decomposition
from svft.decomposition import cache_files, clear_cache, decompose
from tests.svft.tiny import config_for, make_model

SHAPES = [(12, 12), (30, 12), (12, 30), (1, 7), (7, 1)]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Return a cache directory that belongs to one test."""
    monkeypatch.setenv("SVFT_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def random_weight(out: int, in_: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.Tensor:
    return torch.randn(out, in_, generator=torch.Generator().manual_seed(seed)).to(dtype)


def same(a: decomposition.Decomposition, b: decomposition.Decomposition) -> bool:
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in ("U", "sigma", "V", "signature"))


# -- exact


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_it_is_the_thin_svd_that_numpy_finds(shape, dtype):
    W = random_weight(*shape, dtype)
    found = decompose(W)
    eps = torch.finfo(found.U.dtype).eps
    assert found.U.dtype == found.V.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    sigma = np.linalg.svd(W.double().numpy(), compute_uv=False)
    np.testing.assert_allclose(found.sigma.double().numpy(), sigma, rtol=0, atol=8 * eps * sigma[0])
    U, V = found.U.double(), found.V.double()
    identity = torch.eye(min(shape), dtype=torch.float64)
    torch.testing.assert_close(U.T @ U, identity, rtol=0, atol=32 * eps)
    torch.testing.assert_close(V.T @ V, identity, rtol=0, atol=32 * eps)
    torch.testing.assert_close((U * found.sigma) @ V.T, W.double(), rtol=0, atol=32 * eps * float(sigma[0]))
    assert found.error < 1e-6


def test_signs_are_canonical_the_largest_entry_of_a_left_vector_is_positive():
    found = decompose(random_weight(30, 12))
    leading = found.U.gather(0, found.U.abs().argmax(dim=0, keepdim=True))
    assert (leading > 0).all()


def test_a_copy_in_another_layout_is_decomposed_alike():
    W = random_weight(30, 12)
    assert same(decompose(W), decompose(W.T.contiguous().T))


def test_a_zero_weight_has_a_decomposition():
    found = decompose(torch.zeros(5, 3))
    assert not found.sigma.any()
    torch.testing.assert_close(found.U.T @ found.U, torch.eye(3))


def test_a_weight_that_is_not_finite_is_refused():
    W = random_weight(4, 4)
    W[0, 0] = float("nan")
    with pytest.raises(ValueError, match="NaN or infinite entries"):
        decompose(W)


# -- the cache


def test_a_cache_hit_equals_the_fresh_decomposition(monkeypatch):
    W = random_weight(30, 12)
    fresh = decompose(W)
    assert len(cache_files()) == 1
    monkeypatch.setattr(decomposition, "_compute", None)  # not needed again
    hit = decompose(W)
    assert same(hit, fresh)
    assert torch.equal(hit.fingerprint, fresh.fingerprint)
    assert hit.error == fresh.error


def test_a_weight_that_differs_in_one_entry_is_another_weight():
    W = random_weight(30, 12)
    decompose(W)
    W[3, 4] += 1e-6
    decompose(W)
    assert len(cache_files()) == 2


def test_types_share_a_file_only_where_the_values_are_equal_and_the_precision_too():
    W = random_weight(6, 6, torch.bfloat16)
    decompose(W)
    decompose(W.float())
    assert len(cache_files()) == 1
    assert decompose(W.double()).U.dtype == torch.float64
    assert len(cache_files()) == 2


DAMAGES = {
    "truncated": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "garbage": lambda content: b"not a file of tensors" * 20,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_computed_anew_with_a_warning_and_replaced(damage):
    W = random_weight(30, 12)
    fresh = decompose(W)
    (file,) = cache_files()
    file.write_bytes(damage(file.read_bytes()))
    with pytest.warns(UserWarning, match="is damaged"):
        assert same(decompose(W), fresh)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert same(decompose(W), fresh)


def test_no_flipped_bit_changes_a_decomposition():
    W = random_weight(30, 12)
    fresh = decompose(W)
    (file,) = cache_files()
    sound = file.read_bytes()
    header = 8 + int.from_bytes(sound[:8], "little")
    for position in range(0, len(sound), 17):
        file.write_bytes(sound[:position] + bytes([sound[position] ^ 0x40]) + sound[position + 1 :])
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert same(decompose(W), fresh)
        if position >= header:  # before, it may have hit the padding or a digit of the stated error
            assert "is damaged" in str(caught[0].message)


def test_wrong_tensors_in_a_file_are_damage_too():
    W = random_weight(9, 5)
    fresh = decompose(W)
    decompose(random_weight(9, 5, seed=1))
    older, newer = cache_files()
    newer.replace(older)  # the decomposition of another weight, whole in itself
    with pytest.warns(UserWarning, match="is damaged"):
        assert same(decompose(W), fresh)


def _decompose_many() -> None:
    torch.set_num_threads(1)  # a forked process cannot use the threads of its parent
    warnings.simplefilter("error")
    for _ in range(3):
        for seed in range(12):
            decompose(random_weight(40, 30, seed=seed))


def test_processes_share_the_cache_at_once(cache, monkeypatch):
    monkeypatch.setenv("SVFT_CACHE_LIMIT_GB", "6e-5")  # so that they evict, too
    processes = [multiprocessing.get_context("fork").Process(target=_decompose_many) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=60)
        assert process.exitcode == 0
    assert 0 < sum(f.stat().st_size for f in cache_files()) <= 6e4
    assert {f.suffix for f in cache.iterdir()} == {".safetensors"}


def test_the_least_recently_used_files_go_when_the_limit_is_reached(monkeypatch):
    for seed in range(3):
        decompose(random_weight(30, 12, seed=seed))
    files = cache_files()
    for age, file in enumerate(files):
        os.utime(file, (1000 + age, 1000 + age))
    decompose(random_weight(30, 12, seed=0))  # used again
    size = files[0].stat().st_size
    monkeypatch.setenv("SVFT_CACHE_LIMIT_GB", str(3.5 * size / 1e9))
    decompose(random_weight(30, 12, seed=3))
    assert files[1] not in cache_files()
    assert {files[0], files[2]} < set(cache_files())


def test_nothing_larger_than_the_limit_is_written(monkeypatch):
    monkeypatch.setenv("SVFT_CACHE_LIMIT_GB", "0")
    decompose(random_weight(30, 12))
    assert cache_files() == []


def test_the_disk_keeps_a_reserve(monkeypatch):
    monkeypatch.setattr(decomposition.shutil, "disk_usage", lambda path: SimpleNamespace(free=1_000_000_000))
    decompose(random_weight(30, 12))
    assert cache_files() == []


def test_clearing_the_cache_frees_it_with_what_interrupted_writers_left(cache):
    decompose(random_weight(30, 12))
    (cache / "left.part").write_bytes(b"x" * 100)
    sizes = sum(f.stat().st_size for f in cache.iterdir())
    assert clear_cache() == sizes
    assert list(cache.iterdir()) == []
    assert clear_cache() == 0


def test_a_cache_that_cannot_be_written_costs_a_warning_only(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("SVFT_CACHE_DIR", str(tmp_path / "file" / "cache"))
    with pytest.warns(UserWarning, match="could not be cached"):
        found = decompose(random_weight(30, 12))
    assert found.error < 1e-6


def test_a_cache_that_others_own_is_read(monkeypatch):
    W = random_weight(30, 12)
    fresh = decompose(W)

    def forbidden(*_):
        raise PermissionError("read-only")

    monkeypatch.setattr(decomposition.os, "utime", forbidden)
    monkeypatch.setattr(decomposition, "_compute", None)
    assert same(decompose(W), fresh)


def test_the_cache_directory_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.delenv("SVFT_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert decomposition.cache_directory() == tmp_path / "svft"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert decomposition.cache_directory() == tmp_path / ".cache" / "svft"


def test_progress_can_be_observed():
    seen = []
    with svft.decomposition_progress(lambda done, total, name: seen.append((done, total, name))):
        get_peft_model(make_model(), config_for("plain", target_modules=["query"]))
    names = [f"bert.encoder.layer.{layer}.attention.self.query" for layer in (0, 1)]
    assert seen == [(1, 2, names[0]), (2, 2, names[1])]


# -- the randomized method


def low_rank_plus_noise(n: int = 64, decay: float = 0.5) -> torch.Tensor:
    found = decompose(random_weight(n + 8, n))
    return (found.U * decay ** torch.arange(n).float()) @ found.V.T


def test_a_small_rank_of_a_large_weight_is_randomized_and_states_its_error(monkeypatch, caplog):
    W = low_rank_plus_noise()
    exact = decompose(W)
    monkeypatch.setattr(decomposition, "RANDOMIZED_FROM", 64)
    found = decompose(W, rank=8)
    assert found.U.shape == (72, 8)
    assert found.V.shape == (64, 8)
    assert found.signature.shape == (2, 8, 2)
    residual = torch.linalg.vector_norm(W @ found.V - found.U * found.sigma, dim=0).max() / found.sigma[0]
    assert found.error == pytest.approx(float(residual), abs=1e-6)
    assert f"{found.error:.1e}" in caplog.text
    torch.testing.assert_close(found.sigma, exact.sigma[:8], rtol=1e-3, atol=1e-5)
    # Another file than the exact one, and it is read again.
    monkeypatch.setattr(decomposition, "_compute", None)
    assert same(decompose(W, rank=8), found)


def test_a_rank_that_is_not_small_against_n_is_exact(monkeypatch):
    monkeypatch.setattr(decomposition, "RANDOMIZED_FROM", 64)
    assert decompose(low_rank_plus_noise(), rank=17).U.shape == (72, 64)


def test_the_random_stream_of_the_program_is_left_alone(monkeypatch):
    monkeypatch.setattr(decomposition, "RANDOMIZED_FROM", 64)
    before = torch.random.get_rng_state()
    decompose(low_rank_plus_noise(), rank=8)
    assert torch.equal(torch.random.get_rng_state(), before)
