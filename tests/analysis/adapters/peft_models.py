"""Tiny random models of the families that are opened, saved as their users save them, and adapters of every kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from peft import (
    AdaLoraConfig,
    AdamssConfig,
    BOFTConfig,
    FourierFTConfig,
    FrodConfig,
    LoHaConfig,
    LoKrConfig,
    LoraConfig,
    OFTConfig,
    OSFConfig,
    PeftConfig,
    PsoftConfig,
    RandLoraConfig,
    ShiraConfig,
    TinyLoraConfig,
    VeraConfig,
    get_peft_model,
)
from torch import nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
    ViTConfig,
    ViTForImageClassification,
)

from analysis.common.compat import prepare_peft
from analysis.models.loading import block_linears

_DECODER = {
    "vocab_size": 50, "hidden_size": 16, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "max_position_embeddings": 16,
}  # fmt: skip

FAMILIES: dict[str, Callable[[], nn.Module]] = {
    "bert": lambda: BertForSequenceClassification(
        BertConfig(
            vocab_size=50, hidden_size=16, intermediate_size=40, num_hidden_layers=2, num_attention_heads=2,
            max_position_embeddings=16, num_labels=3,
        )
    ),
    "gpt2": lambda: GPT2LMHeadModel(
        GPT2Config(vocab_size=50, n_embd=16, n_inner=40, n_layer=2, n_head=2, n_positions=16, bos_token_id=0)
    ),
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**_DECODER)),
    "gemma2": lambda: Gemma2ForCausalLM(Gemma2Config(**_DECODER, head_dim=8)),
    "gemma3": lambda: Gemma3ForCausalLM(Gemma3TextConfig(**_DECODER, head_dim=8)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**_DECODER)),
    "vit": lambda: ViTForImageClassification(
        ViTConfig(
            image_size=8, patch_size=4, num_channels=1, hidden_size=16, intermediate_size=40, num_hidden_layers=2,
            num_attention_heads=2, num_labels=3,
        )
    ),
    "t5": lambda: T5ForConditionalGeneration(
        T5Config(vocab_size=50, d_model=16, d_kv=8, d_ff=40, num_layers=2, num_heads=2, decoder_start_token_id=0)
    ),
}  # fmt: skip

# Kind, as it is recognised -> a configuration of it. Its weights are drawn, not zero, unless it has its own start.
KINDS: dict[str, Callable[..., PeftConfig]] = {
    "LoRA": lambda **where: LoraConfig(r=3, lora_alpha=5, init_lora_weights=False, **where),
    "rsLoRA": lambda **where: LoraConfig(r=3, use_rslora=True, init_lora_weights=False, **where),
    "DoRA": lambda **where: LoraConfig(r=3, use_dora=True, init_lora_weights=False, **where),
    "PiSSA": lambda **where: LoraConfig(r=3, init_lora_weights="pissa", **where),
    "OLoRA": lambda **where: LoraConfig(r=3, init_lora_weights="olora", **where),
    "MiCA": lambda **where: LoraConfig(r=3, init_lora_weights="mica", **where),
    "AdaLoRA": lambda **where: AdaLoraConfig(init_r=4, target_r=3, total_step=10, init_lora_weights=False, **where),
    "VeRA": lambda **where: VeraConfig(r=6, init_weights=False, **where),
    "LoHa": lambda **where: LoHaConfig(r=2, init_weights=False, **where),
    "LoKr": lambda **where: LoKrConfig(r=2, init_weights=False, **where),
    "OFT": lambda **where: OFTConfig(oft_block_size=4, init_weights=False, **where),
    "BOFT": lambda **where: BOFTConfig(boft_block_size=4, init_weights=False, **where),
    "FourierFT": lambda **where: FourierFTConfig(n_frequency=20, init_weights=False, **where),
    "SHiRA": lambda **where: ShiraConfig(r=2, init_weights=False, **where),
    "RandLoRA": lambda **where: RandLoraConfig(r=4, init_weights=False, **where),
    "TinyLoRA": lambda **where: TinyLoraConfig(**{"r": 3, "u": 5, "weight_tying": 0.6, **where}),
    "PSOFT": lambda **where: PsoftConfig(r=3, psoft_alpha=5, **where),
    "OSF": lambda **where: OSFConfig(effective_rank=3, **where),
    "AdaMSS": lambda **where: AdamssConfig(r=6, num_subspaces=3, subspace_rank=2, **where),
    "FRoD": lambda **where: FrodConfig(sparse_rate=0.05, progressbar=False, **where),
}


def make_model(family: str) -> nn.Module:
    """Return a tiny random model in evaluation mode, always the same."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = FAMILIES[family]()
        for parameter in model.parameters():  # larger than their usual 0.02, so that an update shows in the logits
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=0.2)
    return model.eval()


def make_inputs(family: str) -> dict[str, torch.Tensor]:
    """Return a fixed batch of two examples."""
    generator = torch.Generator().manual_seed(1)
    if family == "vit":
        return {"pixel_values": torch.randn(2, 1, 8, 8, generator=generator)}
    ids = torch.randint(50, (2, 7), generator=generator)
    return {"input_ids": ids, "decoder_input_ids": ids[:, :4]} if family == "t5" else {"input_ids": ids}


def logits(model: nn.Module, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return the logits without gradients."""
    with torch.no_grad():
        return model(**inputs).logits


def save_base(model: nn.Module, directory: Path, **options) -> Path:
    """Save a base model; its adapters will name the directory."""
    model.save_pretrained(str(directory), **options)
    model.name_or_path = model.config._name_or_path = str(directory)
    return directory


def adapt(model: nn.Module, kind: str, **options) -> nn.Module:
    """Return the model with an adapter of a kind that looks trained, on all linear layers inside its blocks."""
    prepare_peft()
    with torch.random.fork_rng():
        torch.manual_seed(3)
        adapted = get_peft_model(model, KINDS[kind](target_modules=block_linears(model), **options))
        for parameter in adapted.parameters():
            if parameter.requires_grad:  # a step away from the start, different everywhere
                parameter.data += 0.05 * torch.randn_like(parameter)
    return adapted.eval()


def save_adapter(adapted: nn.Module, directory: Path) -> Path:
    """Save an adapter as PEFT does."""
    adapted.save_pretrained(str(directory), save_embedding_layers=False)
    return directory
