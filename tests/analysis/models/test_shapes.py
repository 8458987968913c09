"""Shapes read from files are those of the model that is built from them."""

import subprocess
import sys

import pytest
import torch
from transformers import (
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    GPT2Config,
    GPT2LMHeadModel,
    GPT2Model,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2Model,
    RobertaConfig,
    RobertaForSequenceClassification,
    T5Config,
    T5Model,
    ViTConfig,
    ViTForImageClassification,
    ViTModel,
)
from transformers.pytorch_utils import Conv1D

from analysis.common.errors import BaseModelError, UserError
from analysis.models import shapes
from analysis.models.loading import block_linears, build_without_weights, load_base
from analysis.models.modules import inside_block
from analysis.models.packages import DEFAULT_BASE, DIGITS_BASE, SOUND_BASE
from analysis.models.shapes import block_shapes

_SMALL = {"vocab_size": 50, "hidden_size": 16, "intermediate_size": 40, "num_hidden_layers": 11}
_TEXT = {**_SMALL, "num_attention_heads": 2, "max_position_embeddings": 32}
_GROUPED = {**_TEXT, "num_key_value_heads": 1}
_IMAGE = {"image_size": 8, "patch_size": 4, "num_channels": 1, "num_attention_heads": 2}
_GPT2 = {"vocab_size": 50, "n_embd": 16, "n_inner": 40, "n_layer": 11, "n_head": 2, "bos_token_id": 0}
_VIT = {**_IMAGE, "hidden_size": 16, "intermediate_size": 40, "num_hidden_layers": 11}

# Eleven layers, so that layer 10 is not mistaken for one between 1 and 2.
MODELS = {
    "BERT": lambda: BertModel(BertConfig(**_TEXT)),
    "RoBERTa with its head": lambda: RobertaForSequenceClassification(RobertaConfig(**_TEXT)),
    "DistilBERT": lambda: DistilBertModel(
        DistilBertConfig(vocab_size=50, dim=16, hidden_dim=40, n_layers=11, n_heads=2)
    ),
    "GPT-2": lambda: GPT2Model(GPT2Config(**_GPT2)),
    "GPT-2 with its head": lambda: GPT2LMHeadModel(GPT2Config(**_GPT2)),
    "Llama": lambda: LlamaForCausalLM(LlamaConfig(**_GROUPED)),
    "Llama as a classifier": lambda: LlamaForSequenceClassification(LlamaConfig(**_GROUPED)),
    "Mistral": lambda: MistralForCausalLM(MistralConfig(**_GROUPED)),
    "Qwen2": lambda: Qwen2Model(Qwen2Config(**_GROUPED)),
    "ViT": lambda: ViTForImageClassification(ViTConfig(**_VIT)),
    "ViT without head": lambda: ViTModel(ViTConfig(**_VIT)),
}  # fmt: skip


def saved(model, directory) -> str:
    model.save_pretrained(directory)
    return str(directory)


def shapes_of(model) -> dict[str, tuple[int, int]]:
    """Return what the built model has, from the number of features that each layer itself states."""
    actual = {}
    for name in block_linears(model):
        module = model.get_submodule(name)
        actual[name] = (
            (module.nf, module.nx) if isinstance(module, Conv1D) else (module.out_features, module.in_features)
        )
    return actual


@pytest.mark.parametrize("model", MODELS)
def test_shapes_in_files_are_those_of_the_loaded_classifier(model, tmp_path, monkeypatch):
    base = saved(MODELS[model](), tmp_path)
    monkeypatch.setattr(shapes, "_shapes_when_built", lambda base: pytest.fail("the files were not understood"))
    assert block_shapes(base) == shapes_of(load_base(base, ["a", "b"]))


def test_a_family_that_is_not_known_is_built_without_weights(tmp_path):
    config = T5Config(vocab_size=50, d_model=16, d_kv=8, d_ff=40, num_layers=2, num_heads=2)
    base = saved(T5Model(config), tmp_path)
    model = build_without_weights(base)
    assert {p.device.type for p in model.parameters()} == {"meta"}
    assert block_shapes(base) == shapes_of(load_base(base, ["a", "b"]))


def test_a_model_without_safetensors_is_built(tmp_path):
    model = MODELS["GPT-2"]()
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    assert block_shapes(str(tmp_path)) == shapes_of(build_without_weights(str(tmp_path)))


@pytest.mark.parametrize(("base", "number"), [(DEFAULT_BASE, 36), (DIGITS_BASE, 24), (SOUND_BASE, 24)])
def test_packaged_bases_are_read_from_their_files(base, number, monkeypatch):
    monkeypatch.setattr(shapes, "_shapes_when_built", lambda base: pytest.fail("the files were not understood"))
    actual = block_shapes(base)
    assert len(actual) == number
    assert actual == shapes_of(load_base(base, ["a", "b"]))


def test_the_tiny_base_is_read_from_its_files(tiny_base):
    assert block_shapes(tiny_base) == shapes_of(load_base(tiny_base, ["a", "b"]))


def test_layers_come_in_their_order(tmp_path):
    actual = list(block_shapes(saved(MODELS["Llama"](), tmp_path)))
    layers = [int(name.split(".")[2]) for name in actual]
    assert layers == sorted(layers)
    assert [name.rpartition(".")[2] for name in actual[:7]] == [
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
    ]  # fmt: skip


def test_targets_are_chosen_by_the_end_of_their_names(tiny_base):
    assert set(block_shapes(tiny_base, ("query", "attention.output.dense"))) == {
        f"bert.encoder.layer.{layer}.attention.{name}" for layer in (0, 1) for name in ("self.query", "output.dense")
    }


def test_a_target_that_matches_nothing_is_refused_with_the_names_of_the_first_block(tiny_base):
    with pytest.raises(UserError, match=r"'uery', which.*layer\.0\.attention\.self\.query") as caught:
        block_shapes(tiny_base, ["query", "uery"])
    assert "layer.1" not in str(caught.value)


def test_an_unknown_base_is_refused_with_a_sentence(tmp_path):
    with pytest.raises(BaseModelError, match="could not be loaded"):
        block_shapes(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        ("bert.encoder.layer.10.output.dense", True),
        ("h.0.attn.c_attn", True),
        ("0.linear", True),
        ("bert.pooler.dense", False),
        ("classifier", False),
        ("stage2.linear", False),
    ],
)
def test_inside_a_block_means_inside_a_list_of_modules(name, inside):
    assert inside_block(name) == inside


def test_reading_shapes_does_not_load_torch():
    code = (
        "import sys; from analysis.models.shapes import block_shapes; from analysis.models.packages import *;"
        "assert block_shapes(DEFAULT_BASE, ['query']) and block_shapes(DIGITS_BASE) and block_shapes(SOUND_BASE);"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
