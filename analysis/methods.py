"""Methods of fine-tuning, as data: one entry builds the trainable model from a base.

Adding a method is one entry in `METHODS`. The trainer, the command line and the app read this registry and nothing
else about a method. Light: what builds a model imports torch and PEFT when it is called.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from peft import PeftConfig
    from torch import nn

    from analysis.specification import TrainingSpec

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
        config: (resolved specification, full names of the target modules) -> the PEFT configuration. None for full
            fine-tuning, which needs none.
        head_learning_rate: Of the head, where a specification names none.
        exact: Whether it can have any number of parameters: a specification may then name a `budget`.
    """

    name: str
    title: str
    learning_rate: float | None
    size_name: str | None
    size: int | None
    config: Callable[[TrainingSpec, Sequence[str]], PeftConfig] | None
    head_learning_rate: float = 6e-3
    exact: bool = False

    def build(self, base: nn.Module, spec: TrainingSpec, target_modules: Sequence[str]) -> nn.Module:
        """Return `base` with what this method trains, and only that, requiring gradients.

        Args:
            base: A freshly loaded model; it is changed in place.
            spec: Resolved; its size, budget, indices and seed are used. A method's other draws come from torch's
                global generator.
            target_modules: Full names of the modules to adapt.
        """
        from peft import get_peft_model

        if self.config is None:
            return base.requires_grad_(True)
        return get_peft_model(base, self.config(spec, target_modules))


def count_budget(model: nn.Module) -> int:
    """Return the number of trainable parameters of `model` without its head."""
    return sum(p.numel() for name, p in model.named_parameters() if p.requires_grad and not is_head(name))


def is_head(parameter: str) -> bool:
    """Whether a parameter, by its full name, belongs to the head: not in the budget, with its own learning rate."""
    return HEAD in parameter.split(".")


_COMMON = {"task_type": "SEQ_CLS", "modules_to_save": [HEAD]}


def _svft(spec: TrainingSpec, target_modules: Sequence[str]) -> PeftConfig:
    import svft

    return svft.SvftConfig(
        pattern=spec.method,
        off_diag=spec.size,
        budget=spec.budget,
        target_modules=list(target_modules),
        seed=spec.seed,
        **_COMMON,
    )


def _lora(spec: TrainingSpec, target_modules: Sequence[str]) -> PeftConfig:
    from peft import LoraConfig

    return LoraConfig(
        r=spec.size,
        lora_alpha=2 * spec.size,
        use_dora=spec.method == "dora",
        target_modules=list(target_modules),
        **_COMMON,
    )


def _vera(spec: TrainingSpec, target_modules: Sequence[str]) -> PeftConfig:
    from peft import VeraConfig

    return VeraConfig(r=spec.size, projection_prng_key=spec.seed, target_modules=list(target_modules), **_COMMON)


def _head_only(spec: TrainingSpec, target_modules: Sequence[str]) -> PeftConfig:
    from peft import LoraConfig
    from peft.utils.constants import DUMMY_TARGET_MODULES

    # PEFT's own way to save modules without adapting any.
    return LoraConfig(target_modules=DUMMY_TARGET_MODULES, **_COMMON)


METHODS = {
    method.name: method
    for method in (
        Method("plain", "SVFT plain", 5e-2, None, None, _svft),
        Method("banded", "SVFT banded", 1e-2, "off_diag", 2, _svft),
        Method("random", "SVFT random", 1e-2, "off_diag", 2, _svft, exact=True),
        Method("top_k", "SVFT top_k", 1e-2, "off_diag", 2, _svft, exact=True),
        Method("lora", "LoRA", 1e-3, "r", 8, _lora),
        Method("dora", "DoRA", 1e-3, "r", 8, _lora),
        Method("vera", "VeRA", 2e-2, "r", 256, _vera),
        # A head alone needs a higher rate; at the others' 6e-3 it would be a baseline that is easy to beat.
        Method("head_only", "head only", None, None, None, _head_only, head_learning_rate=6e-2),
        Method("full", "full fine-tuning", 1e-4, None, None, None),
    )
}
