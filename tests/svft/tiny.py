"""Tiny random models, one per architecture that the tests walk through, and their adapters in dense float64."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    ViTConfig,
    ViTForImageClassification,
)
from transformers.pytorch_utils import Conv1D

import svft
from svft.layer import SvftLayer

ARCHITECTURES = ("bert", "gpt2", "llama", "vit")


def _bert() -> nn.Module:
    return BertForSequenceClassification(
        BertConfig(
            vocab_size=50, hidden_size=16, intermediate_size=40, num_hidden_layers=2, num_attention_heads=2,
            max_position_embeddings=16, num_labels=3,
        )
    )  # fmt: skip


def _gpt2() -> nn.Module:
    return GPT2LMHeadModel(
        GPT2Config(vocab_size=50, n_embd=16, n_inner=40, n_layer=2, n_head=2, n_positions=16, bos_token_id=0)
    )


def _llama() -> nn.Module:
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=50, hidden_size=16, intermediate_size=40, num_hidden_layers=2, num_attention_heads=2,
            num_key_value_heads=1, max_position_embeddings=16,
        )
    )  # fmt: skip


def _vit() -> nn.Module:
    return ViTForImageClassification(
        ViTConfig(
            image_size=8, patch_size=4, num_channels=1, hidden_size=16, intermediate_size=40, num_hidden_layers=2,
            num_attention_heads=2, num_labels=3,
        )
    )  # fmt: skip


class _Layers(nn.Module):
    """Two layers and a head, without transformers' conventions."""

    def __init__(self, kind: Callable[[int, int], nn.Module]):
        super().__init__()
        self.wide, self.square, self.classifier = kind(16, 40), kind(40, 40), nn.Linear(40, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.square(self.wide(x).relu()).relu())


_BUILDERS: dict[str, Callable[[], nn.Module]] = {
    "bert": _bert,
    "gpt2": _gpt2,
    "llama": _llama,
    "vit": _vit,
    "mlp": lambda: _Layers(nn.Linear),
    "conv1d": lambda: _Layers(lambda in_, out: Conv1D(out, in_)),
}
# Of all architectures, the modules that the custom pattern adapts.
SOME_MODULES = {
    "bert": ["query", "value"],
    "gpt2": ["c_attn", "c_fc"],
    "llama": ["q_proj", "down_proj"],
    "vit": ["q_proj", "fc1"],
    "mlp": ["wide", "square"],
    "conv1d": ["wide", "square"],
}


def make_model(architecture: str = "bert", dtype: torch.dtype = torch.float32, seed: int = 0) -> nn.Module:
    """Return a tiny random model in evaluation mode; equal seeds give equal weights."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = _BUILDERS[architecture]()
        for parameter in model.parameters():  # larger than their usual 0.02, so that an update shows in the logits
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=0.3)
    return model.to(dtype).eval()


def make_inputs(architecture: str = "bert", dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    """Return a fixed batch of two examples."""
    generator = torch.Generator().manual_seed(1)
    if architecture in ("mlp", "conv1d"):
        return {"x": torch.randn(2, 16, generator=generator).to(dtype)}
    if architecture == "vit":
        return {"pixel_values": torch.randn(2, 1, 8, 8, generator=generator).to(dtype)}
    return {"input_ids": torch.randint(50, (2, 7), generator=generator)}


def logits(model: nn.Module, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return the logits without gradients."""
    with torch.no_grad():
        output = model(**inputs)
    return output if isinstance(output, torch.Tensor) else output.logits


def svft_layers(model: nn.Module) -> dict[str, SvftLayer]:
    """Return the adapted layers by name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, SvftLayer)}


def train_by_hand(model: nn.Module, adapter: str = "default", scale: float = 0.1, seed: int = 2) -> nn.Module:
    """Give an adapter coefficients as if it had been trained: noise that differs from matrix to matrix."""
    generator = torch.Generator().manual_seed(seed)
    for layer in svft_layers(model).values():
        if adapter in layer.svft_coefficients:
            values = layer.svft_coefficients[adapter].data
            values.copy_(scale * torch.randn(values.shape, generator=generator))
    return model


def dense_coefficients_of(layer: SvftLayer, adapter: str = "default") -> torch.Tensor:
    """Return M of a layer, (r, r) float64, put together entry by entry."""
    rows, cols = layer.coefficient_positions(adapter)
    rank = layer.spec[adapter].rank
    M = torch.zeros(rank, rank, dtype=torch.float64)
    M[rows, cols] = layer.svft_coefficients[adapter].detach().double()
    return M


def full_basis(layer: SvftLayer, adapter: str = "default") -> tuple[torch.Tensor, torch.Tensor]:
    """Return U (out, r) and V (in, r) of an adapter, zero in the columns that it does not keep."""
    U, V = layer.get_basis(adapter)
    if adapter not in layer.svft_U:
        return U, V
    used, rank = layer.used(adapter), layer.spec[adapter].rank
    return tuple(
        side.new_zeros(len(side), rank).index_copy(1, kept, side) for side, kept in ((U, used.left), (V, used.right))
    )


def expected_delta(layer: SvftLayer, adapter: str = "default") -> torch.Tensor:
    """Return U M Vᵀ (out, in) in float64, from the layer's own U and V."""
    U, V = full_basis(layer, adapter)
    return U.double() @ dense_coefficients_of(layer, adapter) @ V.double().T


def config_for(pattern: str, **options) -> svft.SvftConfig:
    """Return a small configuration of a pattern by name, also of the custom one (for query and value of BERT)."""
    if pattern == "custom":
        entries = [(0, 0), (2, 1), (1, 5), (7, 3)]
        options.setdefault("target_modules", ["query", "value"])
        options.setdefault("custom_indices", dict.fromkeys(options["target_modules"], entries))
        return svft.SvftConfig(pattern="custom", **options)
    size = {"plain": {}, "block": {"rank": 3}}.get(pattern, {"off_diag": 2})
    return svft.SvftConfig(pattern=pattern, **{**size, **options})


def assert_comes_back_after_emptying(model: nn.Module, x: torch.Tensor) -> None:
    """Empty a model, as `to_empty` leaves it and by way of the meta device, and fill it from its state dict again."""
    expected, state = model(x), {key: t.clone() for key, t in model.state_dict().items()}
    model.to_empty(device="cpu")
    for parameter in (*model.parameters(), *model.buffers()):
        parameter.data.fill_(1)
    model.load_state_dict(state)
    torch.testing.assert_close(model(x), expected, rtol=0, atol=1e-6)
    model.to("meta").to_empty(device="cpu")
    model.load_state_dict(state)
    torch.testing.assert_close(model(x), expected, rtol=0, atol=1e-6)
