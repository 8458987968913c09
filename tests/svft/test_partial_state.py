"""State dicts that are averaged, lack tensors, or have other shapes; and what is on the meta device before a load."""

from __future__ import annotations

import warnings
from collections import Counter
from types import SimpleNamespace

import pytest
import torch
from peft import (
    PeftModel,
    get_peft_model,
    get_peft_model_state_dict,
    inject_adapter_in_model,
    set_peft_model_state_dict,
)
from safetensors.torch import save_file
from torch import nn

import svft
from svft import cache
from svft.basis import BasisMismatchError
from svft.state.buffers import as_stored_type
from tests.svft.tiny import config_for, train_by_hand

every_pattern = pytest.mark.parametrize("pattern", ["plain", "banded", "random", "custom"])


def new(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(24, 16))


def adapt(pattern: str = "random", base: nn.Module | None = None, seed: int = 2, **options) -> nn.Module:
    config = config_for(pattern, target_modules=["0"], **options)
    return train_by_hand(get_peft_model(new() if base is None else base, config), seed=seed)


def values(model: nn.Module) -> torch.Tensor:
    return model.base_model.model[0].svft_coefficients["default"].detach()


def delta(model: nn.Module) -> torch.Tensor:
    return model.base_model.model[0].get_delta_weight("default")


# -- averages


def mean_as_floats(states):
    return {key: torch.stack([s[key].float() for s in states]).mean(0) for key in states[0]}


def weighted_in_steps(states):
    """As a server does that knows nothing of types: weights that are not exact, one client after the other."""
    return {key: sum(w * s[key].float() for w, s in zip((0.3, 0.6, 0.1), states, strict=True)) for key in states[0]}


def mean_in_their_types(states):
    return {key: torch.stack([s[key].double() for s in states]).mean(0).to(t.dtype) for key, t in states[0].items()}


def mean_of_what_is_trained(states):
    first = states[0]
    keys = [key for key in first if "coefficients" in key]
    return {key: torch.stack([s[key] for s in states]).mean(0) for key in keys}


@pytest.mark.filterwarnings("ignore:The checkpoint has neither fingerprint nor signature")
@every_pattern
@pytest.mark.parametrize("average", [mean_as_floats, weighted_in_steps, mean_in_their_types, mean_of_what_is_trained])
def test_averaged_adapters_load(tmp_path, pattern, average):
    clients = [adapt(pattern, seed=seed) for seed in (1, 2, 3)]
    weights = torch.tensor([0.3, 0.6, 0.1] if average is weighted_in_steps else [1 / 3] * 3)
    expected = (torch.stack([delta(m) for m in clients]) * weights[:, None, None]).sum(0)
    averaged = average([get_peft_model_state_dict(m) for m in clients])
    server = adapt(pattern)
    result = set_peft_model_state_dict(server, averaged)
    assert not result.unexpected_keys
    torch.testing.assert_close(delta(server), expected, rtol=1e-5, atol=1e-6)
    layer = server.base_model.model[0]
    assert layer.svft_fingerprint["default"].dtype == torch.uint8
    # and through files
    clients[0].save_pretrained(str(tmp_path))
    save_file({key: t.contiguous() for key, t in averaged.items()}, tmp_path / "adapter_model.safetensors")
    for low_cpu_mem_usage in (False, True):
        if low_cpu_mem_usage and average is mean_of_what_is_trained:
            continue  # the rest would stay on the meta device
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            loaded = PeftModel.from_pretrained(new(), str(tmp_path), low_cpu_mem_usage=low_cpu_mem_usage)
        torch.testing.assert_close(delta(loaded), expected, rtol=1e-5, atol=1e-6)


def test_adapters_with_other_entries_cannot_be_averaged():
    clients = [get_peft_model_state_dict(adapt("random", off_diag=2, seed=s, base=new())) for s in (1, 2)]
    other = get_peft_model_state_dict(
        get_peft_model(new(), svft.SvftConfig(target_modules=["0"], pattern="random", off_diag=2, seed=5))
    )
    assert other["base_model.model.0.svft_indices"].shape == clients[0]["base_model.model.0.svft_indices"].shape
    with pytest.raises(ValueError, match="average only adapters with the same entries"):
        set_peft_model_state_dict(adapt("random"), mean_as_floats([clients[0], other]))


def test_adapters_of_other_bases_cannot_be_averaged():
    states = [get_peft_model_state_dict(adapt("banded", base=new(seed))) for seed in (0, 1)]
    with pytest.raises(BasisMismatchError):
        set_peft_model_state_dict(adapt("banded"), mean_as_floats(states))


