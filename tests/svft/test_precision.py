"""Types: of the base an adapter is loaded onto, of casts of the model, of what is kept."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn

import svft
from svft import cache, decomposition
from svft.basis import BasisMismatchError, fingerprint, same_weight
from tests.svft.tiny import config_for, make_model, svft_layers, train_by_hand

every_pattern = pytest.mark.parametrize("pattern", ["plain", "banded", "random", "custom"])
FLOATS = [torch.bfloat16, torch.float16, torch.float32, torch.float64]


@pytest.fixture
def elsewhere(monkeypatch):
    """What follows happens on a machine that has decomposed nothing yet."""

    def move():
        cold = SimpleNamespace(decompose=cache.decompose, recall=decomposition.recall)
        monkeypatch.setattr(svft.SvftLayer, "decomposer", cold)

    return move


def new(dtype: torch.dtype = torch.float32) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(24, 16)).to(dtype)


def adapt(base: nn.Module, pattern: str = "banded", **options) -> nn.Module:
    return train_by_hand(get_peft_model(base, config_for(pattern, target_modules=["0"], **options)))


def layer_of(model: nn.Module):
    return model.base_model.model[0]


def delta(model: nn.Module) -> torch.Tensor:
    return layer_of(model)._delta("default").double()


def error(model: nn.Module, true: torch.Tensor) -> float:
    return float((delta(model) - true).norm() / true.norm())


# -- a base in another type


@every_pattern
@pytest.mark.parametrize("trained", FLOATS)
@pytest.mark.parametrize("served", FLOATS)
def test_an_adapter_loads_onto_its_base_in_every_type_where_the_original_was_decomposed(
    tmp_path, pattern, trained, served
):
    original = make_model()
    model = train_by_hand(get_peft_model(make_model(dtype=trained), config_for(pattern)))
    model.save_pretrained(str(tmp_path), save_embedding_layers=False)
    loaded = PeftModel.from_pretrained(original.to(served), str(tmp_path))
    for layer, other in zip(svft_layers(model).values(), svft_layers(loaded).values(), strict=True):
        true, actual = layer._delta("default").double(), other._delta("default").double()
        # U and V are kept in the type of the base
        rounding = {torch.bfloat16: 1e-2, torch.float16: 6e-3}
        assert (actual - true).norm() / true.norm() < max(rounding.get(t, 1e-5) for t in (trained, served))


@pytest.mark.parametrize("served", [torch.float32, torch.float64])
def test_an_adapter_trained_on_a_rounded_base_has_its_exact_basis_on_the_original(tmp_path, elsewhere, served):
    trained = torch.bfloat16
    model = adapt(new(trained), basis_dtype="float32")
    model.save_pretrained(str(tmp_path))
    elsewhere()
    loaded = PeftModel.from_pretrained(new().to(served), str(tmp_path))
    assert error(loaded, delta(model)) < 1e-5
    # It goes on being the adapter of the rounded base.
    loaded.save_pretrained(str(tmp_path / "again"))
    mark = layer_of(loaded).svft_fingerprint["default"]
    assert same_weight(mark, fingerprint(new(trained)[0].weight))
    assert not any("svft_U" in key for key in loaded.state_dict())
    again = PeftModel.from_pretrained(new(trained), str(tmp_path / "again"))
    assert error(again, delta(model)) < 1e-2


def test_a_wider_copy_is_the_same_weight():
    W = torch.randn(6, 4)
    assert same_weight(fingerprint(W), fingerprint(W.double()))
    finer = W.double()
    finer[0, 0] += 1e-12
    assert not same_weight(fingerprint(W), fingerprint(finer))


@every_pattern
def test_float64_is_accepted_anywhere(tmp_path, elsewhere, pattern):
    config = config_for(pattern)
    model = train_by_hand(get_peft_model(make_model(), config))
    model.save_pretrained(str(tmp_path), save_embedding_layers=False)
    elsewhere()
    PeftModel.from_pretrained(make_model().double(), str(tmp_path))


def test_an_estimated_error_below_the_tolerance_is_accepted_in_any_type(tmp_path, elsewhere):
    base = nn.Sequential(nn.Linear(8, 8))
    P, Q = (torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(s))).Q for s in (0, 1))
    base[0].weight.data = (P * 2.0 ** torch.arange(3, -5, -1)) @ Q.T
    model = adapt(copy.deepcopy(base))
    model.save_pretrained(str(tmp_path))
    elsewhere()
    loaded = PeftModel.from_pretrained(copy.deepcopy(base).half(), str(tmp_path))
    assert 0 < error(loaded, delta(model)) < 5e-3


def test_another_precision_without_the_original_is_refused_with_the_estimated_error(tmp_path, elsewhere):
    model = train_by_hand(get_peft_model(make_model(), config_for("banded")))
    model.save_pretrained(str(tmp_path), save_embedding_layers=False)
    elsewhere()
    with pytest.raises(BasisMismatchError, match=r"on float32 weights and these are bfloat16; estimated error"):
        PeftModel.from_pretrained(make_model(dtype=torch.bfloat16), str(tmp_path))


def test_the_basis_of_another_base_is_not_taken_from_the_cache(tmp_path):
    adapt(new()).save_pretrained(str(tmp_path))
    other = new()
    other[0].weight.data.add_(0.1)
    with pytest.raises(BasisMismatchError):
        PeftModel.from_pretrained(other, str(tmp_path))


# -- casts of a model


@pytest.mark.parametrize("through", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("exact_in_it", [True, False])
def test_a_model_that_went_through_half_precision_is_the_base_exactly_if_untrained(through, exact_in_it):
    base = new(through).float() if exact_in_it else new()
    model = get_peft_model(base, svft.SvftConfig(target_modules=["0"])).to(through).float()
    x = torch.randn(5, 24)
    assert torch.equal(model(x), layer_of(model).base_layer(x))
    # A further adapter has a whole basis again.
    model.add_adapter("second", svft.SvftConfig(target_modules=["0"]))
    layer = layer_of(model)
    assert layer.svft_shared_U.dtype == torch.float32
    W = (layer.svft_shared_U * layer.svft_sigma["second"]) @ layer.svft_shared_V.T
    torch.testing.assert_close(W, layer.base_layer.weight.detach(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("through", [torch.bfloat16, torch.float16, torch.float64])
def test_marks_keep_their_types_through_casts_and_loads(tmp_path, through):
    model = adapt(new(), "random")
    marks = {key: t.clone() for key, t in model.state_dict().items() if "svft_" in key and "coeff" not in key}
    model.to(through)
    for key, mark in marks.items():
        assert torch.equal(model.state_dict()[key], mark), key
    assert layer_of(model).svft_signature["default"].dtype == torch.float16
    adapt(new(), "random").save_pretrained(str(tmp_path))
    for low_cpu_mem_usage in (False, True):
        loaded = PeftModel.from_pretrained(new(), str(tmp_path), low_cpu_mem_usage=low_cpu_mem_usage)
        for key, mark in marks.items():
            assert loaded.state_dict()[key].dtype == mark.dtype
    loaded.load_state_dict({key: t.float() for key, t in model.state_dict().items()}, assign=True)
    for key, mark in marks.items():
        assert loaded.state_dict()[key].dtype == mark.dtype


# -- the type of M


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("autocast", [True, False])
def test_autocast_adapter_dtype_means_what_it_means_for_lora(tmp_path, dtype, autocast):
    def types(config):
        model = get_peft_model(new(dtype), config, autocast_adapter_dtype=autocast)
        model.save_pretrained(str(tmp_path))
        loaded = PeftModel.from_pretrained(new(dtype), str(tmp_path), autocast_adapter_dtype=autocast)
        loaded(torch.randn(2, 24, dtype=dtype)).sum()
        return {p.dtype for m in (model, loaded) for name, p in m.named_parameters() if "default" in name}

    lora = types(LoraConfig(target_modules=["0"]))
    # M is float32 on a float64 base too, unless the type of the base is asked for.
    assert types(svft.SvftConfig(target_modules=["0"])) == ({torch.float32} if autocast else lora)
