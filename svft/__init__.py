"""SVFT (Singular Vectors guided Fine-Tuning, arXiv 2405.19597) as a PEFT tuner.

Importing this package registers the method with PEFT; from then on PEFT's own calls work with `SvftConfig`.
"""

from typing import Any

from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING, PEFT_TYPE_TO_PREFIX_MAPPING, PEFT_TYPE_TO_TUNER_MAPPING

from . import cache
from .basis import BasisMismatchError
from .choosing import ChosenMatrix, ChosenPattern, choose_pattern, rank_gradients
from .config import PEFT_TYPE, SvftConfig
from .contexts import allow_basis_mismatch, decomposition_progress
from .errors import SvftError
from .features.helpers import hotswap_adapter, rescale_adapter_scale
from .gradients import MeanGradient, mean_gradients
from .layer import SvftLayer
from .model import SvftModel

SvftLayer.decomposer = cache
_NAME: Any = PEFT_TYPE  # a method outside PEFT's enum
PEFT_TYPE_TO_CONFIG_MAPPING[_NAME] = SvftConfig
PEFT_TYPE_TO_TUNER_MAPPING[_NAME] = SvftModel
PEFT_TYPE_TO_PREFIX_MAPPING[_NAME] = SvftModel.prefix

__all__ = [
    "BasisMismatchError",
    "ChosenMatrix",
    "ChosenPattern",
    "MeanGradient",
    "SvftConfig",
    "SvftError",
    "SvftLayer",
    "SvftModel",
    "allow_basis_mismatch",
    "choose_pattern",
    "decomposition_progress",
    "hotswap_adapter",
    "mean_gradients",
    "rank_gradients",
    "rescale_adapter_scale",
]
