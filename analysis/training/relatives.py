"""The relatives of SVFT that PEFT has: their configuration at a size, and what they cannot adapt.

Light: PEFT is imported when a configuration is made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from analysis.common.compat import prepare_peft
from analysis.common.errors import UserError

if TYPE_CHECKING:
    from peft import PeftConfig
    from torch import nn

TINYLORA_MOST = 512  # numbers of a matrix: its projections (u, r, r) have 2u² and are saved; more is SVFT block's work

ADAMSS_CLUSTERS = 5  # of the outputs of each matrix: PEFT's default
PER_MILLE = 1000  # FRoD's size is how many of a thousand entries of S are trained; PEFT's default is ten


def tinylora_rank(u: int) -> int:
    """Return r of TinyLoRA (arXiv 2602.04118) for u numbers: the least whose square has 2u entries or more.

    The paper's r = 2 holds four numbers. Beyond, u random squares r×r would span the whole square, which is LoRA-XS:
    r grows, and the u numbers reach half of the square at most.
    """
    return math.isqrt(2 * u - 1) + 1


def _low_rank(alpha: int = 1, **options: Any) -> Callable[[int, int, Sequence[str]], PeftConfig]:
    """Return what makes a LoRA of PEFT's with these options; alpha is in units of r."""

    def config(r: int, seed: int, targets: Sequence[str]) -> PeftConfig:
        from peft import LoraConfig

        return LoraConfig(r=r, lora_alpha=alpha * r, target_modules=list(targets), **options)

    return config


def _vera(r: int, seed: int, targets: Sequence[str]) -> PeftConfig:
    from peft import VeraConfig

    return VeraConfig(r=r, projection_prng_key=seed, target_modules=list(targets))


def _tinylora(u: int, seed: int, targets: Sequence[str]) -> PeftConfig:
    from peft import TinyLoraConfig

    return TinyLoraConfig(r=tinylora_rank(u), u=u, projection_seed=seed, target_modules=list(targets))


def _psoft(r: int, seed: int, targets: Sequence[str]) -> PeftConfig:
    from peft import PsoftConfig

    # alpha cancels: PEFT divides the frozen factor by the scale
    return PsoftConfig(r=r, psoft_alpha=r, target_modules=list(targets))


def _boft(size: int, seed: int, targets: Sequence[str]) -> PeftConfig:
    from peft import BOFTConfig

    prepare_peft()
    return BOFTConfig(boft_block_size=size, boft_n_butterfly_factor=1, target_modules=list(targets))


def _adamss(r: int, seed: int, targets: Sequence[str]) -> PeftConfig:
    from peft import AdamssConfig

    return AdamssConfig(r=r, num_subspaces=ADAMSS_CLUSTERS, subspace_rank=1, target_modules=list(targets))


def _frod(share: int, seed: int, targets: Sequence[str]) -> PeftConfig:
    from peft import FrodConfig

    prepare_peft()
    rate = share / PER_MILLE
    return FrodConfig(sparse_rate=rate, projection_prng_key=seed, progressbar=False, target_modules=list(targets))


# Name in `methods.METHODS` -> (size, seed, full names of the target modules) -> the configuration without the head.
CONFIGS: dict[str, Callable[[int, int, Sequence[str]], PeftConfig]] = {
    "lora": _low_rank(alpha=2),
    "dora": _low_rank(alpha=2, use_dora=True),
    "pissa": _low_rank(init_lora_weights="pissa"),
    "olora": _low_rank(init_lora_weights="olora"),
    "mica": _low_rank(init_lora_weights="mica"),
    "vera": _vera,
    "tinylora": _tinylora,
    "psoft": _psoft,
    "adamss": _adamss,
    "frod": _frod,
    "boft": _boft,
}
CHANGED_STARTS = ("pissa", "olora")  # whose start is taken out of the base
LINEAR_ONLY = ("olora", "psoft", "adamss", "boft")  # PEFT has none for Conv1D
_WITHIN = ("pissa", "olora", "mica", "psoft", "adamss")  # whose r are directions of W


def check(method: str, title: str, base: nn.Module, size: int | None, targets: Sequence[str]) -> None:
    """Raise a UserError if PEFT would fail on these modules in words of its own, or leave them without any.

    Args:
        method: A name in `CONFIGS`; others are checked elsewhere.
        title: Its title.
        base: The model.
        size: The method's size; None for a method of one size.
        targets: Full names of the modules to adapt.
    """
    if method not in CONFIGS or size is None:
        return
    from torch import nn

    from analysis.models.loading import linear_shape

    for name in targets:
        module = base.get_submodule(name)
        n, in_ = min(linear_shape(module)), linear_shape(module)[1]
        if method in LINEAR_ONLY and not isinstance(module, nn.Linear):
            kind = type(module).__name__
            raise UserError(f"{title} adapts nn.Linear alone, and {name} is {kind}: choose LoRA there.")
        if method in _WITHIN and size > n:
            raise UserError(f"{title} needs r of at most {n} for {name}, not {size}.")
        if method == "tinylora" and size > (most := most_numbers(n)):
            raise UserError(f"TinyLoRA needs u of at most {most} for {name}, not {size}: choose SVFT block there.")
        if method == "boft" and in_ % size:
            raise UserError(f"BOFT needs a block size that divides the {in_} inputs of {name}, not {size}.")


def most_numbers(n: int) -> int:
    """Return the largest u of TinyLoRA for a weight of n singular directions: half of M, `TINYLORA_MOST` at most."""
    return max(1, min(TINYLORA_MOST, n * n // 2))


def frod_entries(in_: int, share: int) -> int:
    """Return how many entries of S (in, in) FRoD trains beside its diagonal, with `share` per mille of all of them."""
    return frod_entries_at(in_, share / PER_MILLE)


def frod_entries_at(in_: int, sparse_rate: float) -> int:
    """Return the same from PEFT's option: at least one, at most all beside the diagonal."""
    return min(max(1, int(in_ * in_ * sparse_rate)), in_ * in_ - in_)
