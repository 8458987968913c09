"""Adapters in the project's file format, written from random numbers: shapes are real, contents are not."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors.numpy import save_file

from analysis.evaluation import Evaluation

BASE = "sentence-transformers/all-MiniLM-L6-v2"
MINILM = [
    (f"bert.encoder.layer.{layer}.{path}", shape)
    for layer in range(6)
    for path, shape in {
        "attention.self.query": (384, 384),
        "attention.self.key": (384, 384),
        "attention.self.value": (384, 384),
        "attention.output.dense": (384, 384),
        "intermediate.dense": (1536, 384),
        "output.dense": (384, 1536),
    }.items()
]
GEMMA = [
    (f"model.layers.{layer}.{path}", shape)
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
]


def band(n: int, d: int) -> np.ndarray:
    """Flat indices of |j − i| ≤ d, diagonal by diagonal."""
    return np.concatenate([np.arange(max(0, -o), min(n, n - o)) * (n + 1) + o for o in range(-d, d + 1)]).astype(
        np.int64
    )


def write_adapter(directory: Path, pattern: str, off_diag: int = 2, *, modules=MINILM, base=BASE, seed=0) -> Path:
    """Write one adapter directory and return it."""
    directory.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    tensors = {}
    for module, (out, in_) in modules:
        n = min(out, in_)
        d = 0 if pattern == "plain" else min(off_diag, n - 1)
        flat = band(n, d)
        if pattern in ("random", "top_k"):
            flat = np.sort(rng.choice(n * n, size=len(flat), replace=False))
        sigma = np.sort(rng.gamma(2.0, 0.6, n) + 5 * np.exp(-np.arange(n) / 8))[::-1]
        prefix = f"base_model.model.{module}."
        tensors[prefix + "svft_coefficients"] = (rng.standard_normal(len(flat)) * 0.15).astype(np.float32)
        if pattern in ("random", "top_k"):
            tensors[prefix + "svft_indices"] = flat.astype(np.int32)
        tensors[prefix + "svft_sigma"] = sigma.astype(np.float32)
        tensors[prefix + "svft_shape"] = np.array([out, in_], np.int32)
        tensors[prefix + "svft_fingerprint"] = np.zeros(33, np.uint8)
        tensors[prefix + "svft_signature"] = np.zeros((2, n, 2), np.float16)
    save_file(tensors, directory / "adapter_model.safetensors")
    config = {
        "peft_type": "SVFT",
        "task_type": "SEQ_CLS",
        "base_model_name_or_path": base,
        "target_modules": sorted({module.rsplit(".", 1)[-1] for module, _ in modules}),
        "modules_to_save": ["classifier"],
        "pattern": pattern,
        "off_diag": off_diag,
        "rank": None,
        "overrides": {},
        "seed": seed,
    }
    (directory / "adapter_config.json").write_text(json.dumps(config, indent=2))
    return directory


def write_evaluation(directory: Path, pattern: str = "plain", seed: int = 0) -> Path:
    """Write an evaluation.json beside an adapter, with a dial curve of the usual shape."""
    alpha = np.round(np.arange(-1.0, 3.01, 0.2), 1)
    accuracy = np.clip(0.86 - 0.16 * (alpha - 1) ** 2, 0.2, 1)
    dial = pd.DataFrame({"alpha": alpha, "accuracy": accuracy, "low": accuracy - 0.03, "high": accuracy + 0.03})
    Evaluation(
        spec={"task": "bbc_headlines", "method": pattern, "base": BASE, "seed": seed},
        command=f"svft train bbc_headlines {pattern}",
        task_title="Topic of a BBC headline",
        labels=["business", "entertainment", "politics", "sport", "tech"],
        budget=13824,
        steps=100,
        n_test=800,
        accuracy=0.86,
        low=0.83,
        high=0.88,
        dial=dial,
        seeds=[0, 1, 2],
        accuracies={pattern: [0.82] * 3, "head_only": [0.46] * 3, "full": [0.83] * 3},
        recovered=0.97,
        recovered_low=0.93,
        recovered_high=1.02,
    ).write(directory)
    return directory
