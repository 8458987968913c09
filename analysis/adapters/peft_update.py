"""The update of one weight by an adapter of PEFT's: merged minus pristine, computed by PEFT itself.

PEFT gets a model of one linear layer with its weight, under its full name, so that patterns of names mean what they
mean in the whole model. `get_delta_weight` is not asked: it leaves out DoRA's magnitude, and PiSSA and OLoRA change
the base when they are built.
"""

from __future__ import annotations

import math
import warnings
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.adapters.adapter_file import CONFIG_FILE, WEIGHTS_FILE, read_config
from analysis.adapters.peft_config import chosen_fields
from analysis.common.errors import AdapterError
from analysis.common.tensor_files import TensorFiles
from analysis.models.base_weights import BaseWeights

if TYPE_CHECKING:
    import torch
    from torch import nn

    from analysis.adapters.projection import Update

_PREFIX = "base_model.model."
# First part of the name of a tensor that belongs to the adapter of one module.
_PARTS = ("lora_", "vera_lambda_", "hada_", "lokr_", "oft_", "boft_", "fourierft_", "shira_", "randlora_")
_EMBEDDING = ("lora_embedding_A", "lora_embedding_B")  # of an embedding, which is no linear layer
_SHARED = ("vera_A", "vera_B", "randlora_A", "randlora_B")  # one for all modules
_FIXED = ("shira_indices",)  # in the file, but not trained
_ADAPTER = "default"


class PeftAdapter:
    """An adapter directory of PEFT's; see `projected_adapter.UpdateSource`."""

    def __init__(self, path: Path, kind: str) -> None:
        """Read its config and the header of its file.

        Raises:
            AdapterError: Where they are damaged.
        """
        self.path = path
        self.kind = kind
        self.config = read_config(path)
        self.files = TensorFiles([path / WEIGHTS_FILE])
        base = self.config.get("base_model_name_or_path")
        self.base = base if isinstance(base, str) and base else None
        self._tensors: dict[str, list[str]] = defaultdict(list)  # module -> names of its tensors
        self._shared: list[str] = []
        self.head = {}
        for name, info in self.files.tensors.items():
            module, part = _module_and_part(name)
            if name.rpartition(".")[2] in _SHARED:
                self._shared.append(name)
            elif part is not None:
                self._tensors[module].append(name)
            else:
                self.head[name] = info.shape
        self.modules = {module: self._trained(names) for module, names in self._tensors.items()}
        self._largest = (0, 0)  # sides of the largest weights, which size what all modules share
        self.method = " ".join([kind, *self._size()])

    def check(self, module: str, shape: tuple[int, int]) -> None:
        """Raise an AdapterError where the config does not fit a weight of this shape; called for every module."""
        chosen_fields(self.config, shape, str(self.path / CONFIG_FILE))
        self._largest = tuple(map(max, self._largest, shape))
        for name in self._tensors[module]:
            size = self.files.bytes_of(name)
            if size > 64 * 4 * max(shape) * max(shape):
                raise AdapterError(f"{name} in {self.path / WEIGHTS_FILE} is far larger than its weight {shape}.")

    def update(self, module: str, weights: BaseWeights) -> Update:
        """Return the update of one weight: factors for plain LoRA, else the merged weight minus the pristine one."""
        weight = weights.weight(module).float()
        shape = tuple(weight.shape)
        tensors = {name: self._read(name) for name in self._tensors[module]}
        for name in self._shared:  # filed under the model, or under any one of the modules
            part = name.rpartition(".")[2]
            tensors |= dict.fromkeys((f"base_model.{part}", f"{_PREFIX}{module}.{part}"), self._read(name))
        with _as_sentence(module, self.path):
            model, layer = self._build(module, weight, transposed=weights.transposed)
            self._load(model, tensors)
            return _difference(
                layer, weight, self.kind, transposed=weights.transposed, bound=self._bound(layer, shape)
            )

    # -- details --

    def _read(self, name: str) -> torch.Tensor:
        return self.files.read_any(name) if name.endswith(_FIXED) else self.files.read(name)

    def _trained(self, names: list[str]) -> int:
        return sum(math.prod(self.files.tensors[name].shape) for name in names if not name.endswith(_FIXED))

    def _size(self) -> Iterator[str]:
        fields = {"BOFT": ("boft_block_size", "b"), "FOURIERFT": ("n_frequency", "n"), "ADALORA": ("target_r", "r")}
        field, letter = fields.get(self.config["peft_type"], ("r", "r"))
        size = self.config.get(field)
        if isinstance(size, int) and size > 0:
            yield f"{letter}={size}"

    def _build(self, module: str, weight: torch.Tensor, *, transposed: bool) -> tuple[nn.Module, nn.Module]:
        """Return a model of this one layer with an adapter of the right shapes, and the adapted layer."""
        import torch
        from peft import PEFT_TYPE_TO_CONFIG_MAPPING, PeftModel
        from torch import nn

        from analysis.common.compat import keep_boft_from_compiling

        keep_boft_from_compiling()
        shape = tuple(weight.shape)
        fields = chosen_fields(self.config, shape, str(self.path / CONFIG_FILE))
        if self.config["peft_type"] == "ADALORA":
            fields = _adalora_fields(fields, module)
        root = nn.Module()
        _plant(root, module, _linear(weight, transposed))
        targets = [module]
        if self.config["peft_type"] in ("VERA", "RANDLORA"):
            # What all modules share has the size of the largest; a layer of that size gives it here.
            _plant(root, "largest", _linear(torch.zeros(self._largest), transposed))
            targets.append("largest")
        config = PEFT_TYPE_TO_CONFIG_MAPPING[self.config["peft_type"]](
            target_modules=targets, inference_mode=True, **fields
        )
        model = PeftModel(root, config, adapter_name=_ADAPTER)
        return model, root.get_submodule(module)

    def _load(self, model: nn.Module, tensors: dict[str, torch.Tensor]) -> None:
        from peft import set_peft_model_state_dict

        own = {
            (name if name.startswith("base_model.") else _PREFIX + name): tensor.float() if tensor.is_floating_point()
            else tensor
            for name, tensor in tensors.items()
        }  # fmt: skip
        result = set_peft_model_state_dict(model, own, adapter_name=_ADAPTER)
        unknown = [key for key in result.unexpected_keys if not set(_SHARED) & set(key.split("."))]
        if unknown:
            raise AdapterError(f"PEFT knows no tensor {unknown[0]} of this kind of adapter")
        missing = [
            key for key in result.missing_keys
            if f".{_ADAPTER}" in key and ".largest." not in key and _module_and_part(key)[1] is not None
        ]  # fmt: skip
        if missing:
            raise AdapterError(f"{missing[0].replace(f'.{_ADAPTER}', '')} is missing")

    def _bound(self, layer: nn.Module, shape: tuple[int, int]) -> int:
        rank = getattr(layer, "r", {}).get(_ADAPTER, 0) if self.kind in ("LoRA", "rsLoRA", "AdaLoRA", "VeRA") else 0
        if self.kind in ("PiSSA", "OLoRA"):
            rank = 2 * layer.r[_ADAPTER]  # the new factors, and the old ones taken out of the base
        if self.kind == "LoHa":
            rank = layer.r[_ADAPTER] ** 2
        return min(*shape, rank) if rank else min(shape)


