"""PEFT's own calls, on every architecture."""

from __future__ import annotations

import copy
import json
import warnings

import pytest
import torch
from peft import AutoPeftModelForSequenceClassification, PeftModel, get_peft_model
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from transformers.pytorch_utils import Conv1D

from tests.svft.tiny import (
    ARCHITECTURES,
    config_for,
    expected_delta,
    logits,
    make_inputs,
    make_model,
    svft_layers,
    train_by_hand,
)

every_architecture = pytest.mark.parametrize("architecture", ARCHITECTURES)


def adapted(architecture: str, pattern: str = "banded", **options) -> PeftModel:
    return train_by_hand(get_peft_model(make_model(architecture), config_for(pattern, **options)))


def close(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.allclose(a, b, rtol=1e-4, atol=1e-4)


def save(model: PeftModel, directory) -> str:
    model.save_pretrained(str(directory), save_embedding_layers=False)
    return str(directory)


# -- one adapter


@every_architecture
def test_the_load_adapter_of_transformers(tmp_path, architecture):
    inputs, model = make_inputs(architecture), adapted(architecture, "random")
    directory = save(model, tmp_path)
    loaded = make_model(architecture)
    loaded.load_adapter(directory)
    assert close(logits(loaded, inputs), logits(model, inputs))
    loaded.disable_adapters()
    assert torch.equal(logits(loaded, inputs), logits(make_model(architecture), inputs))


@every_architecture
def test_the_add_adapter_of_transformers(tmp_path, architecture):
    model, inputs = make_model(architecture), make_inputs(architecture)
    model.add_adapter(config_for("banded"), "mine")
    train_by_hand(model, "mine")
    expected = logits(model, inputs)
    model.save_pretrained(str(tmp_path))  # the adapter only
    loaded = PeftModel.from_pretrained(make_model(architecture), str(tmp_path))
    assert close(logits(loaded, inputs), expected)


@every_architecture
def test_the_delta_weight_is_dense_algebra_in_the_layout_of_the_weight(architecture):
    for layer in svft_layers(adapted(architecture)).values():
        weight = layer.get_base_layer().weight
        delta = layer.get_delta_weight("default")
        assert delta.shape == weight.shape
        assert delta.dtype == weight.dtype
        delta = delta.T if isinstance(layer.get_base_layer(), Conv1D) else delta
        torch.testing.assert_close(delta.double(), expected_delta(layer), rtol=0, atol=1e-5)


def test_a_safe_merge_refuses_a_broken_adapter():
    model = adapted("bert")
    layer = next(iter(svft_layers(model).values()))
    layer.svft_coefficients["default"].data[3] = float("nan")
    weight = layer.base_layer.weight.clone()
    with pytest.raises(ValueError, match="The adapter default seems to be broken"):
        model.merge_and_unload(safe_merge=True)
    assert torch.equal(layer.base_layer.weight, weight)


# -- several adapters


@every_architecture
def test_active_adapters_add_up(architecture):
    inputs, model = make_inputs(architecture), adapted(architecture, "plain")
    model.add_adapter("second", config_for("random"))
    train_by_hand(model, "second")
    expected = {
        name: layer.get_delta_weight("default") + layer.get_delta_weight("second")
        for name, layer in svft_layers(model).items()
    }
    model.base_model.set_adapter(["default", "second"])
    both = logits(model, inputs)
    reference = make_model(architecture)
    for name, delta in expected.items():
        reference.get_submodule(name.removeprefix("base_model.model.")).weight.data += delta
    assert close(logits(reference, inputs), both)
    model.merge_adapter()
    assert close(logits(model, inputs), both)
    model.unmerge_adapter()
    assert close(logits(model.merge_and_unload(adapter_names=["second", "default"]), inputs), both)


def test_adapters_may_adapt_different_modules():
    inputs, model = make_inputs(), adapted("bert", "plain", target_modules=["query"])
    first = logits(model, inputs)
    model.add_adapter("second", config_for("plain", target_modules=["value"]))
    train_by_hand(model, "second")
    assert close(logits(model, inputs), first)
    model.base_model.set_adapter(["default", "second"])
    assert not close(logits(model, inputs), first)


def test_loading_a_second_adapter_leaves_a_frozen_one_frozen(tmp_path):
    directory = save(adapted("bert"), tmp_path)
    model = PeftModel.from_pretrained(make_model(), directory)
    model.load_adapter(directory, "second")
    assert not any(p.requires_grad for p in model.parameters())
    model.load_adapter(directory, "third", is_trainable=True)
    model.set_adapter("third")
    trainable = [name for name, p in model.named_parameters() if p.requires_grad]
    assert trainable
    assert all(name.endswith(".third") for name in trainable)


def test_every_adapter_is_saved_by_itself(tmp_path):
    model = adapted("bert", "plain")
    model.add_adapter("second", config_for("random", embed_basis=True))
    train_by_hand(model, "second")
    save(model, tmp_path)
    first = load_file(tmp_path / "adapter_model.safetensors")
    second = load_file(tmp_path / "second" / "adapter_model.safetensors")
    stem = "base_model.model.bert.encoder.layer.0.attention.self.query.svft_"
    always = {"coefficients", "sigma", "shape", "fingerprint", "signature"}
    assert {key.removeprefix(stem) for key in first if key.startswith(stem)} == always
    assert {key.removeprefix(stem) for key in second if key.startswith(stem)} == always | {"indices", "U", "V"}


# -- which modules


def test_modules_to_save_are_trained_saved_and_loaded(tmp_path):
    inputs = make_inputs()
    model = adapted("bert", "plain", modules_to_save=["classifier", "pooler"])
    assert any("classifier" in name for name, p in model.named_parameters() if p.requires_grad)
    model.base_model.model.classifier.modules_to_save["default"].weight.data.mul_(2)
    model.base_model.model.bert.pooler.modules_to_save["default"].dense.weight.data.mul_(0.5)
    directory = save(model, tmp_path)
    assert "base_model.model.classifier.weight" in load_file(tmp_path / "adapter_model.safetensors")
    assert close(logits(PeftModel.from_pretrained(make_model(), directory), inputs), logits(model, inputs))
    through_transformers = make_model()
    through_transformers.load_adapter(directory)
    assert close(logits(through_transformers, inputs), logits(model, inputs))
    with model.disable_adapter():
        assert torch.equal(logits(model, inputs), logits(make_model(), inputs))


@every_architecture
def test_all_linear_takes_every_linear_layer_but_the_head(architecture):
    model = make_model(architecture)
    linear = {name for name, module in model.named_modules() if isinstance(module, (nn.Linear, Conv1D))}
    adapted_names = get_peft_model(model, config_for("plain", target_modules="all-linear")).base_model
    assert set(adapted_names.targeted_module_names) in (linear - {"lm_head"}, linear - {"classifier"}, linear)


def test_all_linear_leaves_a_tied_head_out():
    model = make_model("llama")
    model.lm_head.weight = model.get_input_embeddings().weight
    model.config.tie_word_embeddings = True
    adapted_names = get_peft_model(model, config_for("plain", target_modules="all-linear")).base_model
    assert adapted_names.targeted_module_names
    assert not [name for name in adapted_names.targeted_module_names if "lm_head" in name]


def test_layers_to_transform_with_names_and_with_the_default_targets(tmp_path):
    for options in ({"target_modules": ["query", "dense"]}, {}):
        model = adapted("bert", "plain", layers_to_transform=[1], **options)
        names = list(svft_layers(model))
        assert len(names) == (4 if options else 6)
        assert all(".layer.1." in name for name in names)
        loaded = PeftModel.from_pretrained(make_model(), save(model, tmp_path))
        assert list(svft_layers(loaded)) == names


def test_exclude_modules():
    names = svft_layers(adapted("bert", "plain", exclude_modules=r".*layer\.0\..*"))
    assert len(names) == 6
    assert not any(".layer.0." in name for name in names)


def test_overrides_change_pattern_and_size_of_single_modules(tmp_path):
    overrides = {r"layer\.0\..*query": {"pattern": "plain"}, "key": {"off_diag": 1}, "value": {"pattern": "random"}}
    model = adapted("bert", "banded", overrides=overrides)
    got = {name: layer.spec["default"] for name, layer in svft_layers(model).items()}
    stem = "base_model.model.bert.encoder.layer."
    assert (got[f"{stem}0.attention.self.query"].pattern, got[f"{stem}1.attention.self.query"].off_diag) == (
        "plain",
        2,
    )
    assert got[f"{stem}0.attention.self.key"].off_diag == 1
    assert got[f"{stem}1.attention.self.value"].pattern == "random"
    loaded = PeftModel.from_pretrained(make_model(), save(model, tmp_path))
    assert close(logits(loaded, make_inputs()), logits(model, make_inputs()))


def test_an_override_that_matches_nothing_is_refused():
    with pytest.raises(ValueError, match="overrides name modules that are not adapted: qeury"):
        adapted("bert", "banded", overrides={"qeury": {"off_diag": 1}})


# -- types


@pytest.mark.parametrize("low_cpu_mem_usage", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_coefficients_are_float32_whatever_the_base_and_the_way_of_loading(tmp_path, dtype, low_cpu_mem_usage):
    model = train_by_hand(get_peft_model(make_model(dtype=dtype), config_for("random")))
    loaded = PeftModel.from_pretrained(
        make_model(dtype=dtype), save(model, tmp_path), low_cpu_mem_usage=low_cpu_mem_usage
    )
    for layer in svft_layers(loaded).values():
        assert layer.svft_coefficients["default"].dtype == torch.float32
        assert layer.svft_sigma["default"].dtype == torch.float32
        assert layer.svft_shared_U.dtype == layer.svft_shared_V.dtype == dtype
    assert logits(loaded, make_inputs()).dtype == dtype


def test_an_adapter_moves_as_a_whole():
    model = adapted("bert", "random", embed_basis=True)
    layer = next(iter(svft_layers(model).values()))
    layer._move_adapter_to_device_of_base_layer("default", torch.device("meta"))
    held = {
        name: getattr(layer, f"svft_{name}")["default"].device.type for name in ("coefficients", "indices", "U", "V")
    }
    assert set(held.values()) == {"meta"}


# -- 4.1 and 4.8 the file


@pytest.mark.filterwarnings("ignore:The weights of .* have changed")
def test_the_file_is_safetensors_with_m_and_sigma_in_documented_types(tmp_path):
    model = adapted("bert", "top_k")
    model.to(torch.bfloat16)  # the file's types do not depend on it
    save(model, tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["peft_type"] == "SVFT"
    stem = "base_model.model.bert.encoder.layer.0.output.dense.svft_"
    with safe_open(tmp_path / "adapter_model.safetensors", framework="pt") as file:
        got = {key.removeprefix(stem): file.get_tensor(key) for key in file.keys() if key.startswith(stem)}  # noqa: SIM118
    k = 16 * 5 - 6
    expected = {
        "coefficients": (torch.float32, (k,)), "indices": (torch.int32, (k,)), "sigma": (torch.float32, (16,)),
        "shape": (torch.int32, (2,)), "fingerprint": (torch.uint8, (33,)), "signature": (torch.float16, (2, 16, 2)),
        # The weight is not what was decomposed any more
        "U": (torch.bfloat16, (16, 16)), "V": (torch.bfloat16, (40, 16)),
    }  # fmt: skip
    assert {key: (t.dtype, tuple(t.shape)) for key, t in got.items()} == expected
    assert got["shape"].tolist() == [16, 40]


def test_sigma_in_the_file_is_the_spectrum_of_the_weight(tmp_path):
    save(adapted("gpt2", "plain", rank=3), tmp_path)
    base = make_model("gpt2")
    for key, stored in load_file(tmp_path / "adapter_model.safetensors").items():
        if key.endswith("svft_sigma"):
            weight = base.get_submodule(key.removeprefix("base_model.model.").removesuffix(".svft_sigma")).weight
            torch.testing.assert_close(stored, torch.linalg.svdvals(weight.double()).float())


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda key, t: t * float("inf") if key == "coefficients" else t, "NaN or infinite entries"),
        (lambda key, t: t + 300 if key == "indices" else t, "indices reach outside M"),
    ],
)  # fmt: skip
def test_a_damaged_file_gets_a_sentence(tmp_path, damage, sentence):
    save(adapted("bert", "random"), tmp_path)
    path = tmp_path / "adapter_model.safetensors"
    tensors = {key: damage(key.rpartition("svft_")[2], t) for key, t in load_file(path).items()}
    save_file({key: t for key, t in tensors.items() if t is not None}, path)
    with pytest.raises(ValueError, match=rf"file does not fit bert\.encoder\.layer\.0\..*{sentence}"):
        PeftModel.from_pretrained(make_model(), str(tmp_path))


# -- the rest of PEFT and torch


def test_status_printing_and_copying():
    model = adapted("bert")
    status = model.get_model_status()
    assert status.peft_types == {"default": "SVFT"}
    assert status.adapter_model_type == "SvftModel"
    assert "banded, k=" in repr(model)
    assert torch.equal(logits(copy.deepcopy(model), make_inputs()), logits(model, make_inputs()))


def test_auto_peft_model_finds_the_base(tmp_path):
    make_model().save_pretrained(str(tmp_path / "base"))
    base = type(make_model()).from_pretrained(str(tmp_path / "base"))
    model = train_by_hand(get_peft_model(base, config_for("plain", task_type="SEQ_CLS")))
    directory = save(model, tmp_path / "adapter")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded = AutoPeftModelForSequenceClassification.from_pretrained(directory, num_labels=3)
    assert close(logits(loaded, make_inputs()), logits(model, make_inputs()))
