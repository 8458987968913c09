"""What a path holds, said from its files: the names of their tensors, and not from what a config claims.

This is the one way in: `recognise` reads the configs and headers once, and everything after it takes what was read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.adapters.adapter_file import check_fields
from analysis.adapters.paths import CONFIG_FILE, PROJECTION_CONFIG, locate_config, locate_weights, reopening_path
from analysis.common.bounded_files import read_json
from analysis.common.errors import AdapterError
from analysis.common.tensor_files import TensorFiles
from analysis.models.base_weights import locate_base
from analysis.models.modules import continues_texts

if TYPE_CHECKING:
    from analysis.adapters.adapter import Adapter

# A part of a tensor's name that only one kind of adapter has -> what PEFT calls the kind, and what people do.
# The first that is there counts: DoRA has LoRA's tensors too, and AdaLoRA as well.
_MARKS = {
    "svft_coefficients": ("SVFT", "SVFT"),
    "lora_E": ("ADALORA", "AdaLoRA"),
    "lora_magnitude_vector": ("LORA", "DoRA"),
    "lora_A": ("LORA", "LoRA"),
    "lora_embedding_A": ("LORA", "LoRA"),
    "vera_lambda_d": ("VERA", "VeRA"),
    "hada_w1_a": ("LOHA", "LoHa"),
    "lokr_w1": ("LOKR", "LoKr"),
    "lokr_w1_a": ("LOKR", "LoKr"),
    "oft_R": ("OFT", "OFT"),
    "boft_R": ("BOFT", "BOFT"),
    "fourierft_spectrum": ("FOURIERFT", "FourierFT"),
    "shira_weight": ("SHIRA", "SHiRA"),
    "randlora_lambda": ("RANDLORA", "RandLoRA"),
    "tinylora_B": ("TINYLORA", "TinyLoRA"),
    "psoft_R": ("PSOFT", "PSOFT"),
    "osf_svd_params": ("OSF", "OSF"),
    "adamss_newB": ("ADAMSS", "AdaMSS"),
    "frod_lambda_l": ("FROD", "FRoD"),
}
KINDS = tuple(dict.fromkeys(kind for _, kind in _MARKS.values()))
# Values of init_lora_weights that change the base, or that freeze one of the factors
_STARTS = {"pissa": "PiSSA", "olora": "OLoRA", "mica": "MiCA"}
CHANGING_KINDS = ("PiSSA", "OLoRA")  # whose start is taken out of the base
EVERY_KIND = (*KINDS, *_STARTS.values(), "rsLoRA")  # of adapters that are opened
AUTHORS = "authors' layers"
_AUTHORS = ".svft_layer."  # layer state of the paper's authors
_MLX = (
    "{} belongs to an mlx-lm adapter, whose factors are named and scaled otherwise than PEFT's; fuse it with "
    "mlx_lm.fuse, or convert it to a PEFT adapter."
)
_HEAD_ONLY = ("dummy-target-modules", ["dummy-target-modules"])


@dataclass(frozen=True, eq=False)
class Recognised:
    """What was read of an adapter, a checkpoint or a projection: its configs and headers, and no numbers.

    Attributes:
        path: The directory that it lies in; the file itself, if the directory stands for another one.
        kind: "SVFT", "head only", "LoRA", "DoRA", "rsLoRA", "PiSSA", "OLoRA", "MiCA", another of `KINDS`,
            "full fine-tuning", "projection" (one that this project saved), or `AUTHORS` (layers that
            `analysis.conversion.authors` converts).
        config: adapter_config.json; of a checkpoint config.json, of a projection projection.json.
        files: Its tensors.
        evaluation: evaluation.json, which this project writes; empty if there is none.
    """

    path: Path
    kind: str
    config: dict[str, Any]
    files: TensorFiles
    evaluation: Mapping[str, Any] = field(default_factory=dict)

    @property
    def task(self) -> str | None:
        """Name of the task that it was trained on, if its evaluation.json says so."""
        return self._of_spec("task")

    @property
    def base(self) -> str | None:
        """Id or path of the base model, if the files name one: older configs of checkpoints do."""
        named = {"full fine-tuning": "_name_or_path", AUTHORS: "_name_or_path", "projection": "base"}
        base = self.config.get(named.get(self.kind, "base_model_name_or_path"))
        if base is None and self.kind == "full fine-tuning":
            base = self._of_spec("base")  # `svft train` records it
        return base if isinstance(base, str) and base else None

    @property
    def revision(self) -> str | None:
        """Revision of the base model that the adapter's config pins, or None."""
        revision = self.config.get("revision")
        return revision if isinstance(revision, str) and revision else None

    def _of_spec(self, name: str) -> str | None:
        spec = self.evaluation.get("spec")
        value = spec.get(name) if isinstance(spec, dict) else None
        return value if isinstance(value, str) else None


