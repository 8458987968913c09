"""Files that bring the columns of U and V that an adapter uses: no decomposition, and any weights."""

from __future__ import annotations

import pytest
import torch
from peft import PeftConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file, save_file

import svft
from svft.decomposition import decompose
from tests.svft.few_columns import (
    FEW,
    FILE,
    STEM,
    adapt,
    columns_in_memory,
    delta,
    every_few,
    layer_of,
    new,
    relative,
)
from tests.svft.tiny import (
    config_for,
    logits,
    make_inputs,
    make_model,
    train_by_hand,
)


@every_few
@pytest.mark.parametrize("low_cpu_mem_usage", [False, True])
@pytest.mark.parametrize("is_trainable", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_an_adapter_with_its_columns_loads_without_a_decomposition(
    tmp_path, monkeypatch, options, low_cpu_mem_usage, is_trainable, dtype
):
    model = adapt(embed_basis=True, **options)
    model.save_pretrained(str(tmp_path))
    file = load_file(tmp_path / FILE)
    rows, cols = layer_of(model).coefficient_positions("default")
    assert file[f"{STEM}U"].shape == (20, len(set(rows.tolist())))
    assert file[f"{STEM}V"].shape == (24, len(set(cols.tolist())))
    monkeypatch.setattr(svft.SvftLayer, "decomposer", None)
    loaded = PeftModel.from_pretrained(
        new(3, dtype=dtype), str(tmp_path), low_cpu_mem_usage=low_cpu_mem_usage, is_trainable=is_trainable
    )
    rounding = {torch.bfloat16: 1e-2, torch.float16: 2e-3}.get(dtype, 1e-6)
    assert relative(delta(loaded), delta(model)) < rounding
    x = torch.randn(3, 24).to(dtype)
    expected = x.double() @ (layer_of(loaded).get_matrix().double() + delta(model)).T
    assert relative(loaded(x) - layer_of(loaded).base_layer.bias, expected) < max(rounding, 1e-5)
    loaded.save_pretrained(str(tmp_path / "again"))
    again = load_file(tmp_path / "again" / FILE)
    assert again.keys() == file.keys()
    assert torch.equal(again[f"{STEM}fingerprint"], file[f"{STEM}fingerprint"])
    if is_trainable:
        train_by_hand(loaded)
        loaded(x).square().sum().backward()
        assert layer_of(loaded).svft_coefficients["default"].grad.abs().max() > 0


@pytest.mark.parametrize("pattern", ["plain", "banded", "random", "custom"])
@pytest.mark.parametrize("architecture", ["bert", "gpt2"])
def test_transformers_loads_it_without_a_decomposition(tmp_path, monkeypatch, architecture, pattern):
    targets = {"bert": ["query", "value"], "gpt2": ["c_attn", "c_fc"]}[architecture]
    config = config_for(pattern, embed_basis=True, target_modules=targets)
    model = train_by_hand(get_peft_model(make_model(architecture), config))
    model.save_pretrained(str(tmp_path), save_embedding_layers=False)
    expected = logits(model, make_inputs(architecture))
    monkeypatch.setattr(svft.SvftLayer, "decomposer", None)
    loaded = make_model(architecture)
    loaded.load_adapter(str(tmp_path))
    torch.testing.assert_close(logits(loaded, make_inputs(architecture)), expected, rtol=1e-4, atol=1e-4)


def test_top_k_with_its_columns_is_that_of_the_file(tmp_path):
    model = adapt(new(0, 20, 20), pattern="top_k", budget=6, embed_basis=True)
    model.save_pretrained(str(tmp_path))
    for dtype in (torch.float32, torch.bfloat16):
        loaded = PeftModel.from_pretrained(new(3, 20, 20, dtype), str(tmp_path))
        assert relative(delta(loaded), delta(model)) < (1e-2 if dtype == torch.bfloat16 else 1e-6)


@every_few
@pytest.mark.parametrize("low_cpu_mem_usage", [False, True])
def test_a_file_with_all_columns_loads_as_before(tmp_path, options, low_cpu_mem_usage):
    model = adapt(embed_basis=True, **options)
    model.save_pretrained(str(tmp_path))
    actual, rank = decompose(new()[0].weight), layer_of(model).spec["default"].rank
    file = load_file(tmp_path / FILE) | {
        f"{STEM}U": actual.U[:, :rank].contiguous(), f"{STEM}V": actual.V[:, :rank].contiguous()
    }  # fmt: skip
    save_file(file, tmp_path / FILE)
    loaded = PeftModel.from_pretrained(new(3), str(tmp_path), low_cpu_mem_usage=low_cpu_mem_usage)
    assert relative(delta(loaded), delta(model)) < 1e-6
    assert columns_in_memory(layer_of(loaded)) == columns_in_memory(layer_of(model))
    ignoring = PeftModel.from_pretrained(new(3), str(tmp_path), ignore_mismatched_sizes=True)
    assert relative(delta(ignoring), delta(model)) < 1e-6
    whole = adapt(new(4), **options)  # past PEFT
    state = {f"{key}.default": t for key, t in file.items()}
    whole.load_state_dict(state, strict=False)
    assert relative(delta(whole), delta(model)) < 1e-6


def test_a_file_with_another_number_of_columns_gets_a_sentence(tmp_path):
    adapt(embed_basis=True, **FEW["shared"]).save_pretrained(str(tmp_path))
    file = load_file(tmp_path / FILE)
    file[f"{STEM}U"] = file[f"{STEM}U"][:, :2].contiguous()
    save_file(file, tmp_path / FILE)
    with pytest.raises(ValueError, match=r"U of the adapter default on 0 has 2 columns, but .* use 3 of 20"):
        PeftModel.from_pretrained(new(), str(tmp_path))


def test_a_saved_configuration_can_start_another_adapter(tmp_path):
    trained = adapt(embed_basis=True, **FEW["shared"])
    trained.save_pretrained(str(tmp_path))
    config = PeftConfig.from_pretrained(str(tmp_path))
    model = get_peft_model(new(), config)  # nothing comes with it
    x = torch.randn(3, 24)
    assert torch.equal(model(x), layer_of(model).base_layer(x))
    layer_of(model).svft_coefficients["default"].data.copy_(layer_of(trained).svft_coefficients["default"])
    assert relative(delta(model), delta(trained)) < 1e-6
    model.save_pretrained(str(tmp_path / "again"))
    assert relative(delta(PeftModel.from_pretrained(new(3), str(tmp_path / "again"))), delta(trained)) < 1e-6


def test_a_state_without_columns_takes_the_place_of_one_with_them():
    """Its coefficients belong to W's own singular vectors, whatever those were that the adapter brought."""
    bare, other = adapt(**FEW["shared"]), adapt(new(3), seed=5, embed_basis=True, **FEW["shared"])
    model = adapt(embed_basis=True, **FEW["shared"])
    set_peft_model_state_dict(model, get_peft_model_state_dict(other))
    assert relative(delta(model), delta(other)) < 1e-6
    set_peft_model_state_dict(model, get_peft_model_state_dict(bare))
    assert relative(delta(model), delta(bare)) < 1e-6


@pytest.mark.parametrize("embed_basis", [False, True])
@every_few
def test_hotswapping_replaces_no_tensor(tmp_path, options, embed_basis):
    model, other = (adapt(seed=seed, embed_basis=embed_basis, **options) for seed in (1, 2))
    other.save_pretrained(str(tmp_path))
    places = [layer_of(model).svft_coefficients["default"].data_ptr(), layer_of(model).svft_U["default"].data_ptr()]
    svft.hotswap_adapter(model, str(tmp_path), "default")
    assert relative(delta(model), delta(other)) < 1e-6
    assert places == [
        layer_of(model).svft_coefficients["default"].data_ptr(), layer_of(model).svft_U["default"].data_ptr()
    ]  # fmt: skip
