"""Modules of a model by name: inside a block or not, chosen or not, and what files call them. Light: no torch."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from analysis.common.errors import UserError

# model_type -> what a classifier's modules begin with; files of a model without head lack it. Of these families it is
# known that all matrices inside the blocks are linear layers, and how files call them. Others are built (see below).
_PREFIXES = {
    "bert": "bert",
    "roberta": "roberta",
    "distilbert": "distilbert",
    "gpt2": "transformer",
    "llama": "model",
    "mistral": "model",
    "qwen2": "model",
    "vit": "vit",
}
# Files keep the names that these modules had first.
_VIT_NAMES = {
    r"^vit\.encoder\.layer\.": "vit.layers.",
    r"attention\.attention\.(q|k|v)(uery|ey|alue)$": r"attention.\1_proj",
    r"attention\.output\.dense$": "attention.o_proj",
    r"intermediate\.dense$": "mlp.fc1",
    r"output\.dense$": "mlp.fc2",
}

# What trainers wrap modules in: torch.compile, data parallel, FSDP, checkpointing, PEFT.
_WRAPPERS = frozenset(
    ("_orig_mod", "module", "_forward_module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "base_layer")
)
_PEFT = "base_model.model."

# PEFT's name of a task -> transformers' class for it.
AUTO_CLASSES = {
    "SEQ_CLS": "AutoModelForSequenceClassification",
    "CAUSAL_LM": "AutoModelForCausalLM",
    "SEQ_2_SEQ_LM": "AutoModelForSeq2SeqLM",
    "TOKEN_CLS": "AutoModelForTokenClassification",
    "QUESTION_ANS": "AutoModelForQuestionAnswering",
    "FEATURE_EXTRACTION": "AutoModel",
}

KNOWN_FAMILIES = frozenset(_PREFIXES)


def continues_texts(architectures: object) -> bool:
    """Return whether the classes that a config.json names are those of a causal language model."""
    return isinstance(architectures, list) and any(
        str(name).endswith(("ForCausalLM", "LMHeadModel")) for name in architectures
    )


def choose_targets(linears: Sequence[str], target_modules: Sequence[str] | None) -> list[str]:
    """Return those of the linear layers inside the blocks whose name is, or ends in, one of `target_modules`.

    Args:
        linears: Full names, in the order of the blocks.
        target_modules: None takes all.

    Raises:
        UserError: If one of them matches no layer.
    """
    if target_modules is None:
        return list(linears)
    for target in target_modules:
        if not any(f".{name}".endswith(f".{target}") for name in linears):
            first = [name for name in linears if _block(name) == _block(linears[0])]
            raise UserError(
                f"target_modules names {target!r}, which is not a linear layer inside the blocks of this model; "
                f"the first block has {', '.join(first)}."
            )
    return [name for name in linears if any(f".{name}".endswith(f".{target}") for target in target_modules)]


def inside_block(name: str) -> bool:
    """Whether a module is inside a block, that is inside a list of modules: no embedding, pooler or head is."""
    return _block(name) is not None


def _block(name: str) -> str | None:
    """Return the path of the block that a module is in."""
    match = re.match(r"(?:.*?\.)?\d+(?=\.|$)", name)
    return match.group() if match else None


def module_name(module: str, family: str | None) -> str:
    """Return what a classifier of the family calls a module that files call `module`; itself for unknown families."""
    if family not in _PREFIXES:
        return module
    prefix = _PREFIXES[family]
    name = module if module.startswith(f"{prefix}.") else f"{prefix}.{module}"
    for old, new in _VIT_NAMES.items() if family == "vit" else ():
        name = re.sub(old, new, name)
    return name


def without_wrappers(name: str, keep: str = "") -> str:
    """Return the name of a module or parameter without the wrappers that training put around it, wherever they are.

    Args:
        name: As a file has it.
        keep: A wrapper that stays: between PEFT's adapters of several parameters, "base_layer" tells which is which.
    """
    bare = ".".join(part for part in name.split(".") if part not in _WRAPPERS or part == keep)
    while bare.startswith(_PEFT):
        bare = bare.removeprefix(_PEFT)
    return bare


def named_classes(config: Mapping[str, Any]) -> list[str]:
    """Return the classes that an adapter's config, or a model's, names.

    Args:
        config: Values of an adapter_config.json (`auto_mapping`, `task_type`) or of a config.json (`architectures`).
    """
    mapping = config.get("auto_mapping")
    named = [mapping.get("base_model_class") if isinstance(mapping, Mapping) else None]
    named.append(AUTO_CLASSES.get(str(config.get("task_type"))))
    architectures = config.get("architectures")
    named += architectures if isinstance(architectures, list) else []
    return [name for name in named if isinstance(name, str)]
