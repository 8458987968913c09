"""Fused experts: one tensor with the weights of all experts of a layer, seen as one matrix an expert and projection.

transformers keeps the experts of a mixture-of-experts layer in two tensors, `gate_up_proj` and `down_proj`, of three
axes: expert, and the two sides of a weight. Most families keep (out, in), some (in, out); gate and up lie one after
the other, in gpt-oss in turns. Here each is a matrix of its own, under the name that it has if experts are modules:
"…experts.17.up_proj".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.common.tensor_files import TensorInfo

if TYPE_CHECKING:
    import torch

PARTS = ("gate_proj", "up_proj", "down_proj")
# What else the projections of an expert are called (Mixtral, and what followed it).
ALIASES = {"w1": "gate_proj", "w3": "up_proj", "w2": "down_proj"}
INTERLEAVED = ("gpt_oss",)
_EXPERT = re.compile(r"(?P<container>.+)\.(?P<expert>\d+)\.(?P<part>\w+)$")


@dataclass(frozen=True)
class Slot:
    """Where a file keeps one matrix.

    Attributes:
        key: Name of the tensor.
        expert: Index along its first axis, None if the tensor is the matrix.
        part: Which of its outputs belong to the matrix; None for all.
        transposed: Whether the file keeps it as (in, out).
    """

    key: str
    expert: int | None = None
    part: slice | None = None
    transposed: bool = False

    def shape(self, stored: tuple[int, ...]) -> tuple[int, ...]:
        """Return (out, in) of the matrix, from the shape of the tensor."""
        own = stored if self.expert is None else stored[1:]
        if len(own) != 2:
            return own
        out, in_ = own[::-1] if self.transposed else own
        return (len(range(*self.part.indices(out))) if self.part else out), in_

    def cut(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return the matrix (out, in) from the tensor, or from its entry of one expert."""
        matrix = tensor.mT if self.transposed else tensor
        return (matrix[self.part] if self.part else matrix).contiguous()


@dataclass(frozen=True)
class FusedExperts:
    """The experts of one layer in one tensor a projection.

    Attributes:
        container: Name of the module that holds them, "model.layers.0.mlp.experts".
        count: Number of experts.
        transposed: Whether the file keeps (in, out).
        interleaved: Whether gate and up take turns.
        gate_up: Shape (out, in) of gate and up together.
        down: Shape (out, in) of down.
        suffix: What follows the projection in the tensors' names, "" or ".weight".
    """

    container: str
    count: int
    transposed: bool
    interleaved: bool
    gate_up: tuple[int, int]
    down: tuple[int, int]
    suffix: str

    def slots(self) -> dict[str, Slot]:
        """Return where each matrix is, by its name."""
        return {
            f"{self.container}.{expert}.{part}": self.slot(expert, part)
            for expert in range(self.count)
            for part in PARTS
        }

    def outputs(self, part: str) -> slice | None:
        """Return which outputs of the fused weight are those of a projection; None for all."""
        if part == "down_proj":
            return None
        both, second = self.gate_up[0], part == "up_proj"
        if self.interleaved:
            return slice(int(second), both, 2)
        return slice(both // 2, both) if second else slice(0, both // 2)

    def slot(self, expert: int, part: str) -> Slot:
        """Return where the matrix of one expert and projection is."""
        fused = "down_proj" if part == "down_proj" else "gate_up_proj"
        return Slot(f"{self.container}.{fused}{self.suffix}", expert, self.outputs(part), self.transposed)


def fused_experts(tensors: Mapping[str, TensorInfo], family: str | None) -> dict[str, FusedExperts]:
    """Return the fused experts among the tensors of a model, by container; those whose layout is not clear are not."""
    slots = {}
    for key, info in tensors.items():
        match = re.fullmatch(r"(.+)\.gate_up_proj(|\.weight)", key)
        if match is None or len(info.shape) != 3:
            continue
        container, suffix = match.groups()
        down = tensors.get(f"{container}.down_proj{suffix}")
        if down is None or len(down.shape) != 3 or down.shape[0] != info.shape[0]:
            continue
        count, a, b = info.shape
        c, d = down.shape[1:]
        # (out, in) is (2·inner, hidden) and (hidden, inner); only one of the two readings can fit.
        for transposed, gate_up, other in ((False, (a, b), (c, d)), (True, (b, a), (d, c))):
            if gate_up[1] == other[0] and gate_up[0] == 2 * other[1]:
                slots[container] = FusedExperts(
                    container, count, transposed, family in INTERLEAVED, gate_up, other, suffix
                )
    return slots


def split_expert(module: str) -> tuple[str, int, str] | None:
    """Return (container, expert, projection) of a module that is a projection of one expert, else None."""
    match = _EXPERT.fullmatch(module)
    if match is None:
        return None
    part = ALIASES.get(match["part"], match["part"])
    return (match["container"], int(match["expert"]), part) if part in PARTS else None


def other_names(module: str) -> Iterator[str]:
    """Yield what else a projection of one expert is called in files."""
    parent, _, part = module.rpartition(".")
    for alias, own in ALIASES.items():
        if part == own:
            yield f"{parent}.{alias}"
        if part == alias:
            yield f"{parent}.{own}"


def usual_name(module: str) -> str:
    """Return the name that a projection of one expert has in most families; any other module keeps its own."""
    split = split_expert(module)
    return ".".join(map(str, split)) if split else module
