"""The update of one weight by an adapter of PEFT's: merged minus pristine, computed by PEFT itself.

PEFT gets a model of one linear layer with its weight, under its full name, so that patterns of names mean what they
mean in the whole model.
"""

from __future__ import annotations

import math
import warnings
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.adapters.adapter import LeftOut
from analysis.adapters.paths import CONFIG_FILE
from analysis.adapters.peft import adamss, frod
from analysis.adapters.peft.config import chosen_fields
from analysis.adapters.peft.experts import ExpertLora, expert_container
from analysis.adapters.peft.tensors import ADAPTER_PREFIX, FIXED, NUMBERED, PARTS, SHARED, sort_tensors
from analysis.adapters.peft.tinylora import vectors_of
from analysis.adapters.recognise import CHANGING_KINDS, Recognised
from analysis.common.errors import AdapterError
from analysis.models.base_weights import BaseWeights
from analysis.models.experts import split_expert
from analysis.models.modules import named_classes

if TYPE_CHECKING:
    import torch
    from peft.tuners.tuners_utils import BaseTunerLayer
    from torch import nn

    from analysis.adapters.projection import Update

_ADAPTER = "default"
_SIZES = {"BOFT": ("boft_block_size", "b"), "FOURIERFT": ("n_frequency", "n"), "ADALORA": ("target_r", "r")}


