"""A model from its configuration alone."""

from __future__ import annotations

import json

import pytest
import torch
import transformers

from analysis.common.errors import ArchitectureError, BaseModelError
from analysis.measures.overview import base_parameters
from analysis.models.architecture import (
    MOST_BYTES,
    PRESETS,
    config_from_values,
    open_architecture,
    read_architecture,
)
from analysis.models.packages import DEFAULT_BASE

TINY = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 16, "intermediate_size": 40,
        "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 50}  # fmt: skip


@pytest.mark.parametrize(
    ("preset", "parameters"),
    [  # as their authors publish them
        ("Gemma-2B", 2_506_172_416),
        ("Gemma-7B", 8_537_680_896),
        ("LLaMA-3-8B", 8_030_261_248),
        ("ViT-B/16", 85_798_656),
        ("BERT-base", 109_482_240),
        ("GPT-2", 124_439_808),
        ("SmolLM2-135M", 134_515_008),
        ("Qwen3-0.6B", 596_049_920),
        ("Llama-3.2-1B", 1_235_814_400),
        ("Mistral-7B-v0.3", 7_248_023_552),
    ],
)
def test_presets_have_as_many_parameters_as_the_models(preset, parameters):
    assert open_architecture(preset).parameters == parameters


@pytest.mark.parametrize("preset", [preset for preset in PRESETS if preset != "Llama-3.1-70B"])  # seconds
def test_every_preset_can_be_built_and_has_kinds_for_people(preset):
    model = open_architecture(preset)
    kinds = {kind.split(" (")[0] for kind in (*model.kinds, *model.fused_kinds)}
    assert "attention out" in kinds
    assert kinds & {"MLP down", "expert down"}
    assert sum(map(len, model.kinds.values())) == len(model.shapes)


def test_the_default_base_is_what_its_files_say():
    model = open_architecture(DEFAULT_BASE)
    assert model.parameters == base_parameters(DEFAULT_BASE)
    assert len(model.shapes) == 36


def test_a_configuration_is_pasted_or_read_from_a_file_or_a_directory(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(TINY))
    read = [read_architecture(json.dumps(TINY)), open_architecture(str(tmp_path / "config.json"))]
    read.append(open_architecture(str(tmp_path)))
    assert read[0].shapes == read[1].shapes == read[2].shapes
    assert read[0].shapes["model.layers.1.self_attn.k_proj"] == (8, 16)
    assert [model.parameters for model in read] == [read[0].parameters] * 3


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("no json", "This is not JSON"),
        ("[]", "model_type"),
        ('{"hidden_size": 3}', "model_type"),
        (
            json.dumps({"model_type": "of_my_own", "auto_map": {"AutoModel": "evil.Model"}}),
            "no architecture 'of_my_own'",
        ),
        (json.dumps(TINY | {"num_hidden_layers": 10**9}), "num_hidden_layers = 1e\\+09 is too large"),
        ('{"model_type": "gpt2", "n_layer": 1000000}', "n_layer = 1e\\+06 is too large"),
        ('{"model_type": "swin", "depths": [2, 1000000]}', "depths = 1e\\+06 is too large"),
        ('{"model_type": "mixtral", "num_local_experts": 5000}', "num_local_experts = 5000 is too large"),
        (
            '{"model_type": "mixtral", "num_local_experts": 2048, "num_hidden_layers": 256}',
            "2048 experts in 256 layers are too many",
        ),
        (json.dumps(TINY | {"vocab_size": 10**12}), "vocab_size"),
        (json.dumps(TINY | {"hidden_size": "wide"}), "No model can be built"),
        (json.dumps(TINY | {"num_hidden_layers": 0}), "nothing to adapt"),
        ("x" * (MOST_BYTES + 1), "larger than 1 MB"),
    ],
)
def test_what_is_no_configuration_is_refused_with_a_sentence(text, sentence):
    with pytest.raises(ArchitectureError, match=sentence):
        read_architecture(text)


def test_a_public_server_opens_only_its_own_directories(tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text(json.dumps(TINY))
    monkeypatch.setenv("SVFT_PUBLIC", "1")
    with pytest.raises(ArchitectureError, match="outside the directories that this server opens"):
        open_architecture(str(tmp_path))
    monkeypatch.setenv("SVFT_ROOTS", str(tmp_path))
    assert open_architecture(str(tmp_path)).name == tmp_path.name


@pytest.mark.parametrize("content", [None, "x" * (MOST_BYTES + 1)])
def test_a_directory_without_a_configuration_is_refused_with_a_sentence(tmp_path, content):
    if content:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(ArchitectureError, match=r"There is no file|larger than 1 MB"):
        open_architecture(str(tmp_path))


def test_a_model_that_is_nowhere_is_refused_with_a_sentence():
    with pytest.raises(BaseModelError, match="neither in an installed package"):
        open_architecture("nobody/nothing")


def test_kinds_that_a_model_lacks_are_named():
    with pytest.raises(ArchitectureError, match="no weights 'MLP gate'; it has query, key"):
        open_architecture(DEFAULT_BASE).of_kinds(["MLP gate"])


def test_a_layer_may_have_more_experts_than_a_model_has_layers():
    values = TINY | {"model_type": "qwen3_moe", "architectures": ["Qwen3MoeForCausalLM"], "num_experts": 768,
                     "num_experts_per_tok": 8, "moe_intermediate_size": 4, "head_dim": 8}  # fmt: skip
    actual = read_architecture(json.dumps(values))
    assert sorted(shape[0] for shape in actual.fused.values()) == [768] * 4


@pytest.mark.parametrize(
    ("changes", "published"),
    [
        ({"model_type": "deberta-v2"}, "DebertaV2Model"),  # whose classifier has a pooler of its own
        ({"model_type": "modernbert", "architectures": ["ModernBertForMaskedLM"]}, "ModernBertForMaskedLM"),
        ({"model_type": "distilbert", "dim": 16, "hidden_dim": 40, "n_layers": 2, "n_heads": 2}, "DistilBertModel"),
    ],
)
def test_parameters_are_those_of_the_published_model(changes, published):
    values = {key: value for key, value in TINY.items() if key != "architectures"} | changes
    actual = read_architecture(json.dumps(values | {"pad_token_id": 0}))
    config = config_from_values(values | {"pad_token_id": 0})
    with torch.device("meta"):
        model = getattr(transformers, published)(config)
    assert actual.parameters == sum(parameter.numel() for parameter in model.parameters())


def test_a_router_that_returns_more_than_a_product_is_not_adapted():
    values = {"model_type": "llama4_text", "architectures": ["Llama4ForCausalLM"], "hidden_size": 16,
              "intermediate_size": 24, "intermediate_size_mlp": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
              "num_key_value_heads": 1, "head_dim": 8, "num_local_experts": 3, "vocab_size": 50}  # fmt: skip
    actual = read_architecture(json.dumps(values))
    assert not [name for name in actual.shapes if "router" in name]
    assert "model.layers.0.self_attn.q_proj" in actual.shapes
