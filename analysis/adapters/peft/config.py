"""What of a stranger's adapter_config.json is used, and what it may say. Light: no torch.

Only the fields named here reach PEFT: others can name modules to import, files to read or processes to start. None of
their numbers may ask for more memory than the weight itself takes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from analysis.common.errors import AdapterError


def _whole(value: Any, limit: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -1 <= value <= limit


def _side(value: Any, out: int, in_: int) -> bool:
    return _whole(value, max(out, in_))


def _rank(value: Any, out: int, in_: int) -> bool:
    """A rank: PEFT takes one above both sides of a small weight too."""
    return _whole(value, max(out, in_, 1024))


def _any_rank(value: Any, out: int, in_: int) -> bool:
    """LoKr's rank: one above the sides of its blocks says that they are kept whole, and sizes nothing."""
    return _whole(value, 2**31)


def _size(value: Any, out: int, in_: int) -> bool:
    return _whole(value, out * in_)


def _seed(value: Any, out: int, in_: int) -> bool:
    return value is None or _whole(value, 2**63 - 1)


def _number(value: Any, out: int, in_: int) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9  # no NaN either


def _few(value: Any, out: int, in_: int) -> bool:
    return _whole(value, 100)


def _flag(value: Any, out: int, in_: int) -> bool:
    return isinstance(value, bool)


def _text(value: Any, out: int, in_: int) -> bool:
    return value is None or isinstance(value, bool) or (isinstance(value, str) and len(value) < 100)


def _pattern_of(check: Callable[[Any, int, int], bool]) -> Callable[[Any, int, int], bool]:
    def checked(value: Any, out: int, in_: int) -> bool:
        return value is None or (
            isinstance(value, dict) and all(is_harmless(key) and check(item, out, in_) for key, item in value.items())
        )

    return checked


def _mask(value: Any, out: int, in_: int) -> bool:
    return isinstance(value, list) and len(value) <= max(out, in_) and all(isinstance(flag, bool) for flag in value)


# peft_type -> field -> whether a value is allowed for a weight (out, in).
FIELDS: dict[str, dict[str, Callable[[Any, int, int], bool]]] = {
    "LORA": {
        "r": _rank, "lora_alpha": _number, "use_rslora": _flag, "use_dora": _flag, "lora_bias": _flag,
        "rank_pattern": _pattern_of(_rank), "alpha_pattern": _pattern_of(_number), "init_lora_weights": _text,
    },
    "ADALORA": {
        "init_r": _rank, "target_r": _rank, "r": _rank, "lora_alpha": _number, "rank_pattern": _pattern_of(_mask),
        "total_step": _size, "tinit": _seed, "tfinal": _seed, "deltaT": _seed,
    },
    "VERA": {"r": _rank, "projection_prng_key": _seed, "save_projection": _flag},
    "LOHA": {
        "r": _rank, "alpha": _number, "rank_pattern": _pattern_of(_rank), "alpha_pattern": _pattern_of(_number),
    },
    "LOKR": {
        "r": _any_rank, "alpha": _number, "rank_pattern": _pattern_of(_any_rank),
        "alpha_pattern": _pattern_of(_number), "decompose_both": _flag,
        "decompose_factor": _side,
    },
    "OFT": {
        "r": _side, "oft_block_size": _side, "coft": _flag, "eps": _number, "block_share": _flag,
        "use_cayley_neumann": _flag, "num_cayley_neumann_terms": _few,
    },
    "BOFT": {
        "boft_block_size": _side, "boft_block_num": _side,
        "boft_n_butterfly_factor": lambda value, out, in_: _whole(value, 16),
    },
    "FOURIERFT": {
        "n_frequency": _size, "scaling": _number, "random_loc_seed": _seed,
        "n_frequency_pattern": _pattern_of(_size),
    },
    "SHIRA": {"r": _rank, "mask_type": _text, "random_seed": _seed},
    "RANDLORA": {
        "r": _rank, "randlora_alpha": _number, "projection_prng_key": _seed, "save_projection": _flag,
        "sparse": _flag, "very_sparse": _flag,
    },
    "TINYLORA": {"r": _rank, "u": _size},
    "PSOFT": {
        "r": _side, "psoft_alpha": _number, "psoft_orth": _flag, "psoft_mag_a": _flag, "psoft_mag_b": _flag,
        "ab_svd_init": _text, "psoft_svd": _text, "psoft_svd_lowrank_niter": _few, "random_seed": _seed,
        "use_cayley_neumann": _flag, "num_cayley_neumann_terms": _few, "cayley_neumann_eps": _number,
    },
    "ADAMSS": {
        "r": _rank, "num_subspaces": _side, "subspace_rank": _rank, "random_seed": _seed, "use_dynamic_rank": _flag,
        "svd_threshold": _number,
    },
    "FROD": {},  # all that it depends on is in the file
    "OSF": {"effective_rank": _number, "rank_pattern": _pattern_of(_number)},
}  # fmt: skip

