"""W changes after it was decomposed, in every way there is: the layer computes from the W that is there."""

from __future__ import annotations

import copy
import io
import warnings

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from torch import nn

from tests.svft.changed import (
    PATTERNS,
    adapt,
    assert_right,
    dense,
    every_change,
    every_pattern,
    layer_of,
    new,
    x_for,
)


@every_change
@pytest.mark.parametrize("ran_before", [True, False])
def test_a_changed_weight_is_used(change, ran_before):
    model = adapt(new())
    if ran_before:
        model(x_for(model))
    before = layer_of(model).get_delta_weight("default")
    change(model)
    assert_right(model)
    assert torch.equal(layer_of(model).get_delta_weight("default"), before)


@every_change
def test_untrained_a_changed_weight_is_the_changed_base_exactly(change):
    model = adapt(new(), trained=False, pattern="plain")
    model(x_for(model))
    change(model)
    assert torch.equal(model(x_for(model)), layer_of(model).base_layer(x_for(model)))


@pytest.mark.parametrize(
    "options", [PATTERNS[name] for name in ("plain", "banded", "random")]
)  # a few columns are never folded
def test_a_weight_that_is_put_back_is_folded_again(options, folds):
    model = adapt(new(), **options)
    x, weight = x_for(model), layer_of(model).base_layer.weight
    kept = weight.data.clone()
    weight.data.mul_(2)
    assert_right(model)
    assert not folds
    weight.data.copy_(kept)
    assert_right(model)
    assert folds
    folds.clear()
    weight.data = kept  # other memory, equal values
    model(x)
    assert folds


@every_pattern
def test_a_weight_that_asks_for_a_gradient_gets_it_and_learns(options):
    model = adapt(new(), **options)
    layer, x = layer_of(model), x_for(model)
    model(x)
    layer.base_layer.weight.requires_grad_(True)
    optimizer = torch.optim.SGD([layer.base_layer.weight, layer.svft_coefficients["default"]], lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        model(x).square().sum().backward()
        gradient = 2 * dense(model, x).T @ x.double()
        torch.testing.assert_close(layer.base_layer.weight.grad.double(), gradient.detach(), rtol=1e-4, atol=1e-5)
        optimizer.step()
        assert_right(model)
    layer.base_layer.weight.requires_grad_(False)
    assert_right(model)


def test_a_parametrized_weight_is_used():
    class Twice(nn.Module):
        def forward(self, W):
            return 2 * W

    model = adapt(new())
    nn.utils.parametrize.register_parametrization(layer_of(model).base_layer, "weight", Twice())
    x = x_for(model)
    torch.testing.assert_close(model(x).double(), dense(model, x), rtol=0, atol=2e-6)


def test_a_weight_in_functional_call_is_used():
    model = adapt(new())
    other = new(1)[0].weight.detach()
    x = x_for(model)
    out = torch.func.functional_call(model, {"base_model.model.0.base_layer.weight": other}, (x,))
    layer_of(model).base_layer.weight.data.copy_(other)
    torch.testing.assert_close(out.double(), dense(model, x), rtol=0, atol=2e-6)


# -- what is no change


def test_copies_and_round_trips_fold_on(folds):
    model = adapt(new())
    x = x_for(model)
    expected = model(x)
    stream = io.BytesIO()
    torch.save(model, stream)
    stream.seek(0)
    for other in (
        copy.deepcopy(model),
        torch.load(stream, weights_only=False),
        model.to("cpu"),
        model.double().float(),
    ):
        folds.clear()
        torch.testing.assert_close(other(x), expected, rtol=1e-6, atol=1e-6)
        assert folds
    model.share_memory()
    folds.clear()
    model(x)
    assert folds


def test_merging_drifts_a_weight_which_is_then_used_but_saved_as_before(tmp_path):
    model = adapt(new())
    layer_of(model).svft_coefficients["default"].data.mul_(1e5)
    model.merge_adapter()
    model.save_pretrained(str(tmp_path / "merged"))
    model.unmerge_adapter()
    layer_of(model).svft_coefficients["default"].data.mul_(1e-5)
    assert_right(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        model.save_pretrained(str(tmp_path / "unmerged"))
    for name in ("merged", "unmerged"):
        assert not any("svft_U" in key for key in load_file(tmp_path / name / "adapter_model.safetensors"))
    loaded = PeftModel.from_pretrained(new(), str(tmp_path / "unmerged"))
    torch.testing.assert_close(
        layer_of(loaded).get_delta_weight("default"), layer_of(model).get_delta_weight("default")
    )


def test_a_weight_that_changed_while_merged_is_no_drift(tmp_path):
    model = adapt(new())
    model.merge_adapter()
    layer_of(model).base_layer.weight.data.mul_(2)
    model.unmerge_adapter()
    assert_right(model)
    with pytest.warns(UserWarning, match="have changed since they were decomposed"):
        model.save_pretrained(str(tmp_path))