class PeftAdapter:
    """An adapter of PEFT's; see `projected_adapter.UpdateSource`."""

    def __init__(self, recognised: Recognised) -> None:
        """Sort the tensors of its file by the modules that they adapt."""
        self.config, self.files, self.kind = recognised.config, recognised.files, recognised.kind
        self._config_file = str(recognised.path / CONFIG_FILE)
        tensors = sort_tensors(recognised.files, recognised.config["peft_type"])
        self.head, self.left_out = tensors.head, tensors.left_out
        self._tensors, self._shared, self._copies = tensors.modules, tensors.shared, tensors.copies
        self.names, self.classes = list(self._tensors), named_classes(self.config)
        self._experts: dict[str, ExpertLora] = {}
        self._vectors: dict[str, str] = {}  # module -> its vector, of TinyLoRA
        self._shapes: dict[str, tuple[int, int]] = {}
        self._largest = (0, 0)  # sides of the largest weights, which size what all modules share
        self.method = " ".join([self.kind, *self._size()])

    def modules(self, weights: BaseWeights) -> dict[str, int]:
        """Return the adapted modules, each projection of each expert by itself -> number of parameters trained."""
        if self.config["peft_type"] == "TINYLORA":
            every = [*self._tensors, *(left.name for left in self.left_out)]
            self._vectors = vectors_of(every, list(self._shared), self.config, weights)
        modules = {}
        experts: dict[str, list[str]] = defaultdict(list)  # container -> PEFT's wrappers of its parameters
        for module, tensors in self._tensors.items():
            if container := expert_container(module, weights):
                experts[container].append(module)
            else:
                modules[module] = self._trained(tensors)
        for vector in dict.fromkeys(self._vectors.values()):  # counted once, for the first module that has it
            first = next(module for module, own in self._vectors.items() if own == vector)
            if first in modules:
                modules[first] += math.prod(self.files.tensors[self._shared[vector]].shape)
        for container, wrappers in experts.items():
            pairs = [self._tensors[wrapper] for wrapper in wrappers]
            try:
                lora = ExpertLora(container, pairs, self.files, self.config, weights)
            except AdapterError as error:
                trained = sum(map(self._trained, pairs))
                self.left_out.append(LeftOut(container, str(error), trained))
                continue
            self._experts |= dict.fromkeys(lora.trained, lora)
            modules |= lora.trained
        return modules

    def check(self, module: str, shape: tuple[int, int]) -> None:
        """Raise an AdapterError if the config does not fit a weight of this shape; called for every module."""
        chosen_fields(self.config, shape, self._config_file)
        if module in self._experts:
            return
        for name in self._tensors[module].values():
            if self.files.bytes_of(name) > 64 * 4 * max(shape) * max(shape):
                raise AdapterError(f"{name} in {self.files.files[0]} is far larger than its weight {shape}.")
        if self.config["peft_type"] in ("LORA", "ADALORA"):
            self._check_factors(module, shape)
        if self.kind == "FRoD":
            frod.check_shared(module, shape[1], self._shared, self.files)
        self._shapes[module] = shape
        self._largest = (max(self._largest[0], shape[0]), max(self._largest[1], shape[1]))

    def update(self, module: str, weights: BaseWeights, weight: torch.Tensor | None = None) -> Update:
        """Return the update of one weight: factors for plain LoRA, else the merged weight minus the pristine one."""
        if module in self._experts:
            parts = split_expert(module)
            assert parts is not None  # they are named as such
            _, expert, part = parts
            return self._experts[module].update(expert, part)
        weight = (weights.weight(module) if weight is None else weight).float()
        self._check_copy(module, weight)
        if self.kind == "FRoD":
            return self._of_frod(module, weight)
        out, in_ = weight.shape
        transposed = weights.is_transposed(module)
        stem = f"{ADAPTER_PREFIX}{module}"
        tensors = {f"{stem}.{own}": self._read(name) for own, name in self._tensors[module].items()}
        if module in self._vectors:
            tensors[f"base_model.{NUMBERED}.0"] = self._read(self._shared[self._vectors[module]])
        for part, name in self._shared.items():  # filed under the model, or under any one of the modules
            if part in SHARED:
                tensors |= dict.fromkeys((f"base_model.{part}", f"{stem}.{part}"), self._read(name))
        with _as_sentence(module, self.files.files[0]):
            bias = weights.bias(module) if self.changes_bias(module) else None
            model, layer = self._build(module, weight, bias, transposed=transposed)
            if self.kind == "AdaMSS":
                own = {name.removeprefix(f"{stem}."): tensor for name, tensor in tensors.items()}
                adamss.check_clusters(layer, _ADAPTER, own)
            self._load(model, tensors)
            return _update(layer, weight, self.kind, self._bound(layer, (out, in_)))

    def changes_bias(self, module: str) -> bool:
        """Whether the bias of a module changes too, which is no part of ΔW: AdaMSS treats it as a column of W."""
        vectors = self._tensors.get(module, {}).get(adamss.VECTORS)
        return vectors is not None and self.files.tensors[vectors].shape[-1] == self._shapes[module][1] + 1

    # -- details --

    def _of_frod(self, module: str, weight: torch.Tensor) -> Update:
        from analysis.adapters.projection import Update

        with _as_sentence(module, self.files.files[0]):
            update = frod.dense_update(weight, module, self._tensors[module], self._shared, self.files)
            _check_finite(update)
            return Update(update, None, min(weight.shape), _rounding(weight))

    def _read(self, name: str) -> torch.Tensor:
        fixed = not set(FIXED).isdisjoint(name.split("."))
        return self.files.read_any(name) if fixed else self.files.read(name)

    def _check_factors(self, module: str, shape: tuple[int, int]) -> None:
        """Raise an AdapterError if the factors of LoRA are not those of a weight of this shape, or of the config."""
        sides = {}
        for own, name in self._tensors[module].items():
            part, stored = own.split(".")[0], self.files.tensors[name].shape
            if part in ("lora_A", "lora_B") and len(stored) == 2:
                sides[part] = stored
        if len(sides) == 2 and (sides["lora_B"][0], sides["lora_A"][1]) != shape:
            adapted = (sides["lora_B"][0], sides["lora_A"][1])
            raise AdapterError(
                f"{module} is adapted as a weight of shape {adapted}, and is {shape} in the base model: choose the "
                "base model that the adapter was trained on."
            )
        if self.config["peft_type"] == "LORA" and len(sides) == 2:
            self._check_rank(module, sides["lora_A"][0])

    def _check_rank(self, module: str, rank: int) -> None:
        from peft.utils.other import get_pattern_key

        pattern = self.config.get("rank_pattern") or {}
        stated = pattern.get(get_pattern_key(list(pattern), module), self.config.get("r", 8))
        if stated != rank:
            raise AdapterError(
                f"The factors of {module} have rank {rank}, and {self._config_file} says r={stated}: one of the two "
                "files belongs to another adapter, so the scale of the update is not known."
            )

    def _check_copy(self, module: str, weight: torch.Tensor) -> None:
        """Raise an AdapterError if the file has another weight for the module than the base, which is then unknown."""
        if module in self._copies and not self.files.read(self._copies[module]).float().equal(weight):
            raise AdapterError(
                f"{self._copies[module]} in {self.files.files[0]} is not the weight of the base model, so the update "
                "beside it is not all that changed."
            )

    def _trained(self, tensors: dict[str, str]) -> int:
        fixed = (*FIXED, "lora_B.weight") if self.kind == "MiCA" else FIXED
        return sum(math.prod(self.files.tensors[name].shape) for own, name in tensors.items() if own not in fixed)

    def _size(self) -> Iterator[str]:
        field, letter = _SIZES.get(self.config["peft_type"], ("r", "r"))
        size = self.config.get(field)
        if isinstance(size, int) and size > 0:
            yield f"{letter}={size}"

    def _build(
        self, module: str, weight: torch.Tensor, bias: torch.Tensor | None, *, transposed: bool
    ) -> tuple[nn.Module, BaseTunerLayer]:
        """Return a model of this one layer with an adapter of the right shapes, and the adapted layer."""
        import torch
        from peft import PEFT_TYPE_TO_CONFIG_MAPPING, PeftModel
        from peft.tuners.tuners_utils import BaseTunerLayer
        from torch import nn

        from analysis.common.compat import prepare_peft

        prepare_peft()
        out, in_ = weight.shape
        fields = chosen_fields(self.config, (out, in_), self._config_file)
        if self.config["peft_type"] == "ADALORA":
            fields = _adalora_fields(fields, module)
        root = nn.Module()
        _plant(root, module, _linear(weight, transposed, bias))
        targets = [module]
        if self.config["peft_type"] in ("VERA", "RANDLORA"):
            # What all modules share has the size of the largest; a layer of that size gives it here.
            _plant(root, "largest", _linear(torch.zeros(self._largest), transposed))
            targets.append("largest")
        fields = {"target_modules": targets, "inference_mode": True, **fields}
        config = PEFT_TYPE_TO_CONFIG_MAPPING[self.config["peft_type"]](**fields)
        model = PeftModel(root, config, adapter_name=_ADAPTER)
        layer = root.get_submodule(module)
        assert isinstance(layer, BaseTunerLayer)
        return model, layer

    def _load(self, model: nn.Module, tensors: dict[str, torch.Tensor]) -> None:
        from peft import set_peft_model_state_dict

        own = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
        result: Any = set_peft_model_state_dict(model, own, adapter_name=_ADAPTER)
        unknown = [key for key in result.unexpected_keys if not set(SHARED) & set(key.split("."))]
        if unknown:
            raise AdapterError(f"PEFT has no tensor {unknown[0]} in this kind of adapter")
        parts = set(PARTS[self.config["peft_type"]])
        missing = [
            key for key in result.missing_keys
            if f".{_ADAPTER}" in key and ".largest." not in key and parts & set(key.split("."))
        ]  # fmt: skip
        if missing:
            raise AdapterError(f"{missing[0].replace(f'.{_ADAPTER}', '')} is missing")

    def _bound(self, layer: BaseTunerLayer, shape: tuple[int, int]) -> int:
        if self.kind == "AdaMSS":
            return min(*shape, adamss.rank_bound(layer, _ADAPTER))
        r = getattr(layer, "r", {}).get(_ADAPTER, 0)
        if self.kind in ("LoRA", "rsLoRA", "MiCA", "AdaLoRA", "VeRA", "TinyLoRA", "PSOFT"):
            rank = r
        elif self.kind in CHANGING_KINDS:
            rank = 2 * r  # the new factors, and the old ones taken out of the base
        else:
            rank = r**2 if self.kind == "LoHa" else 0
        return min(*shape, rank) if rank else min(shape)


