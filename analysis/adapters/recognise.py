"""What a directory holds, said from its files: the names of their tensors, and not from what a config claims."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from analysis.adapters.adapter_file import CONFIG_FILE, WEIGHTS_FILE, read_config, tensor_names
from analysis.common.bounded_files import read_json
from analysis.common.errors import AdapterError
from analysis.common.tensor_files import TensorFiles, model_files

if TYPE_CHECKING:
    from analysis.adapters.adapter import Adapter

PROJECTION_FILE = "projection.safetensors"

# A part of a tensor's name that only one kind of adapter has -> what PEFT calls the kind, and what people do.
# The first that is there counts: DoRA has LoRA's tensors too, and AdaLoRA as well.
_MARKS = {
    "svft_coefficients": ("SVFT", "SVFT"),
    "lora_E": ("ADALORA", "AdaLoRA"),
    "lora_magnitude_vector": ("LORA", "DoRA"),
    "lora_A": ("LORA", "LoRA"),
    "vera_lambda_d": ("VERA", "VeRA"),
    "hada_w1_a": ("LOHA", "LoHa"),
    "lokr_w1": ("LOKR", "LoKr"),
    "lokr_w1_a": ("LOKR", "LoKr"),
    "oft_R": ("OFT", "OFT"),
    "boft_R": ("BOFT", "BOFT"),
    "fourierft_spectrum": ("FOURIERFT", "FourierFT"),
    "shira_weight": ("SHIRA", "SHiRA"),
    "randlora_lambda": ("RANDLORA", "RandLoRA"),
}
KINDS = tuple(dict.fromkeys(kind for _, kind in _MARKS.values()))
_STARTS = {"pissa": "PiSSA", "olora": "OLoRA"}  # values of init_lora_weights that change the base
AUTHORS = "authors' layers"
_AUTHORS = ".svft_layer."  # layer state of the paper's authors


def recognise(path: Path) -> str:
    """Return the kind of adapter in the directory `path`.

    Returns:
        "SVFT", "head only", "LoRA", "DoRA", "rsLoRA", "PiSSA", "OLoRA", another of `KINDS`, "full fine-tuning",
        "projection" (one that this project saved), or `AUTHORS` (which `analysis.conversion.authors` converts).

    Raises:
        AdapterError: Where it holds no adapter, a kind that cannot be opened, or one that its config denies.
    """
    if not path.is_dir():
        raise AdapterError(f"{path} is not a directory; give the directory that holds {CONFIG_FILE}.")
    if (path / CONFIG_FILE).is_file():
        return _adapter(path)
    if (path / PROJECTION_FILE).is_file():
        return "projection"
    if (path / "config.json").is_file():
        if any(_AUTHORS in name for name in TensorFiles(model_files(path)).tensors):
            return AUTHORS
        return "full fine-tuning"
    raise AdapterError(f"{path} is not an adapter: it has no {CONFIG_FILE}, and no config.json of a model either.")


def _adapter(path: Path) -> str:
    config = read_config(path)
    claimed = config.get("peft_type")
    names = tensor_names(path)
    parts = {part for name in names for part in name.split(".")}
    found = next((found for mark, found in _MARKS.items() if mark in parts), None)
    if found is None:
        if claimed == "SVFT":
            return "SVFT"  # one without matrices, or with damaged ones: reading it says so
        if config.get("target_modules") in ("dummy-target-modules", ["dummy-target-modules"]):
            return "head only"
        raise AdapterError(
            f"{path / WEIGHTS_FILE} has no tensors of a known kind of adapter (its peft_type is {claimed!r}); "
            f"the kinds are {', '.join(KINDS)}, and whole checkpoints."
        )
    peft_type, kind = found
    if claimed != peft_type:
        raise AdapterError(
            f"{path / WEIGHTS_FILE} holds {kind} tensors, but {CONFIG_FILE} has the peft_type {claimed!r}: "
            "one of the two files belongs to another adapter."
        )
    if kind == "LoRA":
        start = str(config.get("init_lora_weights")).lower().split("_")[0]
        return _STARTS.get(start) or ("rsLoRA" if config.get("use_rslora") is True else "LoRA")
    return kind


def is_causal(adapter: Adapter) -> bool:
    """Return whether an adapter belongs to a causal language model, which continues texts.

    Its config says so (`task_type`), else that of its base model; False where that is not on this machine.
    """
    if task_type := adapter.config.get("task_type"):
        return task_type == "CAUSAL_LM"
    named = adapter.config.get("architectures")
    if named is None:
        from analysis.models.base_weights import locate_base

        try:
            named = read_json(locate_base(adapter.base) / "config.json").get("architectures")
        except AdapterError:
            return False
    return isinstance(named, list) and any(str(one).endswith(("ForCausalLM", "LMHeadModel")) for one in named)
