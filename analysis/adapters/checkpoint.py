"""A fully fine-tuned checkpoint beside its base: ΔW = W' − W of every matrix, and what changed elsewhere."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pandas as pd

from analysis.adapters.adapter import LeftOut
from analysis.adapters.recognise import Recognised
from analysis.common.errors import AdapterError
from analysis.common.tensor_files import EPS, FLOATS, TensorInfo
from analysis.models.base_weights import BaseWeights
from analysis.models.experts import Slot, usual_name
from analysis.models.modules import inside_block
from analysis.models.tensor_names import TensorNames

if TYPE_CHECKING:
    import torch

    from analysis.adapters.projected_adapter import ProjectedAdapter
    from analysis.adapters.projection import Update


class FineTuned:
    """A directory with a whole fine-tuned model; see `projected_adapter.UpdateSource`.

    Attributes:
        after: Its weights.
    """

    def __init__(self, recognised: Recognised) -> None:
        """Sort its tensors into matrices and the rest.

        Raises:
            AdapterError: If it holds no matrix inside blocks.
        """
        self.config, self.files = recognised.config, recognised.files
        self.after = BaseWeights(recognised.path, recognised.config, recognised.files)
        self.method = "full fine-tuning"
        self.left_out: list[LeftOut] = []
        tensors, names = self.files.tensors, self.after.names
        self.classes = [names.model_class] if names.model_class else []
        fused = {slot.key for experts in self.after.experts.values() for slot in experts.slots().values()}
        self._slots: dict[str, Slot] = {}
        for parameter, stored in names.parameters.items():
            if not _is_matrix(parameter, tensors[stored], names):
                continue
            module = parameter.removesuffix(".weight")
            if (slot := self.after.slot(module)) is not None:
                self._slots[usual_name(module)] = slot
            else:
                reason = "Its files hold more than one weight of that name."
                self.left_out.append(LeftOut(module, reason, math.prod(tensors[stored].shape)))
        self.names = list(self._slots)
        for experts in self.after.experts.values():
            self._slots |= experts.slots()
        for key, info in tensors.items():
            if key not in fused and (why := _why_left_out(key, info)):
                self.left_out.append(LeftOut(key.removesuffix(".weight"), why, math.prod(info.shape)))
        if not self._slots:
            raise AdapterError(
                f"{recognised.path} holds no weight matrices inside blocks, so there is nothing to compare."
            )
        self.matrix_keys = {slot.key for slot in self._slots.values()}
        named = (
            self.matrix_keys
            | {f"{module.name}.weight" for module in self.left_out}
            | {module.name for module in self.left_out}
        )
        tied = _tied_heads(self.config, tensors)
        self.head = {key: info.shape for key, info in tensors.items() if key not in named and key not in tied}

    def modules(self, weights: BaseWeights) -> dict[str, int]:
        """Return the matrices inside blocks, each projection of each expert by itself -> their sizes."""
        return {module: math.prod(self._shape(module)) for module in self._slots}

    def check(self, module: str, shape: tuple[int, int]) -> None:
        """Raise an AdapterError if a matrix has another shape than in the base."""
        own = self._shape(module)
        if own != shape:
            raise AdapterError(
                f"{module} has the shape {own} in {self.files.files[0].parent} and {shape} in the base model: "
                "choose the base model that this checkpoint was trained from."
            )

    def update(self, module: str, weights: BaseWeights, weight: torch.Tensor | None = None) -> Update:
        """Return W' − W of one matrix, in float64; what is below the rounding of the coarser one is rounding."""
        from analysis.adapters.projection import Update

        slot = self._slots[module]
        before = weights.weight(module) if weight is None else weight
        update = slot.cut(self.files.read(slot.key, slot.expert)).double() - before.double()
        eps = max(EPS[self.files.tensors[slot.key].dtype], EPS[weights.dtype(module)])
        return Update(update, None, min(before.shape), _rounding(before.double(), eps))

    def _shape(self, module: str) -> tuple[int, int]:
        slot = self._slots[module]
        out, in_ = slot.shape(self.files.tensors[slot.key].shape)
        return out, in_


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
    assert isinstance(checkpoint, FineTuned)
    rows = {part: [0.0, 0, 0] for part in ("matrices", "embeddings", "norms and biases", "other")}
    matrices = checkpoint.matrix_keys
    for key, info in checkpoint.files.tensors.items():
        if info.dtype not in FLOATS:
            continue
        row = rows["matrices" if key in matrices else _part(key, info.shape)]
        row[1] += math.prod(info.shape)
        before = weights.find_tensor(key)
        if before is None or weights.files.tensors[before].shape != info.shape:
            row[2] += math.prod(info.shape)
            continue
        difference = checkpoint.files.read(key).double() - weights.files.read(before).double()
        row[0] += float(difference.square().sum())
    table = pd.DataFrame([(part, *row) for part, row in rows.items()], columns=["part", "energy", "parameters", "new"])
    table.insert(2, "share", table["energy"] / (table["energy"].sum() or 1.0))
    return table


def _is_matrix(parameter: str, info: TensorInfo, names: TensorNames) -> bool:
    module, _, part = parameter.rpartition(".")
    return (
        part == "weight"
        and len(info.shape) == 2
        and 0 not in info.shape
        and (min(info.shape) > 1 or names.module_type(module) == "Linear")
        and info.dtype in FLOATS
        and inside_block(module)
        and names.module_type(module) != "Embedding"
        and not any(word in module for word in ("embed", "relative_attention_bias"))
    )


def _why_left_out(key: str, info: TensorInfo) -> str | None:
    """Say why a tensor inside a block is not shown as matrices though it may hold some; None for anything else."""
    if 0 in info.shape:
        return f"It is empty (shape {info.shape}): DeepSpeed ZeRO-3 saves tensors so if they are not gathered first."
    if len(info.shape) < 3 or not inside_block(key) or min(info.shape) < 1:
        return None
    if key.endswith(".weight"):
        return f"It has the shape {info.shape}: a convolution has no singular vectors to project into."
    return f"It has the shape {info.shape}: it is not known which of its axes are the sides of matrices."


def _tied_heads(config: dict, tensors: dict[str, TensorInfo]) -> set[str]:
    """Return the heads that are the embedding once more, which pickles hold twice."""
    embeddings = {info.shape for key, info in tensors.items() if _part(key, info.shape) == "embeddings"}
    if not config.get("tie_word_embeddings"):
        return set()
    return {key for key, info in tensors.items() if key.endswith("lm_head.weight") and info.shape in embeddings}


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
