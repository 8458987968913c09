"""Singular value decomposition of weights: exact, with canonical signs, and cached on disk."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from .basis import canonical_signs, fingerprint, signature

logger = logging.getLogger(__name__)

FLOAT64_UP_TO = 1024  # min(out, in) up to which the SVD is computed in float64
RANDOMIZED_FROM = 2048  # min(out, in) from which a small rank is decomposed by a randomized method
_FORMAT = "2"  # goes into the names of cache files: a change makes old ones unused, never misread

Progress = Callable[[int, int, str], None]
_progress: ContextVar[Progress | None] = ContextVar("svft_progress", default=None)


@dataclass(frozen=True)
class Decomposition:
    """Thin SVD of a weight W (out, in), with n = min(out, in), or its leading part.

    Attributes:
        U: Left singular vectors (out, m); m is n, or the rank asked for where a randomized method was used.
        sigma: Singular values (m,), descending.
        V: Right singular vectors (in, m).
        signature: Probes of both bases (2, m, 2), see `svft.basis.signature`.
        fingerprint: Fingerprint of W (33,), see `svft.basis.fingerprint`.
        error: Largest residual ‖Wvᵢ − σᵢuᵢ‖ / σ₁ of the randomized method; 0 for the exact one.
    """

    U: torch.Tensor
    sigma: torch.Tensor
    V: torch.Tensor
    signature: torch.Tensor
    fingerprint: torch.Tensor
    error: float


@contextmanager
def decomposition_progress(callback: Progress) -> Iterator[None]:
    """Report every decomposed weight to ``callback(done, total, module_name)`` within the block."""
    token = _progress.set(callback)
    try:
        yield
    finally:
        _progress.reset(token)


def report_progress(done: int, total: int, name: str) -> None:
    """Tell the callback of `decomposition_progress`, where there is one."""
    if callback := _progress.get():
        callback(done, total, name)


def is_randomized(shape: tuple[int, int], rank: int | None) -> bool:
    """Return whether a weight of this shape is decomposed by the randomized method for a given rank."""
    n = min(shape)
    return rank is not None and n >= RANDOMIZED_FROM and 4 * rank <= n


def decompose(weight: torch.Tensor, rank: int | None = None, name: str = "The weight") -> Decomposition:
    """Decompose a weight, or read its decomposition from the cache.

    The method is exact (LAPACK), in float64 for n ≤ 1024 and in float32 above. Only where `rank` is small against a
    large n it is randomized (Halko, Martinsson & Tropp 2011, with power iterations), and `error` states how well.

    Args:
        weight: W (out, in), any floating type, any device.
        rank: Number of leading directions that are needed; None is all.
        name: What messages call the weight.

    Returns:
        The decomposition on the weight's device, float32 (float64 for a float64 weight).

    Raises:
        ValueError: Where the weight has entries that are not finite.
    """
    mark = fingerprint(weight)
    randomized = is_randomized(tuple(weight.shape), rank)
    path = cache_directory() / f"{bytes(mark[:-1].tolist()).hex()}-{f'r{rank}' if randomized else 'full'}-v{_FORMAT}"
    cached = _read(path, weight, mark)
    if cached is not None:
        return cached
    if not torch.isfinite(weight).all():
        raise ValueError(f"{name} has NaN or infinite entries and cannot be decomposed.")
    decomposition = _compute(weight, rank if randomized else None, mark)
    if randomized:
        logger.warning(
            "%s %s: randomized SVD to rank %d, residual up to %.1e of the largest singular value.",
            name, tuple(weight.shape), rank, decomposition.error,
        )  # fmt: skip
    _write(path, decomposition)
    return decomposition


def _compute(weight: torch.Tensor, rank: int | None, mark: torch.Tensor) -> Decomposition:
    keep = torch.float64 if weight.dtype == torch.float64 else torch.float32
    wide = torch.float64 if min(weight.shape) <= FLOAT64_UP_TO else keep
    W = weight.detach().to(wide)
    residual = 0.0
    if rank is None:
        U, sigma, V = exact_svd(W)
    else:
        with torch.random.fork_rng(devices=[W.device] if W.is_cuda else []):
            torch.manual_seed(0)
            U, sigma, V = torch.svd_lowrank(W, q=rank + 16, niter=4)
        U, sigma, V = U[:, :rank], sigma[:rank], V[:, :rank]
        residual = torch.linalg.vector_norm(W @ V - U * sigma, dim=0).max() / sigma[0].clamp_min(1e-30)
    U, V = canonical_signs(U, sigma, V)
    return Decomposition(
        U=U.to(keep).contiguous(),
        sigma=sigma.to(keep).contiguous(),
        V=V.to(keep).contiguous(),
        signature=signature(U, V),
        fingerprint=mark,
        error=float(residual),
    )


def exact_svd(W: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return U (out, n), sigma (n,), V (in, n) of W (out, in)."""
    if W.shape[0] < W.shape[1]:
        V, sigma, U = exact_svd(W.mT)
        return U, sigma, V
    if W.shape[0] < 2 * W.shape[1]:
        U, sigma, Vh = torch.linalg.svd(W, full_matrices=False)
        return U, sigma, Vh.mT
    # Of a tall weight only the triangle of its QR factorisation needs the slow algorithm.
    Q, R = torch.linalg.qr(W)
    U, sigma, Vh = torch.linalg.svd(R)
    return Q @ U, sigma, Vh.mT


