"""Configuration of an SVFT adapter."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from peft.config import PeftConfig

from .errors import SvftError
from .features.card import tell_how_to_load
from .patterns import PATTERNS


class _PeftTypeName(str):
    """The name of a method outside PEFT's enum, which PEFT and transformers read as if it were one of its members."""

    @property
    def value(self) -> str:
        return str.__str__(self)

    def __str__(self) -> str:
        return f"PeftType.{self.value}"


PEFT_TYPE = _PeftTypeName("SVFT")
BASIS_DTYPES = ("float32", "bfloat16", "float16")
OVERRIDE_KEYS = ("pattern", "off_diag")


def allowed_patterns() -> tuple[str, ...]:
    """Return the names that `SvftConfig.pattern` accepts."""
    return (*PATTERNS, "custom")


@dataclass
class SvftConfig(PeftConfig):
    """Configuration of an SVFT adapter (Lingam et al., NeurIPS 2024, arXiv 2405.19597).

    A frozen weight W = U Σ Vᵀ is adapted as U (Σ + M) Vᵀ, where only the entries of M in the pattern Ω are
    trained.

    Args:
        pattern: Which entries of M are trained: "plain" (the diagonal), "banded", "block" (the leading rank×rank
            square), "random", "top_k", any other registered pattern, or "custom" with `custom_indices`. On a weight
            that is not square, top_k falls back to random, since uᵢᵀvⱼ does not exist there.
        off_diag: Half-width d of the band. It sizes the other patterns too: k = n(2d+1) − d(d+1).
        budget: Trainable parameters of the whole adapter instead of `off_diag`, shared among the matrices in
            proportion to n. Random and top_k meet it exactly, banded takes the nearest d. If a budget is too small
            for all directions, plain, banded and block take the leading ones.
        rank: Restricts M to the leading `rank` singular directions. W stays whole.
        custom_indices: For pattern "custom": module name (or its ending) -> list of (i, j), the trained entries.
        overrides: Exceptions by module: regular expression (matched as in LoRA's `rank_pattern`) -> {"pattern": …,
            "off_diag": …}.
        init_weights: True starts at M = 0, so that the adapted model starts as the base. False is the noisy start of
            the paper's authors: half of Kaiming-normal noise (their gate starts at sigmoid(0) = 0.5), drawn from
            torch's generator.
        seed: Seed of the random pattern.
        embed_basis: Writes the columns of U and V that the entries use into the adapter file. It then loads without a
            decomposition, and onto any weights.
        basis_dtype: Type in which U and V are kept: "float32", "bfloat16", "float16". None is the weight's own.
        target_modules: Names or regular expression of the modules to adapt, or "all-linear". None chooses the linear
            layers inside the blocks, for the families that PEFT knows.
        exclude_modules: Names or regular expression of modules to leave out.
        layers_to_transform: Indices of the layers to adapt.
        layers_pattern: Name of the list of layers, with `layers_to_transform`.
        modules_to_save: Further modules that are trained and saved whole, such as a new head.

    Raises:
        SvftError: On a configuration that contradicts itself or cannot be met.

    Example:
        >>> config = SvftConfig(pattern="banded", off_diag=2)
        >>> (config.pattern, config.off_diag)
        ('banded', 2)
    """

    pattern: str = field(default="plain", metadata={"help": "Which entries of M are trained."})
    off_diag: int | None = field(default=None, metadata={"help": "Half-width d of the band, k = n(2d+1) − d(d+1)."})
    budget: int | None = field(default=None, metadata={"help": "Trainable parameters of the whole adapter."})
    rank: int | None = field(default=None, metadata={"help": "Restricts M to the leading singular directions."})
    custom_indices: dict[str, list[Any]] | None = field(
        default=None, metadata={"help": "Trained entries (i, j) by module, for the pattern custom."}
    )
    overrides: dict[str, dict[str, Any]] | None = field(
        default=None, metadata={"help": "Pattern and size of single modules, by regular expression."}
    )
    init_weights: bool = field(default=True, metadata={"help": "True starts at M = 0, False from noise."})
    seed: int = field(default=0, metadata={"help": "Seed of the random pattern."})
    embed_basis: bool = field(default=False, metadata={"help": "Writes the used columns of U and V into the file."})
    basis_dtype: Literal["float32", "bfloat16", "float16"] | None = field(
        default=None, metadata={"help": "Type in which U and V are kept; None is the weight's own."}
    )
    target_modules: Collection[str] | str | None = field(
        default=None, metadata={"help": "Modules to adapt, a regular expression, or 'all-linear'."}
    )
    exclude_modules: Collection[str] | str | None = field(default=None, metadata={"help": "Modules to leave out."})
    layers_to_transform: list[int] | int | None = field(default=None, metadata={"help": "Layers to adapt."})
    layers_pattern: list[str] | str | None = field(default=None, metadata={"help": "Name of the list of layers."})
    modules_to_save: list[str] | None = field(default=None, metadata={"help": "Modules trained and saved whole."})

    def __post_init__(self) -> None:
        super().__post_init__()  # type: ignore[no-untyped-call]
        self.peft_type = PEFT_TYPE
        # PEFT saves every configuration for inference, and may then load it for training.
        self.was_saved = self.inference_mode
        for name in ("target_modules", "exclude_modules"):
            value = getattr(self, name)
            setattr(self, name, set(value) if isinstance(value, (list, tuple)) else value)
        if isinstance(self.target_modules, str) and self.layers_to_transform is not None:
            raise SvftError("layers_to_transform needs target_modules as a list of names, not a regular expression.")
        if self.layers_pattern and self.layers_to_transform is None:
            raise SvftError("When `layers_pattern` is specified, `layers_to_transform` must also be specified.")
        self._check_size()
        self._check_custom()
        self._check_overrides()
        for name in ("rank", "budget"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise SvftError(f"{name}={value!r} must be a positive integer or None.")
        if not isinstance(self.seed, int) or self.seed < 0:
            raise SvftError(f"seed={self.seed!r} must be an integer of at least 0.")
        if not isinstance(self.init_weights, bool):
            raise SvftError(f"init_weights={self.init_weights!r} must be True (M = 0) or False (noise).")
        if self.basis_dtype is not None and self.basis_dtype not in BASIS_DTYPES:
            raise SvftError(f"basis_dtype={self.basis_dtype!r} must be None or one of {', '.join(BASIS_DTYPES)}.")

    def save_pretrained(self, save_directory: str, **kwargs: Any) -> None:
        """Save the configuration; beside an adapter's weights, write into the README how the adapter is loaded."""
        super().save_pretrained(save_directory, **kwargs)
        directory = Path(save_directory)
        if any(directory.glob("adapter_model.*")):
            tell_how_to_load(directory)

    def _check_size(self) -> None:
        _check_pattern(self.pattern)
        if self.off_diag is not None and self.budget is not None:
            raise SvftError("off_diag and budget both size the pattern: give one of them.")
        if self.pattern == "custom":
            if self.off_diag is not None or self.budget is not None:
                raise SvftError(
                    "The custom pattern has the size of its custom_indices: leave off_diag and budget out."
                )
        elif self.budget is None:
            _check_off_diag(self.pattern, self.off_diag, "off_diag or budget")
        elif not PATTERNS[self.pattern].sized and PATTERNS[self.pattern].leading is None:
            raise SvftError(f"The {self.pattern} pattern has one size only: leave budget out.")

    def _check_custom(self) -> None:
        if (self.pattern == "custom") != bool(self.custom_indices):
            raise SvftError("custom_indices belongs to the pattern custom, and only to it.")
        for module, pairs in (self.custom_indices or {}).items():
            if not isinstance(pairs, (list, tuple)) or not pairs or not all(map(_is_pair, pairs)):
                raise SvftError(
                    f"custom_indices[{module!r}] must be a list of pairs (i, j) of integers of at least 0."
                )
            if len(set(map(tuple, pairs))) < len(pairs):
                raise SvftError(f"custom_indices[{module!r}] names an entry twice.")

    def _check_overrides(self) -> None:
        if self.overrides and (self.budget is not None or self.pattern == "custom"):
            raise SvftError(
                "overrides size single matrices: they go with off_diag, not with budget or custom_indices."
            )
        for module, override in (self.overrides or {}).items():
            if not isinstance(override, dict) or not override or set(override) - set(OVERRIDE_KEYS):
                raise SvftError(f"overrides[{module!r}] must be a dict with the keys {' and '.join(OVERRIDE_KEYS)}.")
            pattern, off_diag = self.resolve(override)
            if pattern == "custom":
                raise SvftError(f"overrides[{module!r}] cannot be custom: use the pattern custom with custom_indices.")
            _check_pattern(pattern)
            _check_off_diag(pattern, off_diag, f"off_diag in overrides[{module!r}]")

    def resolve(self, override: dict[str, Any] | None) -> tuple[str, int | None]:
        """Return (pattern, off_diag) of a matrix with `override`, an entry of `overrides` or None."""
        override = override or {}
        pattern = override.get("pattern", self.pattern)
        off_diag = override.get("off_diag", self.off_diag)
        if "off_diag" not in override and pattern in PATTERNS and not PATTERNS[pattern].sized:
            off_diag = None  # a plain exception within a sized adapter
        return pattern, off_diag


def _is_pair(pair: object) -> bool:
    return (
        isinstance(pair, (list, tuple))
        and len(pair) == 2
        and all(isinstance(index, int) and index >= 0 for index in pair)
    )


def _check_pattern(pattern: str) -> None:
    if pattern not in allowed_patterns():
        raise SvftError(f"pattern={pattern!r} is unknown; allowed are {', '.join(allowed_patterns())}.")


def _check_off_diag(pattern: str, off_diag: int | None, wanted: str) -> None:
    sized = PATTERNS[pattern].sized
    if sized and off_diag is None:
        raise SvftError(f"The {pattern} pattern needs a size: give {wanted}.")
    if off_diag is not None and (not isinstance(off_diag, int) or off_diag < 0):
        raise SvftError(f"off_diag={off_diag!r} must be an integer of at least 0.")
    if not sized and off_diag:
        raise SvftError(
            f"The {pattern} pattern has one size only: leave off_diag out, or choose "
            f"{', '.join(p.name for p in PATTERNS.values() if p.sized)}."
        )
