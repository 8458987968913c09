"""Methods of fine-tuning, as data: one entry builds the trainable model from a base.

Adding a method is one entry in `METHODS`. The trainer, the command line and the app read this registry and nothing
else about a method.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from peft import LoraConfig, PeftConfig, TaskType, VeraConfig, get_peft_model
from peft.utils.constants import DUMMY_TARGET_MODULES
from torch import nn

import svft

HEAD = "classifier"


@dataclass(frozen=True)
class Method:
    """One method of fine-tuning.

    Attributes:
        name: The name in specifications, file names and adapters.
        title: The name on screen.
        learning_rate: Of its parameters other than the head, where a specification names none. Chosen on the
            validation splits (adapters/README.md); None where it trains nothing else.
        size_name: What its size is called (off_diag d, rank r), None for a method of one size.
        size: The size where a specification names none.
        config: (size, target modules, seed) -> the PEFT configuration. None for full fine-tuning, which needs none.
        head_learning_rate: Of the head, where a specification names none.
    """

    name: str
    title: str
    learning_rate: float | None
    size_name: str | None
    size: int | None
    config: Callable[[int | None, Sequence[str], int], PeftConfig] | None
    head_learning_rate: float = 6e-3

    def build(self, base: nn.Module, size: int | None, target_modules: Sequence[str], seed: int) -> nn.Module:
        """Return `base` with what this method trains, and only that, requiring gradients.

        Args:
            base: A freshly loaded model; it is changed in place.
            size: The method's size, see `size_name`.
            target_modules: Full names of the modules to adapt.
            seed: Seed of what the method draws itself; its other draws come from torch's global generator.
        """
        if self.config is None:
            return base.requires_grad_(True)
        return get_peft_model(base, self.config(size, target_modules, seed))


def count_budget(model: nn.Module) -> int:
    """Return the number of trainable parameters of `model` without its head."""
    return sum(p.numel() for name, p in model.named_parameters() if p.requires_grad and not is_head(name))


def is_head(parameter: str) -> bool:
    """Whether a parameter, by its full name, belongs to the head: not in the budget, with its own learning rate."""
    return HEAD in parameter.split(".")


_COMMON = {"task_type": TaskType.SEQ_CLS, "modules_to_save": [HEAD]}


def _svft(pattern: str) -> Callable[[int | None, Sequence[str], int], PeftConfig]:
    def config(size: int | None, target_modules: Sequence[str], seed: int) -> PeftConfig:
        return svft.SvftConfig(
            pattern=pattern, off_diag=size, target_modules=list(target_modules), seed=seed, **_COMMON
        )

    return config


def _lora(use_dora: bool) -> Callable[[int | None, Sequence[str], int], PeftConfig]:
    def config(size: int | None, target_modules: Sequence[str], seed: int) -> PeftConfig:
        return LoraConfig(
            r=size, lora_alpha=2 * size, use_dora=use_dora, target_modules=list(target_modules), **_COMMON
        )

    return config


def _vera(size: int | None, target_modules: Sequence[str], seed: int) -> PeftConfig:
    return VeraConfig(r=size, projection_prng_key=seed, target_modules=list(target_modules), **_COMMON)


def _head_only(size: int | None, target_modules: Sequence[str], seed: int) -> PeftConfig:
    # PEFT's own way to save modules without adapting any.
    return LoraConfig(target_modules=DUMMY_TARGET_MODULES, **_COMMON)


METHODS = {
    method.name: method
    for method in (
        Method("plain", "SVFT plain", 5e-2, None, None, _svft("plain")),
        Method("banded", "SVFT banded", 1e-2, "off_diag", 2, _svft("banded")),
        Method("random", "SVFT random", 1e-2, "off_diag", 2, _svft("random")),
        Method("top_k", "SVFT top_k", 1e-2, "off_diag", 2, _svft("top_k")),
        Method("lora", "LoRA", 1e-3, "r", 8, _lora(use_dora=False)),
        Method("dora", "DoRA", 1e-3, "r", 8, _lora(use_dora=True)),
        Method("vera", "VeRA", 2e-2, "r", 256, _vera),
        # A head alone needs a higher rate; at the others' 6e-3 it would be a baseline that is easy to beat.
        Method("head_only", "head only", None, None, None, _head_only, head_learning_rate=6e-2),
        Method("full", "full fine-tuning", 1e-4, None, None, None),
    )
}
