"""The weights of a base model, found by module name, read one at a time from its files."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.common.bounded_files import read_json
from analysis.common.errors import AdapterError
from analysis.common.settings import may_open
from analysis.common.tensor_files import TensorFiles, model_files
from analysis.models.modules import module_name
from analysis.models.packages import PACKAGED_BASES, resolve_base

if TYPE_CHECKING:
    import torch

# Models whose linear layers are Conv1D: their files keep W transposed, (in, out).
_TRANSPOSED = ("gpt2", "openai-gpt", "imagegpt", "decision_transformer", "clvp")


class BaseWeights:
    """The linear layers of a base model, by the names that adapters call them. It can be sent to another process.

    Attributes:
        directory: Where its files are.
        transposed: Whether its files keep the weights of linear layers transposed (GPT-2's Conv1D).
    """

    def __init__(self, directory: Path) -> None:
        """Read the headers of its files.

        Raises:
            AdapterError: Where they are missing or damaged.
        """
        self.directory = directory
        said = read_json(directory / "config.json").get("model_type")
        family = said if isinstance(said, str) else None
        self.transposed = family in _TRANSPOSED
        self.files = TensorFiles(model_files(directory))
        # Adapters and files disagree on what a name begins with ("bert.encoder…" or "encoder…"): names are compared
        # from their end, back to the list of blocks at least.
        self._names: dict[str, list[tuple[list[str], str]]] = defaultdict(list)
        for key in self.files.tensors:
            stem, _, part = key.rpartition(".")
            for name in {key, f"{module_name(stem, family)}.{part}"}:
                self._names[_tail(name)].append((name.split("."), key))

    def find(self, module: str) -> str | None:
        """Return the name of the tensor that is the weight of `module`, None where there is none, or more than one."""
        return self.find_tensor(f"{module}.weight")

    def find_tensor(self, name: str) -> str | None:
        """Return what these files call the tensor that others call `name`, None where that is not clear."""
        parts = name.split(".")
        best, keys = 0, set()
        for own, key in self._names.get(_tail(name), []):
            common = _common_end(own, parts)
            if _block(parts) is None and common < min(len(own), len(parts)):
                continue  # outside the blocks, one name must be the end of the other
            if common > best:
                best, keys = common, {key}
            elif common == best:
                keys.add(key)
        return keys.pop() if len(keys) == 1 else None

    def shape(self, module: str) -> tuple[int, int]:
        """Return (out, in) of the weight of a linear layer, from the header.

        Raises:
            AdapterError: Where the base has no such linear layer.
        """
        key = self.find(module)
        if key is None:
            raise AdapterError(
                f"The base model in {self.directory} has no weight for {module}; name the base model that the "
                "adapter was trained on."
            )
        shape = self.files.tensors[key].shape
        if len(shape) != 2:
            raise AdapterError(
                f"{module} has a weight of shape {shape}: only linear layers have singular vectors to project into, "
                "no convolutions and no fused experts."
            )
        return shape[::-1] if self.transposed else shape

    def weight(self, module: str) -> torch.Tensor:
        """Read the weight of a linear layer: (out, in), in the type that it is stored in.

        Raises:
            AdapterError: Where the base has no such linear layer, or its numbers are damaged.
        """
        self.shape(module)
        weight = self.files.read(self.find(module))
        return (weight.mT if self.transposed else weight).contiguous()

    def dtype(self, module: str) -> str:
        """Return the type of the stored weight, "F32", "BF16" or the like."""
        return self.files.tensors[self.find(module)].dtype


def locate_base(base: str | None) -> Path:
    """Return the directory with the files of a base model that is on this machine; nothing is downloaded.

    Args:
        base: Id of a packaged model, a local directory, or the id of a model in the Hub's local cache.

    Raises:
        AdapterError: Where it is not here, or a public server may not open it.
    """
    if not base:
        raise AdapterError("The adapter names no base model; choose the one that it was trained on.")
    if base in PACKAGED_BASES:
        return Path(resolve_base(base))
    path = Path(base).expanduser()
    try:
        local = (path / "config.json").is_file()
    except (OSError, ValueError):  # too long for a path, or with a NUL in it
        local = False
    if local and may_open(path):
        return path
    if cached := _in_hub_cache(base):
        return cached
    raise AdapterError(
        f"The base model {base!r} is not on this machine: choose the base model of this adapter, or download it first."
    )


def _in_hub_cache(base: str) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        return Path(snapshot_download(base, local_files_only=True))
    except (HFValidationError, OSError, ValueError):
        return None


def _tail(name: str) -> str:
    """Return the end of a name from its list of blocks on ("layer.0.attention.self.query"); its last part without."""
    parts = name.split(".")
    block = _block(parts)
    return ".".join(parts[max(block - 1, 0) :] if block is not None else parts[-2:])


def _block(parts: list[str]) -> int | None:
    return next((place for place, part in enumerate(parts) if part.isdigit()), None)


def _common_end(a: list[str], b: list[str]) -> int:
    count = 0
    for x, y in zip(reversed(a), reversed(b)):
        if x != y:
            break
        count += 1
    return count