def _update(layer: BaseTunerLayer, weight: torch.Tensor, kind: str, bound: int) -> Update:
    from analysis.adapters.peft.layer_update import layer_update

    changed = kind in CHANGING_KINDS  # whose base is rounded when the start is taken out of it
    update = layer_update(layer, _ADAPTER, weight if changed else None)
    _check_finite(update.left)
    return replace(update, rank_bound=bound, floor=_rounding(weight) if changed else None)


def _check_finite(update: torch.Tensor) -> None:
    import torch

    if not torch.isfinite(update).all():
        raise AdapterError("its update has NaN or infinite entries; its training diverged")


def _rounding(weight: torch.Tensor) -> float:
    """Return the size of singular values that may be rounding of the weight (out, in) itself, in float32."""
    import torch

    return max(weight.shape) * 2.0**-23 * float(torch.linalg.matrix_norm(weight, 2))


def _adalora_fields(fields: dict[str, Any], module: str) -> dict[str, Any]:
    """Return AdaLoRA's fields for one module: PEFT looks up every module that the rank pattern names."""
    pattern = fields.get("rank_pattern") or {}
    own = {key: mask for key, mask in pattern.items() if key.startswith(f"{module}.lora_E")}
    return {**fields, "rank_pattern": own or None, "total_step": max(fields.get("total_step") or 1, 1)}


def _linear(weight: torch.Tensor, transposed: bool, bias: torch.Tensor | None = None) -> nn.Module:
    """Return a linear layer with `weight` (out, in), as GPT-2's Conv1D if the base has those, and a bias if given."""
    import torch
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    with torch.device("meta"):
        layer = Conv1D(*weight.shape) if transposed else nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    layer.weight = nn.Parameter((weight.mT if transposed else weight).contiguous().clone(), requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(bias.float(), requires_grad=False)
    elif transposed:
        layer.bias = nn.Parameter(torch.zeros(weight.shape[0]), requires_grad=False)
    return layer


def _plant(root: nn.Module, name: str, layer: nn.Module) -> None:
    from torch import nn

    *parents, last = name.split(".")
    for parent in parents:
        if not hasattr(root, parent):
            root.add_module(parent, nn.Module())
        root = root.get_submodule(parent)
    root.add_module(last, layer)


@contextmanager
def _as_sentence(module: str, file: Path) -> Iterator[None]:
    """Turn whatever PEFT raises about a stranger's files into a sentence, and keep its draws to itself."""
    import torch

    try:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except Exception as error:  # PEFT raises almost every type there is
        raise AdapterError(f"The adapter of {module} in {file} cannot be applied: {error}.") from error
