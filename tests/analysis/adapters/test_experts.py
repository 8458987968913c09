"""Experts: each projection of each expert is a matrix, whether a file keeps experts fused or one by one."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import (
    GptOssConfig,
    GptOssForCausalLM,
    Llama4ForCausalLM,
    Llama4TextConfig,
    MixtralConfig,
    MixtralForCausalLM,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
)

from analysis.adapters.opening import open_adapter
from tests.analysis.adapters.peft_models import save_base

_SMALL = {
    "vocab_size": 32, "hidden_size": 16, "intermediate_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "pad_token_id": 0, "head_dim": 8,
}  # fmt: skip
FAMILIES = {
    "qwen3_moe": lambda: Qwen3MoeForCausalLM(
        Qwen3MoeConfig(**_SMALL, num_experts=3, num_experts_per_tok=2, moe_intermediate_size=8)
    ),
    "mixtral": lambda: MixtralForCausalLM(MixtralConfig(**_SMALL, num_local_experts=3, num_experts_per_tok=2)),
    "gpt_oss": lambda: GptOssForCausalLM(GptOssConfig(**_SMALL, num_local_experts=3, num_experts_per_tok=2)),
    "llama4": lambda: Llama4ForCausalLM(
        Llama4TextConfig(**_SMALL, intermediate_size_mlp=12, num_local_experts=3, num_experts_per_tok=1)
    ),
}  # fmt: skip
PARTS = ("gate_proj", "up_proj", "down_proj")


def make(family: str) -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return FAMILIES[family]().eval()


def experts_of(model: torch.nn.Module) -> dict[str, torch.nn.Module]:
    return {name: module for name, module in model.named_modules() if hasattr(module, "gate_up_proj")}


def matrices(module: torch.nn.Module, family: str) -> dict[tuple[int, str], np.ndarray]:
    """Every projection of every expert, (out, in), as the forward pass of its family takes it apart."""
    both, down = (getattr(module, name).detach().double() for name in ("gate_up_proj", "down_proj"))
    if family in ("gpt_oss", "llama4"):
        both, down = both.mT, down.mT
    half = both.shape[1] // 2
    gate, up = (both[:, ::2], both[:, 1::2]) if family == "gpt_oss" else (both[:, :half], both[:, half:])
    actual = {}
    for part, stacked in zip(PARTS, (gate, up, down)):
        for expert, matrix in enumerate(stacked):
            actual[expert, part] = matrix.numpy()
    return actual


def updates(pristine: torch.nn.Module, trained: torch.nn.Module, family: str) -> dict[str, np.ndarray]:
    actual = {}
    for (name, before), after in zip(experts_of(pristine).items(), experts_of(trained).values(), strict=True):
        old, new = matrices(before, family), matrices(after, family)
        actual |= {f"{name}.{expert}.{part}": new[expert, part] - old[expert, part] for expert, part in old}
    return actual


def assert_are_those_of(adapter, expected: dict[str, np.ndarray]) -> None:
    ours = {name.split("layers.", 1)[1]: name for name in adapter.names if ".experts." in name}
    assert len(ours) == len(expected) == 2 * 3 * 3
    for name, update in expected.items():
        own = ours[name.split("layers.", 1)[1]]
        np.testing.assert_allclose(adapter.dense_update(own), update, atol=1e-5 * np.linalg.norm(update))
        matrix = adapter.matrix(own)
        assert matrix.update_norm == pytest.approx(np.linalg.norm(update), rel=1e-5)
        expert, part = own.split(".")[-2:]
        assert matrix.label.endswith(f"expert {expert} · {part.removesuffix('_proj')}")


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_lora_on_fused_experts_is_merged_minus_pristine(tmp_path, family, fused):
    pristine = make(family)
    save_base(pristine, tmp_path / "base")
    if fused:  # transformers takes the experts of some families apart when it saves them
        save_file({k: v.clone() for k, v in pristine.state_dict().items()}, tmp_path / "base" / "model.safetensors")
    targets = [f"{name}.{part}" for name in experts_of(pristine) for part in ("gate_up_proj", "down_proj")]
    config = LoraConfig(r=2, lora_alpha=3, target_modules=["q_proj"], target_parameters=targets)
    adapted = get_peft_model(copy.deepcopy(pristine), config)
    generator = torch.Generator().manual_seed(1)
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data += torch.randn(parameter.shape, generator=generator)
    trained = sum(parameter.numel() for parameter in adapted.parameters() if parameter.requires_grad)
    adapted.save_pretrained(str(tmp_path / "adapter"), save_embedding_layers=False)
    adapter = open_adapter(tmp_path / "adapter", base=str(tmp_path / "base"))
    assert adapter.trainable == trained
    assert not adapter.left_out
    assert_are_those_of(adapter, updates(pristine, adapted.merge_and_unload(), family))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_fine_tuned_model_shows_every_expert(tmp_path, family):
    pristine = make(family)
    tuned = copy.deepcopy(pristine)
    generator = torch.Generator().manual_seed(2)
    for parameter in tuned.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    save_base(pristine, tmp_path / "base")
    save_base(tuned, tmp_path / "tuned")
    adapter = open_adapter(tmp_path / "tuned", base=str(tmp_path / "base"))
    assert_are_those_of(adapter, updates(pristine, tuned, family))
    assert not any("experts" in name for name in adapter.head if "bias" not in name)


def test_factors_that_fit_no_fused_parameter_are_left_out_by_name(tmp_path):
    pristine = make("qwen3_moe")
    save_base(pristine, tmp_path / "base")
    config = LoraConfig(r=2, target_modules=["q_proj"], target_parameters=["experts.down_proj"])
    get_peft_model(pristine, config).save_pretrained(str(tmp_path / "adapter"), save_embedding_layers=False)
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    tensors = load_file(file)
    key = next(name for name in tensors if "layers.1.mlp.experts" in name and "lora_A" in name)
    tensors[key] = torch.zeros(6, 5)
    save_file(tensors, file)
    adapter = open_adapter(tmp_path / "adapter", base=str(tmp_path / "base"))
    assert [item.name for item in adapter.left_out] == ["model.layers.1.mlp.experts"]
    assert "fit none of its fused parameters" in adapter.left_out[0].reason
    assert len(adapter.names) == 2 + 3


@pytest.mark.parametrize("parts", [("gate_up_proj", "down_proj"), ("gate_up_proj",)])
def test_factors_of_earlier_versions_are_turned_and_square_ones_need_a_sign_of_it(tmp_path, parts):
    pristine = make("qwen3_moe")  # gate_up_proj is square
    save_base(pristine, tmp_path / "base")
    config = LoraConfig(
        r=2, lora_alpha=2, target_modules=["q_proj"], target_parameters=[f"experts.{p}" for p in parts]
    )
    adapted = get_peft_model(pristine, config)
    adapted.save_pretrained(str(tmp_path / "adapter"), save_embedding_layers=False)
    directory = tmp_path / "adapter"
    shown = json.loads((directory / "adapter_config.json").read_text())
    (directory / "adapter_config.json").write_text(json.dumps(shown | {"peft_version": "0.17.1"}))
    generator = torch.Generator().manual_seed(3)
    tensors, expected = load_file(directory / "adapter_model.safetensors"), {}
    for name in tensors:
        container = name.split(".lora_")[0].removesuffix(".base_layer").removeprefix("base_model.model.")
        if not name.endswith("lora_A.weight") or "experts" not in name:
            continue
        B_name = name.replace("lora_A", "lora_B")
        part = "down_proj" if tensors[name].shape[1] == 8 or tensors[B_name].shape[0] == 8 else "gate_up_proj"
        out, in_ = (16, 8) if part == "down_proj" else (16, 16)
        tensors[name] = torch.randn(6, out, generator=generator)  # (E, out, in) taken for (E, in, out)
        tensors[B_name] = torch.randn(in_, 6, generator=generator)
        for expert in range(3):
            A, B = tensors[name][2 * expert : 2 * expert + 2].double(), tensors[B_name][:, expert::3].double()
            expected[f"{container}.{expert}.{part}"] = (B @ A).T.numpy()
    save_file(tensors, directory / "adapter_model.safetensors")
    adapter = open_adapter(directory, base=str(tmp_path / "base"))
    if len(parts) == 1:
        assert len(adapter.left_out) == 2
        assert "more than one way" in adapter.left_out[0].reason
        return
    assert not adapter.left_out
    for name, update in expected.items():
        if "down_proj" in name:
            np.testing.assert_allclose(adapter.dense_update(name), update)
        else:
            both = [adapter.dense_update(name.replace("gate_up_proj", part)) for part in ("gate_proj", "up_proj")]
            np.testing.assert_allclose(np.concatenate(both), update)
