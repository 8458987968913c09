"""What reaches past the public interface of other libraries, each with a test that fails when an upgrade breaks it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def prepare_peft() -> None:
    """Keep layers of PEFT from what they do beside their work: call it before one is built or loaded."""
    _keep_boft_from_compiling()
    _keep_frod_from_warning()


def _keep_boft_from_compiling() -> None:
    """Make PEFT build, and load, BOFT layers without its CUDA extension, in this process.

    Otherwise the first layer compiles it, with output on the terminal and warnings if that fails. It is there for
    several butterfly factors, of which we use one, and does not take CPU tensors.
    """
    from peft.tuners.boft import layer

    layer._FBD_CUDA = False  # type: ignore[assignment]  # PEFT's None, for "not tried yet", hides the type


def _keep_frod_from_warning() -> None:
    """Leave unchecked, without a warning, whether sparse tensors are well formed: PEFT's FRoD makes them so itself."""
    import torch

    torch.sparse.check_sparse_tensor_invariants.disable()


def refuses_lora(model: PreTrainedModel, module: str) -> str | None:
    """Return why PEFT adds no LoRA to a module of this model, in a sentence; None if it does.

    It refuses projections that a kernel of Mamba reads past the layer.
    """
    from peft import LoraConfig
    from peft.tuners.tuners_utils import _check_lora_target_modules_mamba

    try:
        _check_lora_target_modules_mamba(LoraConfig(), model, module.rpartition(".")[2])
    except ValueError:
        return f"PEFT refuses LoRA there in models of the type {model.config.model_type}."
    return None


class LoadedNames:
    """What `from_pretrained` of transformers makes of the names of tensors in a checkpoint.

    Versions of transformers name modules differently and keep the files in their first names; which name becomes which
    is in transformers' own conversion mapping, and this applies it.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        """Read the mapping of a model's class; the model may be on the meta device."""
        from transformers.conversion_mapping import get_model_conversion_mapping
        from transformers.core_model_loading import WeightConverter, WeightRenaming

        mapping = get_model_conversion_mapping(model)
        self._renamings = [entry for entry in mapping if isinstance(entry, WeightRenaming)]
        self._converters = [entry for entry in mapping if isinstance(entry, WeightConverter)]
        self._state, self._prefix = model.state_dict(), model.base_model_prefix

    def of(self, names: Iterable[str]) -> dict[str, tuple[str, bool]]:
        """Return name in a file -> name in the model, with `base_model_prefix` added or taken away if that is needed.

        The second value says whether the tensor is only a part of that parameter, or several of them, as experts are
        that are fused when they are loaded.
        """
        from transformers.core_model_loading import GroupWeightRename, dot_natural_key, rename_source_key

        for renaming in self._renamings:
            if isinstance(renaming, GroupWeightRename):
                renaming._active = None  # it remembers what the last checkpoint had
        grouped = {}
        for name in sorted(names, key=dot_natural_key):  # transformers' order, which some renamings need
            loaded, converted = rename_source_key(name, self._renamings, self._converters, self._prefix, self._state)
            if loaded not in self._state:
                as_it_is, _ = rename_source_key(name, [], [], self._prefix, self._state)
                if as_it_is in self._state:
                    loaded, converted = as_it_is, None
            if converted is not None:
                loaded, _ = rename_source_key(name, self._renamings, [], self._prefix, self._state)
            grouped[name] = (loaded, converted is not None)
        return grouped


def decoded_floats(values: dict[str, Any]) -> dict[str, Any]:
    """Return values of a config.json with its infinities as numbers: transformers writes {"__float__": "Infinity"}."""
    from transformers import PreTrainedConfig

    return PreTrainedConfig._decode_special_floats(values)
