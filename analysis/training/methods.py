"""Methods of fine-tuning, as data: one entry builds the trainable model from a base.

Adding a method is one entry in `METHODS`; a pattern that is registered in `svft.patterns` is a method by that alone.
The trainer, the command line and the app read this registry and nothing else about a method. Light: what builds a
model imports torch and PEFT when it is called.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.common.errors import UserError
from analysis.models.heads import HEADS, PROJECTOR, is_head
from analysis.models.refusals import refusals
from analysis.training import relatives
from svft_bands import LEADING

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel
    from torch import nn
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Options:
    """What one run asks of a method.

    Attributes:
        size: The method's size (off_diag, rank, block size); None for a method of one size, or beside a budget.
        budget: Instead of a size, the exact number of entries of M in the whole adapter.
        custom_indices: For the method custom: the trained entries (i, j) of M, the same ones in every matrix.
        chosen_indices: For the method chosen: module name -> its trained entries (i, j); the others are not adapted.
        seed: Of the pattern, or of the method's own draws.
    """

    size: int | None = None
    budget: int | None = None
    custom_indices: Sequence[tuple[int, int]] | None = None
    chosen_indices: Mapping[str, Sequence[tuple[int, int]]] | None = None
    seed: int = 0


@dataclass(frozen=True)
class Method:
    """One method of fine-tuning.

    Attributes:
        name: The name in specifications, file names and adapters.
        title: The name on screen.
        learning_rate: Of its parameters other than the head, at its smallest size, if neither specification nor
            task names another. Chosen on validation splits (adapters/README.md); None if it trains nothing else.
        size_name: What its size is called (off_diag d, rank r, block size b, numbers u of a matrix, s per mille of
            the entries), None for a method of one size.
        size: The size if a specification names none.
        config: (method's name, options, full names of the target modules) -> the PEFT configuration, without the
            head. None for full fine-tuning, which needs none.
        head_learning_rate: Of the head, if a specification names none.
        exact: Whether it can have any number of parameters: a specification may then name a `budget`.
        leading: (n, k) -> number of leading directions that a `budget` of k entries per matrix leaves to it; None if
            a budget restricts it in no such way.
        from_data: Whether its pattern is chosen from training examples before it is built
            (`analysis.training.choosing`).
        also: Another method of which it is the same up to units, "" for none.
        rate_exponent: How the learning rate falls with the size (`TrainingSpec.at_rate`). With one rate
            for all sizes, either the small ones would hardly learn or the large ones diverge.
    """

    name: str
    title: str
    learning_rate: float | None
    size_name: str | None
    size: int | None
    config: Callable[[str, Options, Sequence[str]], PeftConfig] | None
    head_learning_rate: float = 6e-3
    exact: bool = False
    leading: Callable[[int, int], int] | None = None
    from_data: bool = False
    rate_exponent: float = 0.0
    also: str = ""

    @property
    def takes_budget(self) -> bool:
        """Whether a specification may name a `budget`."""
        return self.exact or self.leading is not None

    def build(
        self, base: PreTrainedModel, options: Options, target_modules: Sequence[str]
    ) -> PreTrainedModel | PeftModel:
        """Return `base` with what this method trains, and only that, requiring gradients.

        Args:
            base: A freshly loaded model; it is changed in place.
            options: Size or budget, indices and seed. A method's other draws come from torch's global generator.
            target_modules: Full names of the modules to adapt.

        Raises:
            UserError: If a matrix cannot have what the specification asks for; the sentence names it.
        """
        from peft import get_peft_model

        if self.config is None:
            base.requires_grad_(True)
            return base
        if base.can_generate() and self.name == "head_only":
            raise UserError("A language model has no new head to train: choose another method than head only.")
        self.check(base, options, target_modules)
        with refusals():
            config = self.config(self.name, options, target_modules)
            if base.main_input_name == "input_ids":
                config.task_type = "CAUSAL_LM" if base.can_generate() else "SEQ_CLS"
            else:  # no task type of PEFT's: SEQ_CLS passes input_ids on
                projector = [PROJECTOR] if hasattr(base, PROJECTOR) else []
                config.modules_to_save = [*HEADS, *projector]  # type: ignore[attr-defined]  # all but their class have it
            return get_peft_model(base, config)

    def check(self, base: nn.Module, options: Options, target_modules: Sequence[str]) -> None:
        """Raise a UserError if PEFT would fail on these modules in words of its own, or leave them without any."""
        relatives.check(self.name, self.title, base, options.size, target_modules)


def count_budget(model: nn.Module) -> int:
    """Return the number of trainable parameters of `model` without its head."""
    return sum(p.numel() for name, p in model.named_parameters() if p.requires_grad and not is_head(name))


def _block(method: str, options: Options, target_modules: Sequence[str]) -> PeftConfig:
    import svft

    return svft.SvftConfig(pattern="block", rank=_size(options), target_modules=list(target_modules))


def _svft(method: str, options: Options, target_modules: Sequence[str]) -> PeftConfig:
    import svft

    return svft.SvftConfig(
        pattern=method,
        off_diag=options.size,
        budget=options.budget,
        target_modules=list(target_modules),
        custom_indices=_custom_indices(options, target_modules),
        seed=options.seed,
    )


def _chosen(method: str, options: Options, target_modules: Sequence[str]) -> PeftConfig:
    import svft

    if options.chosen_indices is None:
        raise ValueError("The method chosen needs chosen_indices, the entries that were chosen from data.")
    indices = {name: list(pairs) for name, pairs in options.chosen_indices.items()}
    return svft.SvftConfig(pattern="custom", custom_indices=indices, target_modules=list(indices))


def _custom_indices(options: Options, target_modules: Sequence[str]) -> dict[str, list] | None:
    """Return the same entries for every matrix, keyed by the ends of the modules' names."""
    if options.custom_indices is None:
        return None
    return {name.rpartition(".")[2]: list(options.custom_indices) for name in target_modules}


def _size(options: Options) -> int:
    assert options.size is not None  # a resolved specification of a method with sizes names one
    return options.size


def _relative(method: str, options: Options, target_modules: Sequence[str]) -> PeftConfig:
    return relatives.CONFIGS[method](_size(options), options.seed, target_modules)


def _head_only(method: str, options: Options, target_modules: Sequence[str]) -> PeftConfig:
    from peft import LoraConfig
    from peft.utils.constants import DUMMY_TARGET_MODULES

    # PEFT's own way to save modules without adapting any.
    return LoraConfig(target_modules=DUMMY_TARGET_MODULES)


def _pattern(name: str, *, sized: bool = True, exact: bool = True) -> Method:
    """Return the method of an SVFT pattern; the flags are those of `svft.patterns.Pattern`."""
    size_name, size = ("off_diag", 2) if sized else (None, None)
    # At d = 0 every pattern trains about n entries per matrix, for which plain's rate was found.
    exponent = 1.0 if sized else 0.0
    return Method(
        name,
        f"SVFT {name}",
        5e-2,
        size_name,
        size,
        _svft,
        exact=sized and exact,
        leading=LEADING.get(name),
        rate_exponent=exponent,
    )


class Methods(MutableMapping[str, Method]):
    """All methods by name, in the order in which they are shown.

    Patterns of SVFT that others register stand after ours. They are looked up in `svft.patterns` at every access, once
    something has imported it: importing it here would make every page wait for torch.
    """

    def __init__(self, methods: Sequence[Method]) -> None:
        self._own = {method.name: method for method in methods}

    def _all(self) -> dict[str, Method]:
        registered = getattr(sys.modules.get("svft.patterns"), "PATTERNS", {})
        further = {
            name: _pattern(name, sized=pattern.sized, exact=pattern.exact)
            for name, pattern in registered.items()
            if name not in self._own
        }
        if not further:
            return self._own
        ours = {name: method for name, method in self._own.items() if name in registered or method.from_data}
        return ours | further | self._own

    def __getitem__(self, name: str) -> Method:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def __setitem__(self, name: str, method: Method) -> None:
        self._own[name] = method

    def __delitem__(self, name: str) -> None:
        del self._own[name]


METHODS = Methods(
    (
        _pattern("plain", sized=False),
        _pattern("banded", exact=False),
        _pattern("random"),
        _pattern("top_k"),
        Method("block", "SVFT block", 5e-2, "r", 20, _block, rate_exponent=1.0, also="LoRA-XS"),
        Method("chosen", "SVFT chosen", 5e-2, "off_diag", 2, _chosen, exact=True, from_data=True, rate_exponent=1.0),
        Method("custom", "My pattern", 5e-2, None, None, _svft, rate_exponent=1.0),
        Method("lora", "LoRA", 3e-3, "r", 8, _relative, rate_exponent=0.5),
        Method("dora", "DoRA", 3e-3, "r", 8, _relative, rate_exponent=0.5),
        Method("pissa", "PiSSA", 1e-3, "r", 8, _relative, rate_exponent=1.0),
        Method("olora", "OLoRA", 1e-3, "r", 8, _relative, rate_exponent=0.5),
        Method("mica", "MiCA", 2e-2, "r", 8, _relative, rate_exponent=0.5),
        Method("vera", "VeRA", 6e-2, "r", 256, _relative),
        Method("tinylora", "TinyLoRA", 2e-3, "u", 64, _relative, rate_exponent=0.25),
        Method("psoft", "PSOFT", 1.2e-1, "r", 8, _relative, rate_exponent=1.0),
        Method("adamss", "AdaMSS", 6e-3, "r", 16, _relative),
        Method("frod", "FRoD", 1.4e-2, "per mille", 10, _relative, rate_exponent=1.0),
        Method("boft", "BOFT", 1e-2, "block size", 8, _relative),
        # A head alone needs a higher rate; at the others' 6e-3 it would be a baseline that is easy to beat.
        Method("head_only", "head only", None, None, None, _head_only, head_learning_rate=6e-2),
        Method("full", "full fine-tuning", 1e-4, None, None, None),
    )
)


def svft_patterns() -> tuple[str, ...]:
    """Return the methods that are SVFT with one pattern or another, in order."""
    return tuple(name for name, method in METHODS.items() if method.config in (_svft, _block, _chosen))
