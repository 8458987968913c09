"""A fully fine-tuned checkpoint beside its base: ΔW = W' − W of every matrix, and what changed elsewhere."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from analysis.common.bounded_files import read_json
from analysis.common.errors import AdapterError
from analysis.common.tensor_files import EPS, FLOATS
from analysis.models.base_weights import BaseWeights
from analysis.models.modules import inside_block

if TYPE_CHECKING:
    import torch

    from analysis.adapters.projected_adapter import ProjectedAdapter
    from analysis.adapters.projection import Update


class Checkpoint:
    """A directory with a whole model; see `projected_adapter.UpdateSource`.

    Attributes:
        after: Its weights.
    """

    def __init__(self, path: Path) -> None:
        """Read its config and the headers of its files.

        Raises:
            AdapterError: Where they are damaged, or hold no matrix inside blocks.
        """
        self.path = path
        self.config = read_json(path / "config.json")
        self.after = BaseWeights(path)
        self.base = _named_base(path, self.config)
        self.method = "full fine-tuning"
        self._keys = {
            key.removesuffix(".weight"): key for key, info in self.after.files.tensors.items() if _is_matrix(key, info)
        }
        if not self._keys:
            raise AdapterError(f"{path} holds no weight matrices inside blocks, so there is nothing to compare.")
        tensors = self.after.files.tensors
        self.modules = {module: math.prod(tensors[key].shape) for module, key in self._keys.items()}
        self.head = {key: info.shape for key, info in tensors.items() if key not in self._keys.values()}

    def check(self, module: str, shape: tuple[int, int]) -> None:
        """Raise an AdapterError where a matrix has another shape than in the base."""
        own = self._shape(module)
        if own != shape:
            raise AdapterError(
                f"{module} has the shape {own} in {self.path} and {shape} in the base model: "
                "choose the base model that this checkpoint was trained from."
            )

    def update(self, module: str, weights: BaseWeights) -> Update:
        """Return W' − W of one matrix, in float64; what is below the rounding of the coarser one is rounding."""
        from analysis.adapters.projection import Update

        before = weights.weight(module)
        update = self._weight(module).double() - before.double()
        eps = max(EPS[self.after.files.tensors[self._keys[module]].dtype], EPS[weights.dtype(module)])
        return Update(update, None, min(before.shape), _rounding(before.double(), eps))

    def _shape(self, module: str) -> tuple[int, int]:
        shape = self.after.files.tensors[self._keys[module]].shape
        return shape[::-1] if self.after.transposed else shape

    def _weight(self, module: str) -> torch.Tensor:
        weight = self.after.files.read(self._keys[module])
        return weight.mT if self.after.transposed else weight


def changed_parts(adapter: ProjectedAdapter) -> pd.DataFrame:
    """Return where in the model a checkpoint differs from its base, in four parts; it reads both models once.

    Args:
        adapter: Whose source is a checkpoint.

    Columns:
        part: "matrices" (inside the blocks), "embeddings", "norms and biases", "other".
        energy: Sum of squares of the differences.
        share: Its part of all of it.
        parameters: Number of parameters.
        new: Number of parameters that the base does not have, such as those of a head; their energy is not known.
    """
    checkpoint, weights = adapter.source, adapter.weights
    rows = {part: [0.0, 0, 0] for part in ("matrices", "embeddings", "norms and biases", "other")}
    matrices = set(checkpoint._keys.values())
    for key, info in checkpoint.after.files.tensors.items():
        if info.dtype not in FLOATS:
            continue
        row = rows["matrices" if key in matrices else _part(key, info.shape)]
        row[1] += math.prod(info.shape)
        before = weights.find_tensor(key)
        if before is None or weights.files.tensors[before].shape != info.shape:
            row[2] += math.prod(info.shape)
            continue
        difference = checkpoint.after.files.read(key).double() - weights.files.read(before).double()
        row[0] += float(difference.square().sum())
    table = pd.DataFrame([(part, *row) for part, row in rows.items()], columns=["part", "energy", "parameters", "new"])
    table.insert(2, "share", table["energy"] / (table["energy"].sum() or 1.0))
    return table


def _is_matrix(key: str, info: object) -> bool:
    module, _, part = key.rpartition(".")
    return (
        part == "weight"
        and len(info.shape) == 2
        and min(info.shape) > 1
        and info.dtype in FLOATS
        and inside_block(module)
        and not any(word in module for word in ("embed", "relative_attention_bias"))
    )


def _part(key: str, shape: tuple[int, ...]) -> str:
    if "embed" in key or key.endswith(("wte.weight", "wpe.weight", "shared.weight")) or "relative_attention" in key:
        return "embeddings"
    return "norms and biases" if len(shape) < 2 else "other"


def _rounding(before: torch.Tensor, eps: float) -> float:
    """Return the largest singular value that rounding W (out, in) to a type of this `eps` can look like.

    max(shape)·eps·σ₁, as everywhere; but in half precision that says nothing, being larger than σ₁ itself. Errors of
    rounding are independent: a matrix of them has a norm of about (√out + √in) times the size of one.
    """
    import torch

    out, in_ = before.shape
    independent = eps * float(before.square().mean().sqrt()) * (math.sqrt(out) + math.sqrt(in_))
    if eps > EPS["F32"]:
        return independent
    return max(out, in_) * eps * float(torch.linalg.matrix_norm(before, 2))


def _named_base(path: Path, config: dict) -> str | None:
    """Return the base model that the files name: older configs do, and `svft train` records it."""
    named = config.get("_name_or_path")
    if not named:
        try:
            named = json.loads((path / "evaluation.json").read_text(encoding="utf-8"))["spec"]["base"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            named = None
    return named if isinstance(named, str) and named else None
