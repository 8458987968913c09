"""One name a module: what files, adapters and wrapped models call it, and what is refused because it is not clear."""

from __future__ import annotations

import json
import pickle

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers.pytorch_utils import Conv1D

from analysis.common.compat import LoadedNames, decoded_floats
from analysis.models.architecture import read_architecture
from analysis.models.base_weights import BaseWeights
from analysis.models.modules import named_classes, without_wrappers
from analysis.models.tensor_names import TensorNames
from tests.analysis.families.models import FAMILIES, maker

RENAMED = ("vit", "deit", "beit", "dinov2", "swin", "clip", "siglip", "llava", "gemma3", "qwen2_vl")


def config_of(model) -> dict:
    """Return the values of the config.json that is saved with a model."""
    return json.loads(model.config.to_json_string(use_diff=False)) | {"architectures": [type(model).__name__]}


def names_of(model, *, named=(), modules=(), tensors=None) -> TensorNames:
    return TensorNames(config_of(model), tensors or model.state_dict(), modules, named)


@pytest.mark.parametrize("family", RENAMED)
def test_every_tensor_of_a_file_is_the_parameter_that_transformers_loads_from_it(tmp_path, family):
    model = maker(family)()
    model.save_pretrained(str(tmp_path))
    stored = load_file(tmp_path / "model.safetensors")
    assert set(stored) != set(model.state_dict()) or family == "siglip" or family == "clip"
    actual = LoadedNames(model).of(stored)
    for name, tensor in stored.items():
        own, partly = actual[name]
        assert not partly
        torch.testing.assert_close(model.state_dict()[own], tensor, rtol=0, atol=0)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_module_is_found_by_its_own_name_wrapped_or_not(family):
    model = maker(family)()
    names = names_of(model)
    assert names.model_class == FAMILIES[family][0]
    for name, module in model.named_modules():
        if not isinstance(module, (nn.Linear, Conv1D)):
            continue
        assert names.module(name) == name
        assert names.is_transposed(name) == isinstance(module, Conv1D)
        assert torch.equal(model.state_dict()[names.find(name)], module.weight)
        inner = name.replace(".0.", ".0._checkpoint_wrapped_module.", 1)
        assert names.module(f"base_model.model._orig_mod.module._fsdp_wrapped_module.{inner}.base_layer") == name


def test_wrappers_go_wherever_they_stand_and_nothing_else_does():
    assert without_wrappers("module.model._orig_mod.layers.0._fsdp_wrapped_module.q_proj.weight") == (
        "model.layers.0.q_proj.weight"
    )
    assert without_wrappers("base_model.model.modules.0.my_module.weight") == "modules.0.my_module.weight"


@pytest.mark.parametrize(
    ("family", "old", "new"),
    [
        ("vit", "vit.encoder.layer.0.attention.attention.query", "vit.layers.0.attention.q_proj"),
        ("llava", "language_model.model.layers.1.mlp.down_proj", "model.language_model.layers.1.mlp.down_proj"),
        ("gemma3", "language_model.model.layers.0.self_attn.q_proj", "model.language_model.layers.0.self_attn.q_proj"),
        ("qwen2_vl", "model.layers.0.self_attn.v_proj", "model.language_model.layers.0.self_attn.v_proj"),
        ("qwen2_vl", "visual.blocks.0.attn.qkv", "model.visual.blocks.0.attn.qkv"),
        ("bert", "encoder.layer.0.attention.self.query", "bert.encoder.layer.0.attention.self.query"),
        ("bert", "0.auto_model.encoder.layer.1.output.dense", "encoder.layer.1.output.dense"),
    ],
)
def test_names_of_older_versions_and_of_other_containers_are_one_module(family, old, new):
    names = names_of(maker(family)(), modules=[old])
    assert names.module(old) == new
    assert names.find(old) == names.find(new) is not None


def test_a_part_that_the_model_does_not_have_is_not_taken_for_another():
    names = names_of(maker("gemma3")())
    assert names.module("model.vision_tower.encoder.layers.0.self_attn.out_proj") is not None
    assert names.find("model.vision_tower.encoder.layers.7.self_attn.out_proj") is None
    assert names.find("model.audio_tower.layers.0.self_attn.q_proj") is None
    assert "is not a module of it" in names.why_missing("model.audio_tower.layers.0.self_attn.q_proj")


