"""What looks at the numbers of a weight when a method starts or steps: tensors of the same shapes in its place.

PEFT decomposes weights when it builds AdaMSS and FRoD, and FRoD multiplies by a sparse matrix, none of which the meta
device can. What is allocated is the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from peft import PeftModel
from peft.tuners._buffer_dict import BufferDict
from peft.tuners.frod.layer import FrodLayer
from peft.tuners.tinylora import TinyLoraLayer
from torch import nn

from analysis.adapters.peft.frod import basis_name
from analysis.models.loading import linear_shape
from analysis.training.relatives import frod_entries_at


@contextmanager
def without_numbers() -> Iterator[None]:
    """Let PEFT build AdaMSS and FRoD from the shapes of weights alone."""
    adamss = "peft.tuners.adamss.layer"
    with (
        patch(f"{adamss}.slice_pca", _vectors),
        patch(f"{adamss}.clustering_Z", _clusters),
        patch("peft.tuners.frod.model.FrodModel._init_frod_projections", _init_bases),
        patch.object(FrodLayer, "_calculate_frod_u_and_lambda", _left_vectors),
    ):
        yield


def let_go(model: nn.Module, method: str) -> nn.Module:
    """Give back, on the meta device, what training has on a CPU between steps and no more.

    Args:
        model: As PEFT built it.
        method: A name in `METHODS`.
    """
    if method == "psoft":
        _let_go_of_v(model)
    if method == "tinylora" and isinstance(model, PeftModel):
        _keep_own_numbers(model)
    model = nn.Module.to(model, "meta")
    for layer in model.modules():
        if isinstance(layer, FrodLayer):
            _multiply_densely(layer)
    return model


def _let_go_of_v(model: nn.Module) -> None:
    """Give PSOFT's factors memory of their own: on the meta device they are views of all of V, on a CPU copies."""
    for module in model.modules():
        for name, buffer in module.named_buffers(recurse=False):
            if buffer.untyped_storage().nbytes() > buffer.nbytes:
                setattr(module, name, torch.empty_like(buffer))


def _keep_own_numbers(model: PeftModel) -> None:
    """Leave each layer of TinyLoRA the numbers that it uses alone, of all that PEFT files under every layer."""
    for layer in model.modules():
        if isinstance(layer, TinyLoraLayer):
            own = nn.ModuleDict()
            for adapter, key in layer._tinylora_v_key.items():
                numbers = model.get_submodule(f"base_model.tinylora_v.{adapter}")
                own[adapter] = nn.ParameterDict({key: numbers.get_parameter(key)})
            layer.tinylora_v = own
    model.base_model.add_module("tinylora_v", nn.ModuleDict())


# ---- AdaMSS


def _vectors(
    tensor: torch.Tensor, r: int, device: Any, dtype: torch.dtype, random_seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what the randomised SVD of (1, 1, out, in) has: (1, 1, r, in) and (1, 1, out, r)."""
    out, in_ = tensor.shape[2:]
    r = min(r, out, in_)
    return tensor.new_empty(1, 1, r, in_), tensor.new_empty(1, 1, out, r)


def _clusters(vectors: torch.Tensor, number: int, iterations: int) -> tuple[torch.Tensor, int]:
    """Return outputs dealt to clusters in turn, with indices that are numbers, and how many clusters there are."""
    number = min(number, len(vectors))
    return torch.arange(len(vectors), device="cpu") % number, number


# ---- FRoD


def _init_bases(tuner: Any, config: Any, adapter: str) -> None:
    """Put a basis and the places of S in for each role of modules; memory that nothing is written to is not taken."""
    for part in ("frod_V", "frod_s_indices", "frod_s_size"):
        if not hasattr(tuner, part):
            setattr(tuner, part, nn.ModuleDict())
    for name in config.target_modules:
        role, module = basis_name(name), tuner.model.get_submodule(name)
        in_ = linear_shape(module)[1]
        entries = frod_entries_at(in_, config.sparse_rate)
        with torch.device("cpu"):
            for part, tensor in (
                ("frod_V", torch.empty(in_, in_, dtype=module.weight.dtype)),
                ("frod_s_indices", torch.empty(2, entries, dtype=torch.int64)),
                ("frod_s_size", torch.empty(2, dtype=torch.int64)),
            ):
                getattr(tuner, part)[role] = BufferDict({adapter: tensor}, persistent=True)


def _left_vectors(layer: FrodLayer, V: torch.Tensor, W: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return tensors of the shapes of U (out, in) and l (in,)."""
    return torch.empty(W.shape, dtype=W.dtype, device="cpu"), torch.empty(W.shape[1], dtype=W.dtype, device="cpu")


def _multiply_densely(layer: Any) -> None:
    """Let a layer multiply by S through a function that allocates what the product of a sparse matrix does."""

    def tensors(adapter: str, *, device: torch.device, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
        U, V = layer.frod_U[adapter], layer.frod_V[adapter]
        return U, V, layer.frod_lambda_s_values[adapter], layer.frod_lambda_l[adapter]

    layer._get_frod_tensors = tensors
    layer._sparse_activation_mm = _SparseProduct.apply


class _SparseProduct(torch.autograd.Function):
    """z Sᵀ for z (tokens, in), from the values of S alone; only shapes are right."""

    @staticmethod
    def forward(ctx: Any, z: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        places = values.new_empty(2, len(values), dtype=torch.int64)
        ctx.save_for_backward(z, places, torch.empty_like(values))  # S is sorted into tensors of its own
        return z.new_empty(z.shape[1], z.shape[0]).t()

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        z, _, values = ctx.saved_tensors
        of_z = z.new_empty(z.shape[1], z.shape[0]).t()
        dense = z.new_empty(z.shape[1], z.shape[1])  # PyTorch's gradient of S is dense before its entries are taken
        of_values = values.new_empty(values.shape)
        del dense
        return of_z, of_values
