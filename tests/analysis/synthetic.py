"""Adapted matrices and adapters made of random numbers, the dense weights behind them, and adapter directories."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from analysis.adapters.adapter import AdaptedMatrix

BERT = {
    f"bert.encoder.layer.{layer}.{path}": shape
    for layer in range(2)
    for path, shape in {
        "attention.self.query": (12, 12),
        "attention.self.key": (12, 12),
        "attention.self.value": (12, 12),
        "attention.output.dense": (12, 12),
        "intermediate.dense": (20, 12),
        "output.dense": (12, 20),
    }.items()
}
GEMMA_2B = {
    f"model.layers.{layer}.{path}": shape
    for layer in range(18)
    for path, shape in {
        "self_attn.q_proj": (2048, 2048),
        "self_attn.k_proj": (256, 2048),
        "self_attn.v_proj": (256, 2048),
        "self_attn.o_proj": (2048, 2048),
        "mlp.gate_proj": (16384, 2048),
        "mlp.up_proj": (16384, 2048),
        "mlp.down_proj": (2048, 16384),
    }.items()
}


def make_sigma(m: int, rng: np.random.Generator) -> np.ndarray:
    """Descending, and no two within 1e-3 of each other: float32 keeps them exactly enough."""
    return np.cumsum(rng.uniform(0.01, 0.3, m))[::-1].astype(np.float32).astype(np.float64)


def band(m: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of |j − i| ≤ d, diagonal by diagonal, written as the definition says."""
    pairs = [(i, i + o) for o in range(-d, d + 1) for i in range(m) if 0 <= i + o < m]
    rows, cols = np.array(pairs, dtype=np.int64).T
    return rows, cols


def make_matrix(
    rows=(0,), cols=(0,), values=None, *, m=4, shape=None, sigma=None, scale=0.3, seed=0, pattern="custom"
) -> AdaptedMatrix:
    """An adapted matrix with entries at (rows, cols), random where no values or sigma are given."""
    rng = np.random.default_rng(seed)
    rows, cols = np.asarray(rows, dtype=np.int64), np.asarray(cols, dtype=np.int64)
    values = scale * rng.standard_normal(len(rows)) if values is None else np.asarray(values, dtype=np.float64)
    sigma = make_sigma(m, rng) if sigma is None else np.asarray(sigma, dtype=np.float64)
    return AdaptedMatrix(
        name="layer.0.query", layer=0, kind="query", label="Layer 0 · query", shape=shape or (m + 3, m),
        sigma=sigma, rows=rows, cols=cols, values=values, pattern=pattern, pattern_label=pattern, off_diag=None,
    )  # fmt: skip


def dense(matrix: AdaptedMatrix, seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """U, V, W and ΔW in full, with random orthonormal U (out, n) and V (in, n).

    A truncated basis gets a tail of singular values under its last one, which the file does not tell.
    """
    rng = np.random.default_rng(seed)
    (out, in_), n, m = matrix.shape, matrix.n, matrix.m
    U = np.linalg.qr(rng.standard_normal((out, n)))[0]
    V = np.linalg.qr(rng.standard_normal((in_, n)))[0]
    tail = matrix.sigma[-1] * np.linspace(0.95, 0.4, n - m)
    W = U * np.concatenate([matrix.sigma, tail]) @ V.T
    return U, V, W, U[:, :m] @ matrix.coefficients() @ V[:, :m].T


def write_adapter(
    directory: Path,
    pattern: str = "plain",
    off_diag: int | None = None,
    *,
    modules: dict[str, tuple[int, int]] = BERT,
    m: int | None = None,
    config: dict | None = None,
    seed: int = 0,
) -> Path:
    """Write an SVFT adapter directory as PEFT does, with a head, and return it.

    Args:
        directory: Where to.
        pattern: Of every matrix.
        off_diag: Its size.
        modules: (out, in) by module name.
        m: Directions in the file; None writes all of them.
        config: Fields that replace those of adapter_config.json.
        seed: Of the numbers.
    """
    fields = {
        "peft_type": "SVFT",
        "task_type": "SEQ_CLS",
        "base_model_name_or_path": "sentence-transformers/all-MiniLM-L6-v2",
        "target_modules": sorted({name.rsplit(".", 1)[-1] for name in modules}),
        "modules_to_save": ["classifier"],
        "pattern": pattern,
        "off_diag": off_diag,
        "budget": None,
        "rank": None,
        "overrides": None,
        "seed": seed,
        "embed_basis": False,
    } | (config or {})
    directory.mkdir(parents=True, exist_ok=True)
    save_file(adapter_tensors(fields, modules, m, seed), directory / "adapter_model.safetensors")
    (directory / "adapter_config.json").write_text(json.dumps(fields))
    return directory


def adapter_tensors(config: dict, modules: dict, m: int | None = None, seed: int = 0) -> dict[str, np.ndarray]:
    """The tensors of an adapter file, by name."""
    rng = np.random.default_rng(seed)
    tensors = {}
    for name, shape in modules.items():
        size = min(m or min(shape), *shape)
        block = min(config["rank"] or size, size)
        d = 0 if config["pattern"] == "plain" else min(config["off_diag"] or 0, block - 1)
        k = block * (2 * d + 1) - d * (d + 1)
        stem = f"base_model.model.{name}.svft_"
        tensors |= {
            stem + "coefficients": (0.1 * rng.standard_normal(k)).astype(np.float32),
            stem + "sigma": make_sigma(size, rng).astype(np.float32),
            stem + "shape": np.array(shape, dtype=np.int32),
            stem + "fingerprint": np.zeros(33, dtype=np.uint8),
            stem + "signature": np.zeros((2, size, 2), dtype=np.float16),
        }
        if config["pattern"] not in ("plain", "banded"):
            flat = np.sort(rng.choice(block * block, size=k, replace=False))
            tensors[stem + "indices"] = (flat // block * size + flat % block).astype(np.int32)
    tensors["base_model.model.classifier.weight"] = rng.standard_normal((3, 12)).astype(np.float32)
    tensors["base_model.model.classifier.bias"] = np.zeros(3, dtype=np.float32)
    return tensors
