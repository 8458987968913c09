"""W changes after it was decomposed: what is then saved, added and loaded is of the W that is there."""

from __future__ import annotations

import copy

import pytest
import torch
from peft import PeftModel, get_peft_model
from safetensors.torch import load_file

import svft
from tests.svft.changed import (
    adapt,
    assert_right,
    base_of,
    dense,
    every_change,
    every_pattern,
    layer_of,
    new,
    write_past_autograd,
    x_for,
)
from tests.svft.tiny import assert_comes_back_after_emptying, config_for, make_model, svft_layers, train_by_hand

# -- saving


@every_change
@pytest.mark.parametrize("low_cpu_mem_usage", [False, True])
def test_an_adapter_of_a_changed_weight_brings_its_basis_along(tmp_path, change, low_cpu_mem_usage):
    model = adapt(new())
    change(model)
    with pytest.warns(UserWarning, match=r"weights of 0 have changed .* loads? onto any weights"):
        model.save_pretrained(str(tmp_path))
    base = base_of(model)
    x = x_for(model)
    for onto in (base, new(0), new(2)):
        weight = onto[0].weight.detach().clone()
        loaded = PeftModel.from_pretrained(onto, str(tmp_path), low_cpu_mem_usage=low_cpu_mem_usage)
        assert torch.equal(layer_of(loaded).base_layer.weight, weight)
        torch.testing.assert_close(
            layer_of(loaded).get_delta_weight("default"), layer_of(model).get_delta_weight("default")
        )
        assert_right(loaded)
    loaded = PeftModel.from_pretrained(base_of(model), str(tmp_path))
    torch.testing.assert_close(loaded(x), model(x))
    loaded.save_pretrained(str(tmp_path / "again"))
    again = PeftModel.from_pretrained(base_of(model), str(tmp_path / "again"))
    torch.testing.assert_close(again(x), model(x))


def test_an_unchanged_weight_saves_no_basis(tmp_path):
    model = adapt(new())
    layer_of(model).base_layer.weight.data = layer_of(model).base_layer.weight.data.clone()
    model.save_pretrained(str(tmp_path))
    assert not any("svft_U" in key for key in load_file(tmp_path / "adapter_model.safetensors"))


# -- adding an adapter


@every_change
def test_a_second_adapter_of_a_changed_weight_has_the_basis_of_the_new_weight(tmp_path, change):
    model = adapt(new())
    first = layer_of(model).get_delta_weight("default")
    change(model)
    model.add_adapter("second", svft.SvftConfig(target_modules=["0"], pattern="plain"))
    train_by_hand(model, "second")
    layer = layer_of(model)
    assert torch.equal(layer.get_delta_weight("default"), first)
    U, V = layer.get_basis("second")
    W = (U * layer.svft_sigma["second"]) @ V.T
    torch.testing.assert_close(W, layer.base_layer.weight.detach(), rtol=0, atol=1e-5)
    x = x_for(model)
    for name in ("default", "second"):
        model.set_adapter(name)
        torch.testing.assert_close(model(x).double(), dense(model, x, name), rtol=0, atol=5e-6)
    model.save_pretrained(str(tmp_path))
    base = base_of(model)
    loaded = PeftModel.from_pretrained(base, str(tmp_path / "second"), adapter_name="second")
    torch.testing.assert_close(layer_of(loaded).get_delta_weight("second"), layer.get_delta_weight("second"))


# -- whole checkpoints


@every_pattern
@pytest.mark.parametrize("ran_before", [True, False])
@pytest.mark.parametrize("assign", [False, True])
def test_a_whole_checkpoint_gives_the_model_it_came_from(options, ran_before, assign):
    a, b = adapt(new(1), **options), adapt(new(2), **options)
    x = x_for(a)
    if ran_before:
        b(x)
    result = b.load_state_dict(a.state_dict(), assign=assign)
    assert not result.missing_keys
    assert not result.unexpected_keys
    torch.testing.assert_close(b(x), a(x), rtol=0, atol=1e-6)
    assert_right(b)


@pytest.mark.parametrize("order", ["weight first", "adapter first"])
@pytest.mark.parametrize("ran_between", [True, False])
def test_a_checkpoint_may_come_in_parts(order, ran_between):
    a, b = adapt(new(1)), adapt(new(2))
    x = x_for(a)
    parts = [{key: t for key, t in a.state_dict().items() if ("svft_" in key) == adapter} for adapter in (False, True)]
    for part in parts if order == "weight first" else reversed(parts):
        b.load_state_dict(part, strict=False)
        if ran_between and (order == "weight first" or part is parts[0]):
            b(x)
    torch.testing.assert_close(b(x), a(x), rtol=0, atol=1e-6)


def test_an_adapter_that_came_without_its_weight_is_a_sentence_until_the_weight_comes():
    a, b = adapt(new(1)), adapt(new(2))
    x = x_for(a)
    b.load_state_dict({key: t for key, t in a.state_dict().items() if "svft_" in key}, strict=False)
    with pytest.raises(svft.BasisMismatchError, match="estimated error of ΔW"):
        b(x)
    b.load_state_dict({key: t for key, t in a.state_dict().items() if "svft_" not in key}, strict=False)
    torch.testing.assert_close(b(x), a(x), rtol=0, atol=1e-6)


def test_a_checkpoint_of_a_changed_weight_brings_the_basis_along():
    a, b = adapt(new(1)), adapt(new(2))
    write_past_autograd(a)
    x = x_for(a)
    assert not any(b.load_state_dict(a.state_dict()))
    torch.testing.assert_close(b(x), a(x), rtol=0, atol=1e-6)
    # and the next checkpoint, which needs none, is not mixed up with it
    a, c = adapt(new(3)), copy.deepcopy(b)
    assert not any(c.load_state_dict(a.state_dict()))
    torch.testing.assert_close(c(x), a(x), rtol=0, atol=1e-6)


def test_a_checkpoint_of_two_adapters():
    models = []
    for seed in (1, 2):
        model = adapt(new(seed))
        model.add_adapter("second", svft.SvftConfig(target_modules=["0"], pattern="random", off_diag=1))
        models.append(train_by_hand(model, "second", seed=seed))
    a, b = models
    x = x_for(a)
    b(x)
    b.load_state_dict(a.state_dict())
    for name in ("default", "second"):
        a.set_adapter(name)
        b.set_adapter(name)
        torch.testing.assert_close(b(x), a(x), rtol=0, atol=1e-6)
    assert not any("svft_U" in key for key in b.state_dict())


def test_a_model_that_was_emptied_and_filled_again():
    model = adapt(new(1))
    assert_comes_back_after_emptying(model, x_for(model))


def test_a_whole_model_of_transformers():
    a = train_by_hand(get_peft_model(make_model(seed=1), config_for("random")))
    b = get_peft_model(make_model(seed=2), config_for("random"))
    b.load_state_dict(a.state_dict())
    for layer, other in zip(svft_layers(a).values(), svft_layers(b).values(), strict=True):
        torch.testing.assert_close(layer.get_delta_weight("default"), other.get_delta_weight("default"))
