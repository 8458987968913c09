"""What SVFT does not adapt, each with one sentence, and the base left as it was."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import MixtralConfig, MixtralForCausalLM

import svft
from svft import model as model_module
from tests.svft.tiny import config_for, logits, make_inputs, make_model, svft_layers


class _Quantized(nn.Linear):
    """Stands in for a quantized layer: a subclass of nn.Linear whose weight is packed."""

    def __init__(self):
        super().__init__(4, 4)
        self.weight = nn.Parameter(torch.zeros(8, 1, dtype=torch.uint8), requires_grad=False)


def model_of(layer: nn.Module) -> nn.ModuleDict:
    return nn.ModuleDict({"sound": nn.Linear(4, 4), "layer": layer})


def refuse(model: nn.Module, sentence: str, *names: str) -> None:
    """Assert the sentence, and that the model is as it was."""
    before = [(name, type(module)) for name, module in model.named_modules()]
    with pytest.raises(ValueError, match=sentence):
        get_peft_model(model, svft.SvftConfig(target_modules=list(names or ("sound", "layer"))))
    assert [(name, type(module)) for name, module in model.named_modules()] == before


def test_a_weight_of_whole_numbers():
    refuse(
        model_of(_Quantized()),
        r"layer has a weight of type torch.uint8; SVFT adapts float32, bfloat16, float16, float64",
    )


def test_a_layer_that_peft_knows_as_quantized(monkeypatch):
    monkeypatch.setattr(
        model_module,
        "resolve_quantization_backend",
        lambda module: SimpleNamespace() if isinstance(module, _Quantized) else None,
    )
    refuse(
        model_of(_Quantized()),
        r"layer is quantized \(_Quantized\); SVFT needs its weight in float: load it unquantized",
    )


def test_a_weight_on_the_meta_device():
    refuse(model_of(nn.Linear(4, 4, device="meta")), r"layer has no weight in memory \(meta or offloaded\)")


def test_an_offloaded_weight():
    layer = nn.Linear(4, 4)
    layer._hf_hook = SimpleNamespace(offload=True)
    refuse(model_of(layer), r"layer has no weight in memory \(meta or offloaded\)")


@pytest.mark.parametrize("kind", ["ZeRO-3", "tensor parallel", "FSDP"])
def test_a_sharded_weight(kind):
    layer = nn.Linear(4, 4)
    if kind == "ZeRO-3":
        layer.weight.ds_id = 7
    elif kind == "tensor parallel":
        layer.weight.device_mesh = object()
    else:
        layer.weight = nn.Parameter(torch.zeros(16))
    refuse(model_of(layer), r"layer has a sharded weight \(FSDP or ZeRO-3\): gather the whole weight")


def test_a_convolution_and_an_embedding():
    refuse(
        model_of(nn.Conv2d(4, 4, 1)), "layer is a Conv2d; SVFT adapts nn.Linear and transformers' Conv1D: leave it out"
    )
    refuse(model_of(nn.Embedding(4, 4)), "layer is a Embedding; SVFT adapts nn.Linear")


def test_a_projection_that_multihead_attention_reads_past_its_forward():
    refuse(model_of(nn.MultiheadAttention(4, 2)), "layer.out_proj is read past its forward", "out_proj")


def test_fused_experts():
    config = MixtralConfig(
        vocab_size=20, hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, num_local_experts=2,
    )  # fmt: skip
    refuse(MixtralForCausalLM(config), "mlp.experts is a MixtralExperts; SVFT adapts nn.Linear", "q_proj", "experts")


def test_a_layer_of_another_method_merged_or_not():
    lora = get_peft_model(make_model(), LoraConfig(target_modules=["query"], init_lora_weights=False))
    with pytest.raises(ValueError, match=r"query already carries a Linear adapter of another method: unload it first"):
        get_peft_model(lora.base_model.model, config_for("plain", target_modules=["query"]))
    lora.merge_adapter()
    with pytest.raises(ValueError, match=r"query has another adapter merged into it: unmerge it before adding SVFT"):
        get_peft_model(lora.base_model.model, config_for("plain", target_modules=["query"]))


def test_a_weight_that_is_not_finite():
    model = model_of(nn.Linear(4, 4))
    model["layer"].weight.data[0, 0] = float("inf")
    refuse(model, r"layer.*NaN or infinite entries and cannot be decomposed")


def test_after_a_refusal_the_base_works_and_can_be_adapted():
    model, inputs = make_model(), make_inputs()
    expected = logits(model, inputs)
    for broken in (
        config_for("random", target_modules=["query", "word_embeddings"]),
        svft.SvftConfig(pattern="random", budget=3),
        config_for("banded", overrides={"nothing": {"off_diag": 1}}),
    ):
        with pytest.raises(ValueError, match=r"\w"):
            get_peft_model(model, broken)
        assert svft_layers(model) == {}
        assert torch.equal(logits(model, inputs), expected)
    torch.testing.assert_close(logits(get_peft_model(model, config_for("plain")), inputs), expected)


def test_after_a_refused_second_adapter_the_first_one_works():
    model, inputs = get_peft_model(make_model(), config_for("plain")), make_inputs()
    expected = logits(model, inputs)
    with pytest.raises(ValueError, match="budget=3"):
        model.add_adapter("second", svft.SvftConfig(pattern="random", budget=3))
    assert list(model.peft_config) == ["default"]
    assert torch.equal(logits(model, inputs), expected)
    model.add_adapter("second", config_for("random"))


def test_memory_for_the_basis_of_a_large_model_is_announced_first(caplog, monkeypatch):
    get_peft_model(make_model(), config_for("plain"))
    assert "U and V will take" not in caplog.text
    monkeypatch.setattr(model_module, "LARGE_BASIS_BYTES", 1000)
    get_peft_model(make_model(), config_for("plain"))
    assert "Decomposing 12 weights (0 of them by a randomized method): U and V will take" in caplog.text
