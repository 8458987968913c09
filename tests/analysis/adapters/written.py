"""A tiny LoRA and its base as people have them on disk, to be changed into what they bring."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from tests.analysis.adapters.peft_models import save_base

ADAPTER = "adapter_model.safetensors"
QUERY = "model.layers.0.self_attn.q_proj"

Tensors = dict[str, torch.Tensor]


def llama(**options) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LlamaForCausalLM(
            LlamaConfig(
                vocab_size=40, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
                num_key_value_heads=1, pad_token_id=0, **options,
            )
        ).eval()  # fmt: skip


def rewrite(file: Path, change: Callable[[Tensors], Tensors | None]) -> None:
    """Change the tensors of a safetensors file, in place or by returning others."""
    tensors = load_file(file)
    tensors = change(tensors) or tensors
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, file, {"format": "pt"})


def write_lora(
    directory: Path, change=None, config=None, targets=("q_proj", "v_proj"), model=llama, **options
) -> Path:
    """Write a LoRA with its base, then change its tensors and its config; return its directory."""
    save_base(model(), directory / "base")
    with torch.random.fork_rng():
        torch.manual_seed(1)
        adapted = get_peft_model(model(), LoraConfig(r=2, lora_alpha=3, target_modules=list(targets), **options))
    generator = torch.Generator().manual_seed(1)
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data += torch.randn(parameter.shape, generator=generator)
    adapted.peft_config["default"].base_model_name_or_path = str(directory / "base")
    adapted.save_pretrained(str(directory / "adapter"), save_embedding_layers=False)
    if change is not None:
        rewrite(directory / "adapter" / ADAPTER, change)
    if config is not None:
        file = directory / "adapter" / "adapter_config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | config))
    return directory / "adapter"