def _difference(layer: nn.Module, weight: torch.Tensor, kind: str, *, transposed: bool, bound: int) -> Update:
    import torch

    from analysis.adapters.projection import Update

    if kind in ("LoRA", "rsLoRA"):
        scale = layer.scaling[_ADAPTER]
        left, right = (getattr(layer, part)[_ADAPTER].weight.detach().double() for part in ("lora_B", "lora_A"))
        return Update(scale * left, right, bound)
    layer.double()
    layer.merge(adapter_names=[_ADAPTER])
    merged = layer.get_base_layer().weight.detach()
    update = (merged.mT if transposed else merged) - weight.double()
    if not torch.isfinite(update).all():
        raise AdapterError("its update has NaN or infinite entries; its training diverged")
    floor = None
    if kind in ("PiSSA", "OLoRA"):  # whose base is rounded when the start is taken out of it
        floor = max(weight.shape) * 2.0**-23 * float(torch.linalg.matrix_norm(weight, 2))
    return Update(update, None, bound, floor)


def _module_and_part(name: str) -> tuple[str, str | None]:
    """Return the module that a tensor adapts, and which part of its adapter it is; None where it is no part of one."""
    pieces = name.removeprefix(_PREFIX).split(".")
    for place, piece in enumerate(pieces):
        if place and piece.startswith(_PARTS) and piece not in _EMBEDDING and piece not in _SHARED:
            return ".".join(pieces[:place]), piece
    return name, None


def _adalora_fields(fields: dict[str, Any], module: str) -> dict[str, Any]:
    """Return AdaLoRA's fields for one module: PEFT looks up every module that the rank pattern names."""
    pattern = fields.get("rank_pattern") or {}
    own = {key: mask for key, mask in pattern.items() if key.startswith(f"{module}.lora_E")}
    return {**fields, "rank_pattern": own or None, "total_step": max(fields.get("total_step") or 1, 1)}


def _linear(weight: torch.Tensor, transposed: bool) -> nn.Module:
    """Return a linear layer with `weight` (out, in), as GPT-2's Conv1D where the base has those."""
    import torch
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    with torch.device("meta"):
        layer = Conv1D(*weight.shape) if transposed else nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    layer.weight = nn.Parameter((weight.mT if transposed else weight).contiguous().clone(), requires_grad=False)
    if transposed:
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
def _as_sentence(module: str, path: Path) -> Iterator[None]:
    """Turn whatever PEFT raises about a stranger's files into a sentence, and keep its draws to itself."""
    import torch

    try:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except Exception as error:  # PEFT raises almost every type there is
        raise AdapterError(f"The adapter of {module} in {path} cannot be applied: {error}.") from error
