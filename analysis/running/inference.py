"""Predictions of a trained model, at any place of the dial."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from analysis.models.loading import Encoder
from analysis.training.evaluation import wilson_interval
from analysis.training.tasks import Examples
from svft.layer import SvftLayer

# (i, j) of coefficients, int64 (k,) each -> a factor for each, float (k,)
Factor = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

DIAL = tuple(place / 4 for place in range(-4, 13))  # 17 places from −1 to 3
_BATCH = 64


@torch.inference_mode()
def predict_logits(model: nn.Module, encode: Encoder, inputs: Sequence[Any]) -> np.ndarray:
    """Return the logits of each input, (len(inputs), classes) float32. The model must be in eval mode."""
    order = np.argsort([len(text) for text in inputs], kind="stable")  # texts of like length share a batch
    rows: list[np.ndarray] = []
    for start in range(0, len(order), _BATCH):
        batch = encode([inputs[i] for i in order[start : start + _BATCH]])
        rows.append(model(**batch).logits.float().numpy())
    logits = np.concatenate(rows)
    return logits[np.argsort(order, kind="stable")]


def correct(model: nn.Module, encode: Encoder, examples: Examples) -> np.ndarray:
    """Return for each example whether its predicted label is right, (n,) bool."""
    return predict_logits(model, encode, examples.inputs).argmax(axis=1) == examples.labels


def has_dial(model: nn.Module) -> bool:
    """Whether the model has coefficients M to scale."""
    return any(isinstance(module, SvftLayer) for module in model.modules())


@contextmanager
def dialled(model: nn.Module, alpha: float) -> Iterator[None]:
    """Apply U(Σ + αM)Vᵀ in every adapted matrix inside the block, and M itself again after it."""
    layers = [module for module in model.modules() if isinstance(module, SvftLayer)]
    try:
        for layer in layers:
            for adapter in layer.active_adapters:
                layer.set_scale(adapter, alpha)
        yield
    finally:
        for layer in layers:
            for adapter in layer.active_adapters:
                layer.set_scale(adapter, 1.0)


@contextmanager
def reweighted(model: nn.Module, factor: Factor) -> Iterator[None]:
    """Apply M with each entry multiplied by a factor of its own inside the block, and M itself again after it.

    Args:
        model: With SVFT adapters.
        factor: Given i and j of a matrix's entries, one factor each.
    """
    layers = [(m, name) for m in model.modules() if isinstance(m, SvftLayer) for name in m.active_adapters]
    parameters = [layer.svft_coefficients[name] for layer, name in layers]
    before = [values.detach().clone() for values in parameters]
    try:
        with torch.no_grad():
            for (layer, name), values in zip(layers, parameters):
                values.mul_(factor(*layer.coefficient_positions(name)).to(values))
        yield
    finally:
        with torch.no_grad():
            for values, saved in zip(parameters, before):
                values.copy_(saved)


def dial_curve(
    model: nn.Module,
    encode: Encoder,
    examples: Examples,
    alphas: Sequence[float] = DIAL,
) -> pd.DataFrame:
    """Return accuracy over the dial: alpha, accuracy, low, high (95% Wilson interval), one row per alpha.

    At α = 0 stands the same head with M off, which is not the head-only baseline: that head was trained without M.
    """
    rows = []
    for alpha in alphas:
        with dialled(model, alpha):
            right = correct(model, encode, examples)
        rows.append((alpha, right.mean(), *wilson_interval(int(right.sum()), len(right))))
    return pd.DataFrame(rows, columns=["alpha", "accuracy", "low", "high"])
