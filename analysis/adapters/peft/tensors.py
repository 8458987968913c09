"""The tensors in an adapter file of PEFT's, sorted by what they belong to. From headers alone; no torch."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field

from analysis.adapters.adapter import LeftOut
from analysis.common.tensor_files import TensorFiles
from analysis.models.modules import without_wrappers

ADAPTER_PREFIX = "base_model.model."
SHARED = ("vera_A", "vera_B", "randlora_A", "randlora_B")  # one for all modules
NUMBERED = "tinylora_v"  # shared too, one for each group of modules: "tinylora_v.0"
_GROUPED = (NUMBERED, "frod_V", "frod_s_indices", "frod_s_size")  # those of which each group of modules has its own
# In the file, but not trained
FIXED = ("shira_indices", "tinylora_A", "tinylora_B", "tinylora_P", "adamss_newB")
_EMBEDDING = ("lora_embedding_A", "lora_embedding_B")  # of an embedding, which is not a linear layer
# peft_type -> what the adapter of one module consists of. Anything else beside these changes what they mean.
PARTS = {
    "LORA": ("lora_A", "lora_B", "lora_magnitude_vector", *_EMBEDDING),
    "ADALORA": ("lora_A", "lora_B", "lora_E"),
    "VERA": ("vera_lambda_b", "vera_lambda_d"),
    "LOHA": ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2"),
    "LOKR": ("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2"),
    "OFT": ("oft_R",),
    "BOFT": ("boft_R", "boft_s"),
    "FOURIERFT": ("fourierft_spectrum",),
    "SHIRA": ("shira_weight", "shira_indices"),
    "RANDLORA": ("randlora_lambda", "randlora_gamma"),
    "TINYLORA": ("tinylora_A", "tinylora_B", "tinylora_P"),
    "PSOFT": ("psoft_R",),
    "OSF": ("osf_svd_params",),
    "ADAMSS": ("adamss_A", "adamss_B", "adamss_newB"),
    "FROD": ("frod_lambda_l", "frod_lambda_s_values"),
}
# What the name of a tensor can end in, after the part that it belongs to.
_ENDS = ("weight", "bias", "vector_a", "vector_b", "U_low", "S_low", "V_low")
_LISTS = ("adamss_A", "adamss_B")  # which end in a number
_BIASES = ("bias", "base_layer.bias")  # trained beside the update, and not part of it
_COPIES = ("weight", "base_layer.weight")  # PEFT saves the weights of embeddings that it adapts


@dataclass
class SortedTensors:
    """The tensors of a file by what they belong to.

    Attributes:
        modules: Adapted modules, by name in the base model -> what PEFT calls each tensor of their adapters
            ("lora_A.weight") -> its name in the file.
        shared: Tensors that modules share, likewise ("vera_A", "tinylora_v.0").
        copies: Adapted modules whose own weight is in the file as well -> its name.
        head: Shapes of what was trained whole: the task head, embeddings, biases, token deltas.
        left_out: Modules whose tensors do not say what their update is.
    """

    modules: dict[str, dict[str, str]] = field(default_factory=dict)
    shared: dict[str, str] = field(default_factory=dict)
    copies: dict[str, str] = field(default_factory=dict)
    head: dict[str, tuple[int, ...]] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)


def sort_tensors(files: TensorFiles, peft_type: str) -> SortedTensors:
    """Sort the tensors of an adapter's file.

    Names lose what trainers wrapped around the model, and the name of the adapter, which is in there if the state was
    saved otherwise than by PEFT ("lora_A.default.weight").
    """
    parts = PARTS[peft_type]
    modules: dict[str, dict[str, str]] = defaultdict(dict)
    unknown: dict[str, str] = {}  # module -> the first tensor in it that is not understood
    sorted_tensors, others = SortedTensors(), {}
    for name in files.tensors:
        bare = without_wrappers(name, keep="base_layer")
        pieces = bare.split(".")
        place = next((place for place, piece in enumerate(pieces) if place and piece in parts), None)
        if pieces[-2:-1] and pieces[-2] in _GROUPED:
            sorted_tensors.shared[".".join(pieces[-2:])] = name
        elif shared := next((piece for piece in pieces[-2:] if piece in SHARED), None):
            sorted_tensors.shared[shared] = name
        elif place is None:
            others[bare] = name
        else:
            module, own = ".".join(pieces[:place]), _own_name(pieces[place:])
            if own is None or own in modules[module]:
                unknown.setdefault(module, name)
            modules[module][own or ".".join(pieces[place:])] = name
    for bare, name in others.items():
        inside, rest = _inside(bare, modules)
        if inside is None or rest in _BIASES:
            sorted_tensors.head[name] = files.tensors[name].shape
        elif rest in _COPIES:
            sorted_tensors.copies[inside] = name
        else:
            unknown.setdefault(inside, name)
            modules[inside][rest] = name
    for module, tensors in modules.items():
        names = list(tensors.values())
        if reason := _why_left_out(files, names, unknown.get(module), peft_type):
            trained = sum(math.prod(files.tensors[name].shape) for name in names)
            sorted_tensors.left_out.append(LeftOut(module, reason, trained))
        else:
            sorted_tensors.modules[module] = tensors
    return sorted_tensors


def _own_name(pieces: list[str]) -> str | None:
    """Return what PEFT calls a tensor in an adapter's file, from a known part on; None if it is not one of PEFT's."""
    part, *rest = pieces
    ends = rest and (rest[-1] in _ENDS or (part in _LISTS and rest[-1].isdigit()))
    end = rest[-1:] if ends else []
    return ".".join([part, *end]) if len(rest) - len(end) <= 1 else None


def _inside(name: str, modules: dict[str, dict[str, str]]) -> tuple[str | None, str]:
    """Return the adapted module that a tensor lies in, and the rest of its name."""
    pieces = name.split(".")
    for end in range(len(pieces) - 1, 0, -1):
        module = ".".join(pieces[:end])
        if module in modules:
            return module, ".".join(pieces[end:])
    return None, name


def _why_left_out(files: TensorFiles, names: list[str], unknown: str | None, peft_type: str) -> str | None:
    """Say why the update of one module cannot be told from its tensors; None if it can."""
    file = files.files[0]
    if unknown is not None:
        return (
            f"{file} has the tensor {unknown}, which is not part of one adapter of the type {peft_type}: what the "
            "update is depends on it in a way that is not known here."
        )
    empty = next((name for name in names if 0 in files.tensors[name].shape), None)
    if empty is not None:
        return (
            f"{empty} in {file} is empty (shape {files.tensors[empty].shape}): DeepSpeed ZeRO-3 saves tensors so if "
            "they are not gathered first."
        )
    if any(part in name.split(".") for name in names for part in _EMBEDDING):
        return "It is an embedding: its rows are looked up, so it is not a linear layer with singular vectors."
    if any(len(files.tensors[name].shape) > 2 and ".lora_" in name for name in names):
        return "It is a convolution, not a linear layer, so it has no singular vectors to project into."
    return None