# The cache: one safetensors file a weight, named by content. Files appear whole (written aside, then renamed), so
# that processes may share the directory.


def cache_directory() -> Path:
    """Return the cache directory: $SVFT_CACHE_DIR, else `svft` under $XDG_CACHE_HOME, else ~/.cache/svft."""
    if chosen := os.environ.get("SVFT_CACHE_DIR"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "svft"


def cache_limit() -> int:
    """Return the size in bytes that the cache may have: $SVFT_CACHE_LIMIT_GB, 10 where that is not set."""
    return int(float(os.environ.get("SVFT_CACHE_LIMIT_GB", "10")) * 1e9)


def cache_files() -> list[Path]:
    """Return the files of the cache, the least recently used first, with what interrupted writers left behind."""
    used = {}
    for file in cache_directory().glob("*"):
        if file.suffix in (".safetensors", ".part"):
            with suppress(FileNotFoundError):
                used[file] = file.stat().st_mtime_ns
    return sorted(used, key=used.get)


def clear_cache() -> int:
    """Delete every cached decomposition and return the number of bytes freed."""
    files = cache_files()
    freed = sum(map(_size, files))
    for file in files:
        file.unlink(missing_ok=True)
    return freed


def _size(file: Path) -> int:
    with suppress(FileNotFoundError):  # another process may delete it meanwhile
        return file.stat().st_size
    return 0


def _read(path: Path, weight: torch.Tensor, mark: torch.Tensor) -> Decomposition | None:
    file = path.with_suffix(".safetensors")
    if not file.exists():
        return None
    try:
        with safe_open(file, framework="pt") as f:
            U, sigma, V, sign = (f.get_tensor(name) for name in ("U", "sigma", "V", "signature"))
            stated = f.metadata()
        error = float(stated["error"])
        if stated["checksum"] != _checksum(mark[:-1], U, sigma, V, sign):
            raise ValueError("its contents do not agree with its checksum")
        with suppress(OSError):  # a cache that others own is used as it is
            os.utime(file)  # least recently used goes first
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error_:
        warnings.warn(f"The cached decomposition {file} is damaged ({error_}); it is computed anew.", stacklevel=3)
        return None
    return Decomposition(*(t.to(weight.device) for t in (U, sigma, V)), sign, mark, error)


def _write(path: Path, decomposition: Decomposition) -> None:
    tensors = {
        "U": decomposition.U, "sigma": decomposition.sigma, "V": decomposition.V,
        "signature": decomposition.signature,
    }  # fmt: skip
    tensors = {name: t.cpu() for name, t in tensors.items()}
    stated = {
        "error": str(decomposition.error),
        "checksum": _checksum(decomposition.fingerprint[:-1], *tensors.values()),
    }
    size = sum(t.nbytes for t in tensors.values())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A cache is a convenience: it leaves the disk a reserve, and does without where there is none.
        if size > cache_limit() or shutil.disk_usage(path.parent).free < 2 * size + 1_000_000_000:
            return
        handle, aside = tempfile.mkstemp(dir=path.parent, suffix=".part")
        os.close(handle)
        try:
            save_file(tensors, aside, metadata=stated)
            os.replace(aside, path.with_suffix(".safetensors"))
        finally:
            Path(aside).unlink(missing_ok=True)
        _evict()
    except OSError as error:
        warnings.warn(f"The decomposition could not be cached in {path.parent}: {error}.", stacklevel=3)


def _checksum(*tensors: torch.Tensor) -> str:
    """Return a checksum of types, shapes and values; damage is found by it, forgery is not."""
    checksum = 0
    for t in tensors:
        checksum = zlib.crc32(f"{t.dtype}{tuple(t.shape)}".encode(), checksum)
        checksum = zlib.crc32(memoryview(t.numpy()).cast("B"), checksum)
    return str(checksum)


def _evict() -> None:
    files = cache_files()
    excess = sum(map(_size, files)) - cache_limit()
    for file in files:
        if excess <= 0:
            break
        excess -= _size(file)
        file.unlink(missing_ok=True)
