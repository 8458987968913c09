"""LoRA on fused experts (`target_parameters`): one pair of factors a fused tensor, taken apart into experts.

PEFT keeps the factors of E experts in one A (r·E, in), expert by expert, and one B (out, r·E), in which the experts
take turns: ΔW of expert e is s·B[:, e::E]·A[e·r:(e+1)·r]. Earlier versions took a fused tensor (E, out, in) for
(E, in, out); then the product is the transposed update.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from analysis.common.errors import AdapterError
from analysis.common.tensor_files import TensorFiles
from analysis.models.base_weights import BaseWeights
from analysis.models.experts import PARTS

if TYPE_CHECKING:
    import torch

    from analysis.adapters.projection import Update

_NOT_TURNED_SINCE = (0, 21)  # from this version of PEFT on it is known
_BOTH = ("gate_proj", "up_proj")  # fused into one tensor, which PEFT adapts as one


def expert_container(module: str, weights: BaseWeights) -> str | None:
    """Return the module of experts that PEFT's wrappers of its parameters belong to, None for any other module."""
    while module.endswith(".base_layer"):  # one wrapper a parameter, one around the other
        module = module.removesuffix(".base_layer")
    return module if weights.slot(f"{module}.0.down_proj") is not None else None


class ExpertLora:
    """LoRA on the experts of one layer.

    Attributes:
        trained: Name of each projection of each expert -> number of parameters trained for it.
    """

    def __init__(
        self,
        container: str,
        pairs: Iterable[dict[str, str]],
        files: TensorFiles,
        config: dict[str, Any],
        weights: BaseWeights,
    ) -> None:
        """Find out from the shapes which factors belong to which projections.

        Args:
            container: Name of the module of experts.
            pairs: Tensors of each wrapper, by what PEFT calls them.
            files: The adapter's.
            config: The adapter's.
            weights: The base model's.

        Raises:
            AdapterError: If the shapes leave that open.
        """
        self.container, self._files, self._config = container, files, config
        kept = weights.fused(container)
        assert kept is not None  # the base keeps the experts of this module so
        self._fused, self._count = kept, kept.count
        self._factors: dict[str, tuple[str, str, bool]] = {}  # fused projection -> A, B, whether B·A is transposed
        readings = [self._readings(tensors) for tensors in pairs]
        for own in sorted(readings, key=len):  # what is clear first: it tells how the rest is meant
            left = [candidate for candidate in own if candidate[0] not in self._factors]
            turned = {is_turned for _, _, is_turned in self._factors.values()} or self._by_version()
            if len(left) > 1 and turned:
                left = [candidate for candidate in left if candidate[3] in turned]
            if not left:
                raise AdapterError(
                    f"The factors of {container} fit none of its fused parameters: choose the base model that the "
                    "adapter was trained on."
                )
            if len(left) > 1:
                raise AdapterError(
                    f"The factors of {container} fit its fused parameters in more than one way, so it is open what "
                    "they adapt."
                )
            fused, A, B, is_turned = left[0]
            self._factors[fused] = (A, B, is_turned)
        self.trained = {
            f"{container}.{expert}.{part}": self._trained(part)
            for expert in range(self._count)
            for part in PARTS
            if _fused_name(part) in self._factors
        }

    def update(self, expert: int, part: str) -> Update:
        """Return the update of one projection of one expert."""
        from peft.utils.other import get_pattern_key

        from analysis.adapters.projection import Update

        A_name, B_name, is_turned = self._factors[_fused_name(part)]
        A, B = _factor(self._files, A_name), _factor(self._files, B_name)
        r = len(A) // self._count
        patterns: dict[str, float] = self._config.get("alpha_pattern") or {}
        alpha: float = patterns.get(get_pattern_key(list(patterns), self.container), self._config.get("lora_alpha", 8))
        scale = alpha / (math.sqrt(r) if self._config.get("use_rslora") else r)
        left, right = B[:, expert :: self._count], A[expert * r : (expert + 1) * r]
        if is_turned:
            left, right = right.mT, left.mT
        outputs = self._fused.outputs(part)
        left = left if outputs is None else left[outputs]
        return Update(scale * left, right, min(r, left.shape[0], right.shape[1]))

    def _readings(self, tensors: dict[str, str]) -> list[tuple[str, str, str, bool]]:
        """Return (fused projection, A, B, whether B·A is transposed) of every way that the shapes allow."""
        if set(tensors) != {"lora_A.weight", "lora_B.weight"}:
            raise AdapterError(f"The adapter of {self.container} must have lora_A and lora_B, and nothing else.")
        A, B = tensors["lora_A.weight"], tensors["lora_B.weight"]
        shapes = [self._files.tensors[name].shape for name in (A, B)]
        if any(len(shape) != 2 for shape in shapes):
            raise AdapterError(f"A factor of {self.container} is not a matrix, so the adapter's file is damaged.")
        (rows, in_), (out, cols) = shapes
        if rows != cols or rows % self._count:
            raise AdapterError(
                f"The factors of {self.container} have {rows} and {cols} directions, which do not fit "
                f"{self._count} experts."
            )
        readings = []
        for fused, shape in (("gate_up_proj", self._fused.gate_up), ("down_proj", self._fused.down)):
            if (out, in_) == shape:
                readings.append((fused, A, B, False))
            if (in_, out) == shape:
                readings.append((fused, A, B, True))
        return readings

    def _by_version(self) -> set[bool]:
        """Return whether B·A is transposed, by the version of PEFT that saved the adapter; none if that is unknown."""
        version = re.match(r"(\d+)\.(\d+)", str(self._config.get("peft_version")))
        return {False} if version and tuple(map(int, version.groups())) >= _NOT_TURNED_SINCE else set()

    def _trained(self, part: str) -> int:
        """Return the parameters trained for one projection of one expert; gate and up share theirs."""
        A, B, _ = self._factors[_fused_name(part)]
        both = sum(math.prod(self._files.tensors[name].shape) for name in (A, B)) // self._count
        return both if part == "down_proj" else both // 2 if part == "up_proj" else both - both // 2


@lru_cache(maxsize=2)  # all experts of a layer share them, and are read one after another
def _factor(files: TensorFiles, name: str) -> torch.Tensor:
    return files.read(name).double()


def _fused_name(part: str) -> str:
    return "gate_up_proj" if part in _BOTH else "down_proj"
