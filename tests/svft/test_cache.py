"""The cache of decompositions on disk."""

from __future__ import annotations

import multiprocessing
import os
import warnings
from types import SimpleNamespace

import pytest
import torch
from safetensors import safe_open

from svft import cache as cache_module
from svft import decomposition
from svft.basis import fingerprint
from svft.cache import cache_files, clear_cache, decompose, recall, save_decomposition
from tests.svft.test_decomposition import random_weight, same


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Return a cache directory that belongs to one test."""
    monkeypatch.setenv("SVFT_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


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
    # Each measures the directory again once it has used the room that it saw, which the others use meanwhile.
    assert 0 < sum(f.stat().st_size for f in cache_files()) <= 1.5 * 6e4
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
    monkeypatch.setattr(cache_module.shutil, "disk_usage", lambda path: SimpleNamespace(free=1_000_000_000))
    decompose(random_weight(30, 12))
    assert cache_files() == []


def test_clearing_the_cache_frees_it_with_what_interrupted_writers_left(cache):
    decompose(random_weight(30, 12))
    left = cache / "left.part"
    left.write_bytes(b"x" * 100)
    os.utime(left, (1000, 1000))
    sizes = sum(f.stat().st_size for f in cache.iterdir())
    assert clear_cache() == sizes
    assert list(cache.iterdir()) == []
    assert clear_cache() == 0


def test_what_another_process_is_writing_stays(cache, monkeypatch):
    decompose(random_weight(30, 12))
    (cache / "being-written.part").write_bytes(b"x" * 100)
    monkeypatch.setenv("SVFT_CACHE_LIMIT_GB", "0.00001")
    decompose(random_weight(30, 12, seed=1))  # makes room
    clear_cache()
    assert [file.name for file in cache.iterdir()] == ["being-written.part"]


def test_a_file_that_another_process_deletes_before_it_is_read_is_computed_without_a_word(monkeypatch):
    W = random_weight(30, 12)
    fresh = decompose(W)

    def delete_then_open(file, **options):
        file.unlink()
        return safe_open(file, **options)

    monkeypatch.setattr(cache_module, "safe_open", delete_then_open)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert same(decompose(W), fresh)


def test_a_cache_that_cannot_be_written_costs_a_warning_only(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("SVFT_CACHE_DIR", str(tmp_path / "file" / "cache"))
    with pytest.warns(UserWarning, match="could not be cached"):
        actual = decompose(random_weight(30, 12))
    assert actual.error < 1e-6


def test_a_cache_that_others_own_is_read(monkeypatch):
    W = random_weight(30, 12)
    fresh = decompose(W)

    def forbidden(*_):
        raise PermissionError("read-only")

    monkeypatch.setattr(cache_module.os, "utime", forbidden)
    monkeypatch.setattr(decomposition, "_compute", None)
    assert same(decompose(W), fresh)


def test_the_cache_directory_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.delenv("SVFT_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_module.cache_directory() == tmp_path / "svft"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_module.cache_directory() == tmp_path / ".cache" / "svft"


def test_a_decomposition_is_recalled_by_the_fingerprint_of_its_weight(monkeypatch):
    W = random_weight(30, 12)
    assert recall(fingerprint(W), None, W.device) is None
    assert same(decompose(W), recall(fingerprint(W), None, W.device))
    monkeypatch.setattr(decomposition, "RANDOMIZED_FROM", 8)
    assert recall(fingerprint(W), 3, W.device) is None
    assert same(decompose(W, rank=3), recall(fingerprint(W), 3, W.device))


# ---- decompositions that others have made


@pytest.mark.parametrize("rank", [None, 5])
def test_a_shared_file_is_read_instead_of_computed(tmp_path, monkeypatch, rank):
    W = random_weight(30, 12)
    fresh = decomposition.decompose(W, rank)
    file = save_decomposition(W, tmp_path / "shared", rank)
    assert file.parent == tmp_path / "shared"
    assert not cache_files()
    monkeypatch.setattr(decomposition, "_compute", None)  # not needed again
    monkeypatch.setenv("SVFT_DECOMPOSITIONS", os.pathsep.join([str(tmp_path / "none"), str(tmp_path / "shared")]))
    actual = decompose(W, rank)
    assert same(actual, fresh)
    assert not cache_files()  # what is shared is not copied


def test_a_damaged_shared_file_is_computed_anew(tmp_path, monkeypatch):
    W = random_weight(30, 12)
    file = save_decomposition(W, tmp_path)
    file.write_bytes(file.read_bytes()[:-8])
    monkeypatch.setenv("SVFT_DECOMPOSITIONS", str(tmp_path))
    with pytest.warns(UserWarning, match="damaged"):
        actual = decompose(W)
    assert same(actual, decomposition.decompose(W))


def test_what_is_there_is_not_computed_again(tmp_path, monkeypatch):
    W = random_weight(30, 12)
    file = save_decomposition(W, tmp_path)
    monkeypatch.setattr(decomposition, "decompose", None)
    assert save_decomposition(W, tmp_path) == file