_SCALES = ("r", "init_r", "lora_alpha", "alpha", "psoft_alpha")

# What changes which update a file stands for, in a way that is not followed here.
_REFUSED = {
    "layer_replication": "it repeats layers of the base",
    "arrow_config": "it routes between several adapters",
    "use_qalora": "it adapts a quantized base",
    "use_bdlora": "its factors are block-diagonal",
    "monteclora_config": "its update is drawn at random",
    "alora_invocation_tokens": "it applies from certain tokens on, not everywhere",
    "kasa_config": "KaSA cuts small singular values off the base, and has a trained diagonal between its factors",
    "velora_config": "VeLoRA changes how the factors are trained and applied",
    "enable_lora": "it adapts some of the fused query, key and value only (PEFT before 0.3), which PEFT dropped since",
}
_PLAIN_STARTS = ("true", "false", "none", "gaussian", "eva", "orthogonal", "mica")  # which leave the base as it is
_FOLLOWED_STARTS = ("pissa", "olora")  # which change the base, by what follows from the base alone
# Starts that change the base by what is not in the files.
_UNKNOWN_STARTS = {
    "pissa_niter": "PiSSA by iterations starts from a randomized SVD, which is another one each time",
    "corda": "CorDA takes its start, out of the base, from a covariance of data",
    "loftq": "LoftQ replaces the base by a quantized one",
    "lora_ga": "LoRA-GA takes its start, out of the base, from gradients on data",
}


def chosen_fields(config: dict, shape: tuple[int, int], where: str) -> dict[str, Any]:
    """Return what PEFT needs from an adapter's config for one weight of `shape` (out, in).

    Raises:
        AdapterError: If a field has a value that no such adapter can have, or one that is not followed here.
    """
    for field, reason in _REFUSED.items():
        if config.get(field):
            raise AdapterError(f"{where} sets {field}: {reason}, so its update cannot be projected.")
    if config["peft_type"] == "LORA":
        _check_start(config, where)
    chosen = {}
    for field, allowed in FIELDS[config["peft_type"]].items():
        if field not in config:
            continue
        value = config[field]
        if value is None:
            if field in _SCALES:
                raise AdapterError(f"{where} has no {field} (null), so the size of the update is not known.")
            continue
        if not allowed(value, *shape):
            raise AdapterError(f"{where} has {field}={_short(value)}, which does not fit a weight of shape {shape}.")
        chosen[field] = value
    if str(chosen.get("init_lora_weights")).lower() not in _FOLLOWED_STARTS:
        chosen.pop("init_lora_weights", None)  # what the file holds replaces the start
    return chosen


def _check_start(config: dict, where: str) -> None:
    """Raise an AdapterError if the start of a LoRA is not determined by its files and its base."""
    start = str(config.get("init_lora_weights")).lower()
    if start in (*_PLAIN_STARTS, *_FOLLOWED_STARTS):
        return
    reason = next((reason for name, reason in _UNKNOWN_STARTS.items() if start.startswith(name)), None)
    reason = reason or "it is not known here whether this start changes the base"
    raise AdapterError(
        f"{where} has init_lora_weights={_short(start)}: {reason}. So the update cannot be told from the files; save "
        "the adapter as a plain LoRA, with PEFT's save_pretrained(path_initial_model_for_weight_conversion=…)."
    )


def is_harmless(expression: Any) -> bool:
    """Whether a regular expression of a stranger can be matched against a module's name in no time.

    Names, alternatives, optional groups and a few wildcards; nothing repeats a group, which is what can take for ever.
    """
    if not isinstance(expression, str) or len(expression) > 500:
        return False
    optional = expression.count("?")
    if len(re.findall(r"[*+{]", expression)) > 4 or optional > 8 or re.search(r"\)[*+{]", expression):
        return False
    try:
        re.compile(expression)
    except (re.error, RecursionError, OverflowError):
        return False
    return True


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else f"{text[:57]}…"