def recognise(path: str | Path) -> Recognised:
    """Read the configs and headers of what `path` holds, and say what it is.

    Args:
        path: A directory, its one subfolder that holds an adapter, or a safetensors file in it, single or a shard.

    Raises:
        AdapterError: If it holds no adapter, a kind that cannot be opened, or one that its config denies.
    """
    path = Path(path).expanduser()
    file = locate_config(path)
    config = read_json(file)
    if file.name == CONFIG_FILE:
        _refuse_other_types(file, config)
    files = TensorFiles(locate_weights(path, file))
    own = reopening_path(path, file)
    return Recognised(own, _kind(file, config, files), config, files, _evaluation(file.parent))


def _kind(file: Path, config: dict[str, Any], files: TensorFiles) -> str:
    if file.name == PROJECTION_CONFIG:
        return "projection"
    if file.name == CONFIG_FILE:
        return _kind_of_adapter(file, config, files)
    if any(_AUTHORS in name for name in files.tensors):
        return AUTHORS
    _refuse_empty(files, files.files[0])
    if mark := next((mark for mark in _MARKS if mark in _parts(files)), None):
        raise AdapterError(
            f"{files.files[0]} holds a whole model with an adapter that is not merged ({mark}): merge it, or save the "
            "adapter by itself with PEFT's save_pretrained."
        )
    return "full fine-tuning"


def _parts(files: TensorFiles) -> set[str]:
    return {part for name in files.tensors for part in name.split(".")}


def _refuse_other_types(file: Path, config: dict[str, Any]) -> None:
    """Raise an AdapterError if an adapter's config says that it is of a type that is not read here."""
    claimed = config.get("peft_type")
    if claimed is None and ("lora_parameters" in config or "fine_tune_type" in config):
        raise AdapterError(_MLX.format(file))
    if claimed is not None and claimed not in [peft_type for peft_type, _ in _MARKS.values()]:
        raise AdapterError(
            f"{file} has the peft_type {claimed!r}, which is not read here; the kinds are {', '.join(KINDS)}, and "
            "whole checkpoints."
        )


def _kind_of_adapter(file: Path, config: dict[str, Any], files: TensorFiles) -> str:
    claimed, weights = config.get("peft_type"), files.files[0]
    if claimed == "SVFT":
        check_fields(config, file)
    _refuse_empty(files, weights)
    parts = _parts(files)
    if {"lora_a", "lora_b"} <= parts:
        raise AdapterError(_MLX.format(weights))
    method = next((names for mark, names in _MARKS.items() if mark in parts), None)
    if method is None:
        if claimed == "SVFT":
            return "SVFT"  # one without matrices, or with damaged ones: reading it says so
        if config.get("target_modules") in _HEAD_ONLY:
            return "head only"
        raise AdapterError(
            f"{weights} has no tensors of a known kind of adapter (its peft_type is {claimed!r}); "
            f"the kinds are {', '.join(KINDS)}, and whole checkpoints."
        )
    peft_type, kind = method
    if claimed is None:
        raise AdapterError(f"{weights} holds {kind} tensors, but {file} has no peft_type: save the adapter again.")
    if claimed != peft_type:
        raise AdapterError(
            f"{weights} holds {kind} tensors, but {CONFIG_FILE} has the peft_type {claimed!r}: "
            "one of the two files belongs to another adapter."
        )
    if kind == "LoRA":
        start = str(config.get("init_lora_weights")).lower()
        return _STARTS.get(start) or ("rsLoRA" if config.get("use_rslora") is True else "LoRA")
    return kind


def _refuse_empty(files: TensorFiles, weights: Path) -> None:
    if not files.tensors:
        raise AdapterError(
            f"{weights} holds no tensors: nothing of the adapter was saved. Training with DeepSpeed ZeRO-3 or FSDP "
            "does this if the weights are not gathered before they are saved."
        )
    if all(0 in info.shape for info in files.tensors.values()):
        raise AdapterError(
            f"All tensors in {weights} are empty (shape (0,)): DeepSpeed ZeRO-3 saves them so if they are not "
            "gathered first. Set stage3_gather_16bit_weights_on_model_save, or recover them by zero_to_fp32.py."
        )


def _evaluation(directory: Path) -> dict[str, Any]:
    file = directory / "evaluation.json"
    try:
        return read_json(file) if file.is_file() else {}
    except AdapterError:
        return {}  # it only describes: an adapter is shown without


def is_causal(adapter: Adapter) -> bool:
    """Return whether an adapter belongs to a causal language model, which continues texts.

    Its config says so (`task_type`), else that of its base model; False if that is not on this machine.
    """
    if task_type := adapter.config.get("task_type"):
        return task_type == "CAUSAL_LM"
    named = adapter.config.get("architectures")
    if named is None:
        try:
            named = read_json(locate_base(adapter.base, adapter.revision) / "config.json").get("architectures")
        except AdapterError:
            return False
    return continues_texts(named)