def test_a_whole_averaged_checkpoint_loads():
    clients = [adapt("random", seed=seed) for seed in (1, 2)]
    server = adapt("random")
    server.load_state_dict(mean_as_floats([m.state_dict() for m in clients]))
    torch.testing.assert_close(delta(server), (delta(clients[0]) + delta(clients[1])) / 2, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_integers_that_a_type_cannot_hold_are_a_sentence(dtype):
    indices = torch.tensor([3, 5000])
    with pytest.raises(ValueError, match="leave this tensor out or in its own type"):
        as_stored_type(indices.to(dtype), torch.int32, "svft_indices")
    assert as_stored_type(torch.tensor([3.0, 4.9999995]), torch.int32, "svft_indices").tolist() == [3, 5]


# -- missing tensors


@pytest.mark.filterwarnings("ignore:The checkpoint has neither fingerprint nor signature")
@every_pattern
@pytest.mark.parametrize(
    "missing", ["coefficients", "sigma", "shape", "fingerprint", "signature", "indices", "fingerprint signature"]
)
def test_missing_tensors_are_reported_and_not_fatal(pattern, missing):
    source, target = adapt(pattern, seed=1), adapt(pattern, seed=2)
    before = values(target).clone()
    state = get_peft_model_state_dict(source)
    left_out = {key for key in state if key.rpartition("svft_")[2] in missing.split()}
    result = set_peft_model_state_dict(target, {key: t for key, t in state.items() if key not in left_out})
    reported = {key for key in result.missing_keys if "svft_" in key}
    assert reported == {f"{key}.default" for key in left_out}
    torch.testing.assert_close(values(target), before if missing == "coefficients" else values(source))


def test_coefficients_without_any_mark_are_taken_with_a_warning():
    state = get_peft_model_state_dict(adapt("plain"))
    with pytest.warns(UserWarning, match="neither fingerprint nor signature of 0"):
        set_peft_model_state_dict(adapt("plain", seed=1), mean_of_what_is_trained([state]))


@pytest.mark.parametrize("left", ["fingerprint", "signature"])
def test_one_mark_is_enough_to_tell_another_base(left):
    state = get_peft_model_state_dict(adapt("banded"))
    gone = {"fingerprint", "signature"} - {left}
    state = {key: t for key, t in state.items() if key.rpartition("svft_")[2] not in gone}
    with pytest.raises(BasisMismatchError):
        set_peft_model_state_dict(adapt("banded", base=new(1)), state)


# -- other shapes


@pytest.mark.filterwarnings("ignore:The adapter's file does not fit")
@every_pattern
@pytest.mark.parametrize("embed_basis", [False, True])
@pytest.mark.parametrize("size", [10, 18], ids=["other n", "n of the second the same"])
def test_ignore_mismatched_sizes_is_honoured(tmp_path, pattern, embed_basis, size):
    def base(size):
        return nn.Sequential(nn.Linear(24, size), nn.Linear(size, 9), new()[0].requires_grad_(False))

    config = config_for(pattern, target_modules=["0", "1", "2"], embed_basis=embed_basis)
    train_by_hand(get_peft_model(base(17), config)).save_pretrained(str(tmp_path))
    with pytest.warns(UserWarning, match="does not fit 0"), pytest.raises(RuntimeError, match="size mismatch"):
        PeftModel.from_pretrained(base(size), str(tmp_path))
    with pytest.warns(UserWarning, match="ignore_mismatched_sizes"):
        loaded = PeftModel.from_pretrained(base(size), str(tmp_path), ignore_mismatched_sizes=True)
    for i, fits in enumerate((False, False, True)):
        layer = loaded.base_model.model[i]
        assert bool(layer.svft_coefficients["default"].any()) is fits
        x = torch.randn(3, layer.in_features)
        assert layer(x).isfinite().all()
        assert torch.equal(layer(x), layer.base_layer(x)) or fits or layer.get_delta_weight("default").abs().max() == 0


# -- memory on load


@every_pattern
@pytest.mark.parametrize("embed_basis", [False, True])
def test_what_a_checkpoint_brings_is_on_the_meta_device_before_it(pattern, embed_basis):
    model = inject_adapter_in_model(
        config_for(pattern, target_modules=["0"], embed_basis=embed_basis), new(), low_cpu_mem_usage=True
    )
    state = {key: t.device.type for key, t in model.state_dict().items() if "svft_" in key}
    assert set(state.values()) == {"meta"}
    with pytest.raises(ValueError, match="has no values yet: load them first"):
        model(torch.randn(2, 24))
    trained = adapt(pattern, embed_basis=embed_basis)
    set_peft_model_state_dict(model, get_peft_model_state_dict(trained), low_cpu_mem_usage=True)
    assert {t.device.type for t in model.state_dict().values()} == {"cpu"}
    torch.testing.assert_close(model(torch.ones(2, 24)), trained(torch.ones(2, 24)))


@every_pattern
@pytest.mark.parametrize("low_cpu_mem_usage", [False, True])
def test_a_load_decomposes_each_weight_once(tmp_path, monkeypatch, pattern, low_cpu_mem_usage):
    adapt(pattern).save_pretrained(str(tmp_path))
    seen = Counter()

    def counted(weight, *args):
        seen["decompose"] += 1
        return cache.decompose(weight, *args)

    monkeypatch.setattr(svft.SvftLayer, "decomposer", SimpleNamespace(decompose=counted, recall=cache.recall))
    loaded = PeftModel.from_pretrained(new(), str(tmp_path), low_cpu_mem_usage=low_cpu_mem_usage)
    loaded(torch.randn(2, 24))
    assert seen["decompose"] == 1