def test_a_tower_of_images_is_not_taken_for_a_bare_language_model():
    names = TensorNames({"model_type": "of_my_own"}, ["layers.0.q_proj.weight"])
    assert names.find("language_model.layers.0.q_proj") == "layers.0.q_proj.weight"
    assert names.find("vision_tower.layers.0.q_proj") is None


def test_two_towers_are_told_apart_by_the_class_that_the_adapter_names_and_else_refused():
    model = maker("clip")()
    half = "encoder.layers.0.self_attn.q_proj"
    names = names_of(model, modules=[f"model.{half}"])
    assert names.find(half) is None
    assert "text_model.encoder.layers.0.self_attn.q_proj" in names.why_missing(half)
    assert "vision_model.encoder.layers.0.self_attn.q_proj" in names.why_missing(half)
    for shown, part in (("CLIPTextModel", "text_model"), ("CLIPVisionModel", "vision_model")):
        classes = named_classes({"auto_mapping": {"base_model_class": shown}})
        actual = names_of(model, modules=[half], named=classes)
        assert actual.model_class == shown
        assert actual.find(half) == f"{part}.{half}.weight"


def test_a_head_that_is_tied_is_the_embedding(tmp_path):
    model = maker("llama")()
    config = config_of(model) | {"tie_word_embeddings": True}
    tensors = [name for name in model.state_dict() if name != "lm_head.weight"]
    assert TensorNames(config, tensors).find("lm_head") == "model.embed_tokens.weight"
    assert TensorNames(config | {"tie_word_embeddings": False}, tensors).find("lm_head") is None
    assert "drawn at random" in TensorNames(config | {"tie_word_embeddings": False}, tensors).why_missing("lm_head")


def test_a_square_linear_layer_among_conv1d_is_read_as_it_is(tmp_path):
    model = maker("gpt2")()
    assert model.score.weight.shape[0] != 32
    model.config.num_labels = 32
    model = type(model)(model.config)
    model.save_pretrained(str(tmp_path))
    weights = BaseWeights(tmp_path)
    assert torch.equal(weights.weight("score"), model.score.weight)
    square = model.transformer.h[0].attn.c_proj
    assert torch.equal(weights.weight("transformer.h.0.attn.c_proj"), square.weight.T)


def test_a_family_without_a_class_is_read_by_the_names_in_its_files():
    names = TensorNames({"model_type": "of_my_own"}, ["layers.0.q_proj.weight", "module.layers.1.q_proj.weight"])
    assert names.model_class is None
    assert names.find("base_model.model.model.layers.0.q_proj") == "layers.0.q_proj.weight"
    assert names.find("layers.1.q_proj") == "module.layers.1.q_proj.weight"
    assert names.find("layers.2.q_proj") is None


def test_names_can_be_sent_to_another_process():
    names = names_of(maker("vit")())
    again = pickle.loads(pickle.dumps(names))
    assert again.find("vit.layers.0.attention.q_proj") == names.find("vit.layers.0.attention.q_proj")


def test_infinity_in_a_configuration_is_a_number():
    assert decoded_floats({"a": [0.0, {"__float__": "Infinity"}]}) == {"a": [0.0, float("inf")]}
    mamba = {"model_type": "mamba2", "architectures": ["Mamba2ForCausalLM"], "vocab_size": 64, "hidden_size": 32,
             "num_hidden_layers": 2, "state_size": 8, "head_dim": 8, "num_heads": 8, "n_groups": 1,
             "time_step_limit": [0.0, {"__float__": "Infinity"}]}  # fmt: skip
    assert len(read_architecture(json.dumps(mamba)).shapes) == 4


@pytest.mark.parametrize(
    ("family", "linears"),
    [("whisper", 32), ("bart", 32), ("wav2vec2", 12), ("clip", 24), ("llava", 26), ("vision-encoder-decoder", 26)],
)
def test_budgets_count_the_class_that_a_configuration_names(family, linears):
    model = maker(family)()
    actual = read_architecture(json.dumps(config_of(model)))
    inside = [
        n
        for n, m in model.named_modules()
        if isinstance(m, (nn.Linear, Conv1D)) and any(map(str.isdigit, n.split(".")))
    ]
    assert sorted(actual.shapes) == sorted(inside)
    assert len(inside) == linears
    assert actual.parameters == sum(p.numel() for n, p in model.named_parameters() if "classifier" not in n)
