"""The weights of a base model, found by module name, read one at a time from its files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.common.bounded_files import read_json
from analysis.common.errors import AdapterError
from analysis.common.settings import may_open
from analysis.common.tensor_files import FLOATS, TensorFiles, model_files
from analysis.models.experts import INTERLEAVED, FusedExperts, Slot, fused_experts, other_names, split_expert
from analysis.models.packages import ADD_SMOLLM2, SMOLLM2, packaged_bases
from analysis.models.packed.unpacking import unpacked
from analysis.models.tensor_names import TensorNames

if TYPE_CHECKING:
    import torch

# What GPTQ, AWQ and llm-compressor call a weight that is packed into integers.
_PACKED = (".qweight", ".weight_packed")


class BaseWeights:
    """The linear layers of a base model, by the names that adapters call them. It can be sent to another process.

    Attributes:
        directory: Where its files are.
        config: Its config.json.
        files: Its tensors.
        names: Which tensor is the weight of which module.
        experts: Fused experts, by the name of the module that holds them.
    """

    def __init__(
        self,
        directory: Path,
        config: dict[str, Any] | None = None,
        files: TensorFiles | None = None,
        *,
        modules: Sequence[str] = (),
        named: Sequence[str] = (),
    ) -> None:
        """Read the config and the headers of its files, unless they were read already.

        Args:
            directory: If they are.
            config: Its config.json.
            files: Its tensors.
            modules: What an adapter calls the modules that it adapts, which tells the class of the model.
            named: Classes that the adapter names, by `modules.named_classes`.

        Raises:
            AdapterError: If they are missing or damaged.
        """
        self.directory = directory
        self.config = read_json(directory / "config.json") if config is None else config
        self.files = TensorFiles(model_files(directory)) if files is None else files
        self.names = TensorNames(self.config, self.files.tensors, modules, named)
        self.experts = fused_experts(self.files.tensors, self.family)

    @property
    def family(self) -> str | None:
        """The model_type that its config names."""
        model_type = self.config.get("model_type")
        return model_type if isinstance(model_type, str) else None

    def find(self, module: str) -> str | None:
        """Return the name of the tensor that is the weight of `module`, None if there is none, or more than one."""
        return self.names.find(module)

    def find_tensor(self, name: str) -> str | None:
        """Return what these files call the tensor that others call `name`, None if that is not clear."""
        return self.names.find_tensor(name)

    def is_transposed(self, module: str) -> bool:
        """Whether the files keep the weight of a module as (in, out), which Conv1D does."""
        return self.names.is_transposed(module)

    def slot(self, module: str) -> Slot | None:
        """Return where the weight of a module is in the files, None if there is none, or more than one.

        A projection of one expert ("…experts.17.up_proj") is found under all its names, and in fused tensors.
        """
        for name in (module, *other_names(module)):
            if key := self.find(name):
                return Slot(key, transposed=self.is_transposed(name))
        if split := split_expert(module):
            container, expert, part = split
            fused = self._fused_in_files(container)
            if fused is not None and expert < fused.count:
                return fused.slot(expert, part)
        return None

    def fused(self, container: str) -> FusedExperts | None:
        """Return how the model keeps the experts of a module, though its files may keep them one by one."""
        if fused := self._fused_in_files(container):
            return fused
        count = 0
        while self.slot(f"{container}.{count}.down_proj"):
            count += 1
        if not count:
            return None
        up, down = (self.shape(f"{container}.0.{part}") for part in ("up_proj", "down_proj"))
        return FusedExperts(container, count, False, self.family in INTERLEAVED, (2 * up[0], up[1]), down, "")

    def _fused_in_files(self, container: str) -> FusedExperts | None:
        key = self.find_tensor(f"{container}.down_proj") or self.find_tensor(f"{container}.down_proj.weight")
        return self.experts.get(key.removesuffix(".weight").rpartition(".")[0]) if key else None

    def shape(self, module: str) -> tuple[int, int]:
        """Return (out, in) of the weight of a linear layer, from the header.

        Raises:
            AdapterError: If the base has no such linear layer.
        """
        slot = self.slot(module)
        if slot is None:
            raise AdapterError(self._why_missing(module))
        info = self.files.tensors[slot.key]
        shape = slot.shape(info.shape)
        if info.dtype not in FLOATS:
            raise AdapterError(
                f"{module} is stored as {info.dtype} in the base model, so it is quantized and cannot be compared; "
                "choose the same base model in float32, bfloat16 or float16."
            )
        if 0 in shape:
            raise AdapterError(
                f"{module} is empty (shape {shape}) in the base model: DeepSpeed ZeRO-3 saves weights so if they are "
                "not gathered first; choose a base model that was saved whole."
            )
        if len(shape) != 2:
            raise AdapterError(
                f"{module} has a weight of shape {shape} in the base model, which is not that of a linear layer: "
                f"{_what_has(len(shape))} has no singular vectors to project into."
            )
        return shape

    def weight(self, module: str) -> torch.Tensor:
        """Read the weight of a linear layer: (out, in), in the type that it is stored in.

        Raises:
            AdapterError: If the base has no such linear layer, or its numbers are damaged.
        """
        self.shape(module)
        slot = self.slot(module)
        assert slot is not None  # it has a shape
        return slot.cut(self.files.read(slot.key, slot.expert))

    def bias(self, module: str) -> torch.Tensor | None:
        """Read the bias (out,) of a linear layer that has its weight for itself; None if it has none.

        Raises:
            AdapterError: If the base has no such linear layer, or its numbers are damaged.
        """
        self.shape(module)
        slot = self.slot(module)
        assert slot is not None  # it has a shape
        key = f"{slot.key.removesuffix('.weight')}.bias"
        return self.files.read(key) if slot.expert is None and key in self.files.tensors else None

    def dtype(self, module: str) -> str:
        """Return the type of the stored weight, "F32", "BF16" or the like."""
        slot = self.slot(module)
        assert slot is not None  # the base has this module
        return self.files.tensors[slot.key].dtype

    def _why_missing(self, module: str) -> str:
        """Say why the files have no weight for a module."""
        quantized = self.config.get("quantization_config")
        packed = any(key.endswith(_PACKED) for key in self.files.tensors)
        if isinstance(quantized, dict) or packed:
            how = str(quantized.get("quant_method", "an unnamed method")) if isinstance(quantized, dict) else "packed"
            return (
                f"The base model in {self.directory} is quantized ({how}), so it holds no weight for {module} that "
                "could be compared; choose the same base model in float32, bfloat16 or float16."
            )
        return (
            f"The base model in {self.directory} has no weight for {module}, which {self.names.why_missing(module)}."
        )


def _what_has(axes: int) -> str:
    return {1: "a vector", 3: "a convolution, or fused experts,", 4: "a convolution", 5: "a convolution"}.get(
        axes, "such a tensor"
    )


def locate_base(base: str | None, revision: str | None = None) -> Path:
    """Return the directory with the files of a base model that is on this machine; nothing is downloaded.

    Args:
        base: Id of a packaged model, a local directory, or the id of a model in the Hub's local cache.
        revision: Branch, tag or commit of a model in that cache; None for its main branch.

    Raises:
        AdapterError: If it is not here, or a public server may not open it.
    """
    if not base:
        raise AdapterError("The adapter names no base model; choose the one that it was trained on.")
    if base in packaged_bases():
        return Path(unpacked(base))
    path = Path(base).expanduser()
    try:
        local = (path / "config.json").is_file()
    except (OSError, ValueError):  # too long for a path, or with a NUL in it
        local = False
    if local and may_open(path):
        return path
    if _is_adapter(path):
        raise AdapterError(f"{base} is an adapter, not a base model: choose the model that it was trained on.")
    if cached := _in_hub_cache(base, revision):
        return cached
    if revision:
        raise AdapterError(
            f"The base model {base!r} is not on this machine in the revision {revision!r} that the adapter was "
            "trained on: download that revision first, or choose a base model yourself."
        )
    if base == SMOLLM2:
        raise AdapterError(f"The base model {base!r} is not on this machine; this adds it: {ADD_SMOLLM2}")
    raise AdapterError(
        f"The base model {base!r} is not on this machine: choose the base model of this adapter, or download it first."
    )


def _is_adapter(path: Path) -> bool:
    try:
        return may_open(path) and (path / "adapter_config.json").is_file()
    except (OSError, ValueError):
        return False


def _in_hub_cache(base: str, revision: str | None) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        return Path(snapshot_download(base, revision=revision, local_files_only=True))
    except (HFValidationError, OSError, ValueError):
        return None
