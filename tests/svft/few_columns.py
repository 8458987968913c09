"""Small layers with adapters that use few columns of U and V, and what to compare them with."""

from __future__ import annotations

import pytest
import torch
from peft import PeftModel, get_peft_model
from torch import nn
from transformers.pytorch_utils import Conv1D

import svft
from svft.decomposition import decompose
from tests.svft.tiny import train_by_hand

ONE_EACH = [(0, 3), (5, 1), (2, 6), (7, 0)]  # no row or column twice: M' is diagonal
SHARED = [(4, 3), (0, 3), (0, 1), (2, 1)]
FEW = {
    "one a row and column": {"pattern": "custom", "custom_indices": {"0": ONE_EACH}},
    "shared": {"pattern": "custom", "custom_indices": {"0": SHARED}},
    "random": {"pattern": "random", "budget": 5},
    "plain": {"pattern": "plain", "rank": 4},
    "banded": {"pattern": "banded", "off_diag": 1, "rank": 5},
}
every_few = pytest.mark.parametrize("options", FEW.values(), ids=FEW)
FILE = "adapter_model.safetensors"
STEM = "base_model.model.0.svft_"


def new(seed: int = 0, out: int = 20, in_: int = 24, dtype: torch.dtype = torch.float32, kind=nn.Linear) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layer = kind(out, in_) if kind is Conv1D else kind(in_, out)
        layer.weight.data = torch.randn(layer.weight.shape) / in_**0.5
        return nn.Sequential(layer).to(dtype)


def adapt(base: nn.Module | None = None, seed: int = 0, **options) -> PeftModel:
    base = new() if base is None else base
    return train_by_hand(get_peft_model(base, svft.SvftConfig(target_modules=["0"], **options)), seed=seed)


def layer_of(model: nn.Module) -> svft.SvftLayer:
    return model.base_model.model[0]


def delta(model: nn.Module, name: str = "default") -> torch.Tensor:
    return layer_of(model)._delta(name).double()


def dense_delta(layer: svft.SvftLayer, W: torch.Tensor, name: str = "default") -> torch.Tensor:
    """Return U M Vᵀ in float64, from a decomposition of W that the layer has nothing to do with."""
    actual = decompose(W.float())
    rows, cols = layer.coefficient_positions(name)
    M = torch.zeros(len(actual.sigma), len(actual.sigma), dtype=torch.float64)
    M[rows, cols] = layer.svft_coefficients[name].detach().double()
    return actual.U.double() @ M @ actual.V.double().T


def columns_in_memory(layer: svft.SvftLayer, name: str = "default") -> tuple[int, int]:
    assert layer.svft_shared_U is None
    assert layer.svft_shared_V is None
    return layer.svft_U[name].shape[1], layer.svft_V[name].shape[1]


def relative(actual: torch.Tensor, expected: torch.Tensor) -> float:
    return float((actual.double() - expected.double()).norm() / expected.double().norm())
