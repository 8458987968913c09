"""Ways to change a weight after it was decomposed, and a layer that must notice."""

from __future__ import annotations

import copy

import pytest
import torch
from peft import get_peft_model, set_base_model_state_dict
from torch import nn

import svft
from svft.linear import Linear
from tests.svft.tiny import expected_delta, train_by_hand

PATTERNS = {
    "plain": {"pattern": "plain"},
    "banded": {"pattern": "banded", "off_diag": 1},
    "random": {"pattern": "random", "off_diag": 2},
    "custom": {"pattern": "custom", "custom_indices": {"0": [(0, 1), (3, 0), (7, 7)]}},
}
every_pattern = pytest.mark.parametrize("options", PATTERNS.values(), ids=PATTERNS)


def new(seed: int = 0, out: int = 20, in_: int = 12) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(in_, out))


def adapt(base: nn.Module, trained: bool = True, **options):
    model = get_peft_model(base, svft.SvftConfig(target_modules=["0"], **(options or PATTERNS["banded"])))
    return train_by_hand(model) if trained else model


def layer_of(model) -> Linear:
    return model.base_model.model[0]


def base_of(model) -> nn.Module:
    return nn.Sequential(copy.deepcopy(layer_of(model).base_layer))


def x_for(model) -> torch.Tensor:
    return torch.randn(5, layer_of(model).in_features, generator=torch.Generator().manual_seed(3))


def dense(model, x: torch.Tensor, adapter: str = "default") -> torch.Tensor:
    """Return (W + ΔW) x + b in float64, from the W that is there."""
    layer = layer_of(model)
    W = layer.get_matrix().double() + expected_delta(layer, adapter)
    return x.double() @ W.T + layer.base_layer.bias.double()


def assert_right(model, x=None) -> None:
    """Enabled, disabled and merged agree with dense float64, and nothing is left of another W."""
    x = x_for(model) if x is None else x
    torch.testing.assert_close(model(x).double(), dense(model, x), rtol=1e-6, atol=2e-6)
    with model.disable_adapter():
        assert torch.equal(model(x), layer_of(model).base_layer(x))
    merged = copy.deepcopy(model).merge_and_unload()
    torch.testing.assert_close(merged(x).double(), dense(model, x), rtol=1e-6, atol=2e-6)


# -- ways to change a weight


def replace_through_peft(model):
    set_base_model_state_dict(model, new(1).state_dict())


def load_into_the_layer(model):
    layer_of(model).base_layer.load_state_dict(new(1)[0].state_dict())


def load_assigned(model):
    layer_of(model).base_layer.load_state_dict(new(1)[0].state_dict(), assign=True)


def write_in_place(model):
    with torch.no_grad():
        layer_of(model).base_layer.weight[3, 5] += 1


def write_past_autograd(model):
    layer_of(model).base_layer.weight.data[3, 5] += 1


def negate_past_autograd(model):
    layer_of(model).base_layer.weight.data.neg_()


def swap_columns_past_autograd(model):
    W = layer_of(model).base_layer.weight.data
    W.copy_(W[:, [1, 0, *range(2, W.shape[1])]])


def average_past_autograd(model):
    layer_of(model).base_layer.weight.data.lerp_(new(1)[0].weight.data, 1e-3)


def write_in_inference_mode(model):
    with torch.inference_mode():
        layer_of(model).base_layer.weight.data.mul_(2)


def other_data(model):
    layer_of(model).base_layer.weight.data = new(1)[0].weight.data


def other_parameter(model):
    layer_of(model).base_layer.weight = nn.Parameter(new(1)[0].weight.detach(), requires_grad=False)


def from_a_vector(model):
    W = layer_of(model).base_layer.weight
    torch.nn.utils.vector_to_parameters(torch.linspace(-1, 1, W.numel()), [W])


def as_a_view_of_numpy(model):
    layer_of(model).base_layer.weight.detach().numpy()[2, 2] = 3


CHANGES = [
    replace_through_peft, load_into_the_layer, load_assigned, write_in_place, write_past_autograd,
    negate_past_autograd, swap_columns_past_autograd, average_past_autograd, write_in_inference_mode, other_data,
    other_parameter, from_a_vector, as_a_view_of_numpy,
]  # fmt: skip
every_change = pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
