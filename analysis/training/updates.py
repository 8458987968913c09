"""Ranks of what fine-tuning changed: the update ΔW of every adapted matrix of a trained model, whatever the method.

SVFT gives the singular values of ΔW by its coefficients, and LoRA by its factors. Otherwise ΔW is the new weight minus
the pristine one, in float64, and what is below the rounding of W counts as rounding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from peft import PeftModel
from peft.tuners.adamss.layer import AdamssLayer
from peft.tuners.tinylora import TinyLoraLayer
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.tuners.vera import VeraLayer
from scipy.linalg import eigvalsh
from torch import nn
from transformers import PreTrainedModel

from analysis.adapters.peft.layer_update import layer_update, stored_weight
from analysis.common.linear_algebra import singular_values, sparse, triangle
from analysis.measures.ranks import effective_rank, rounding, stable_rank
from analysis.models.loading import block_linears, load_base
from analysis.models.modules import choose_targets
from analysis.training.relatives import CHANGED_STARTS
from analysis.training.specification import TrainingSpec
from svft.layer import SvftLayer

_PRODUCTS = (VeraLayer, TinyLoraLayer, AdamssLayer)


@dataclass(frozen=True, eq=False)
class UpdateMeasures:
    """Ranks of the update ΔW: 0 if nothing was changed, NaN if training left numbers that are not finite.

    Attributes:
        matrices: One row per adapted matrix. Columns: ``name`` (of the module in the base model), ``rank`` (number of
            singular values above max(shape)·eps·σ₁ of ΔW; for DoRA, BOFT and full fine-tuning σ₁ of W),
            ``stable_rank``, ``effective_rank`` (`analysis.measures.ranks`).
    """

    matrices: pd.DataFrame

    @property
    def rank(self) -> float:
        """Mean rank of the matrices."""
        return self._mean("rank")

    @property
    def stable_rank(self) -> float:
        """Mean stable rank of the matrices."""
        return self._mean("stable_rank")

    @property
    def effective_rank(self) -> float:
        """Mean entropy effective rank of the matrices."""
        return self._mean("effective_rank")

    def _mean(self, column: str) -> float:
        return float(self.matrices[column].mean(skipna=False))


def update_measures(model: PreTrainedModel | PeftModel, spec: TrainingSpec) -> UpdateMeasures:
    """Return the ranks of the update in every adapted matrix of a trained model, which stays as it is.

    Args:
        model: As `Method.build` made it and training left it, with nothing merged.
        spec: What it was trained by, resolved.

    Raises:
        ValueError: If an adapter is merged into its weights.
        BaseModelError: If the pristine base of full fine-tuning cannot be loaded.
    """
    rows = [(name, *_ranks(values, threshold)) for name, values, threshold in _spectra(model, spec)]
    return UpdateMeasures(pd.DataFrame(rows, columns=["name", "rank", "stable_rank", "effective_rank"]))


def _ranks(values: np.ndarray, threshold: float) -> tuple[float, float, float]:
    """Return rank, stable rank and effective rank from singular values in descending order."""
    if np.isnan(values).any():
        return np.nan, np.nan, np.nan
    if values[0] <= threshold:  # nothing but rounding
        return 0, 0.0, 0.0
    return int((values > threshold).sum()), stable_rank(values), effective_rank(values)


def _spectra(model: PreTrainedModel | PeftModel, spec: TrainingSpec) -> Iterator[tuple[str, np.ndarray, float]]:
    """Yield (name, singular values of ΔW in descending order, threshold of rounding) of each adapted matrix."""
    if spec.method == "full":
        pristine = _pristine(model, spec)
        for name in choose_targets(block_linears(model), spec.target_modules):
            before, after = (_matrix(m.get_submodule(name)) for m in (pristine, model))
            yield name, *_of_difference(after - before, before)
        return
    assert isinstance(model, PeftModel)  # as every other method makes it
    base = model.get_base_model()
    layers = {name: module for name, module in base.named_modules() if isinstance(module, BaseTunerLayer)}
    changed = _pristine(model, spec) if spec.method in CHANGED_STARTS else None
    if not layers:  # head only
        yield from ((name, np.zeros(1), 0.0) for name in choose_targets(block_linears(base), spec.target_modules))
    for name, layer in layers.items():
        if layer.merged:
            raise ValueError(
                f"{name} has an adapter merged into its weight: unmerge it before its update is measured."
            )
        weight = None if changed is None else stored_weight(changed.get_submodule(name))
        yield name, *_of_layer(layer, model.active_adapter, weight)


def _pristine(model: PreTrainedModel | PeftModel, spec: TrainingSpec) -> PreTrainedModel:
    """Return the base as it was before training, or before a start was taken out of it."""
    assert spec.base is not None  # written out in a resolved specification
    trained = model.get_base_model() if isinstance(model, PeftModel) else model
    assert isinstance(trained, PreTrainedModel)
    with torch.random.fork_rng(devices=[]):  # the base draws a head
        return load_base(spec.base, list((trained.config.id2label or {}).values()))


def _of_layer(layer: BaseTunerLayer, adapter: str, before: torch.Tensor | None) -> tuple[np.ndarray, float]:
    """Return (singular values of ΔW, threshold) of an adapter in one layer.

    Args:
        layer: The layer.
        adapter: Name of the adapter.
        before: W (out, in), if the start of the adapter changed it.
    """
    if isinstance(layer, SvftLayer):
        rows, cols = (index.numpy() for index in layer.coefficient_positions(adapter))
        M = layer.scaling[adapter] * _array(layer.svft_coefficients[adapter])
        m = len(layer.svft_sigma[adapter])
        values = singular_values(sparse(rows, cols, M, m)) if np.isfinite(M).all() else np.full(m, np.nan)
        return values, rounding((layer.out_features, layer.in_features)) * values[0]
    update = layer_update(layer, adapter, before)
    if update.right is not None:
        return _of_product(_array(update.left), _array(update.right))
    if isinstance(layer, _PRODUCTS):  # a product too, so nothing of it is rounding of W
        values = _dense_singular_values(_array(update.left))
        return values, rounding(update.left.shape) * values[0]
    return _of_difference(_array(update.left), _matrix(layer) if before is None else _array(before))


def _of_product(B: np.ndarray, A: np.ndarray) -> tuple[np.ndarray, float]:
    """Return (singular values, threshold) of B A, for B (out, r) and A (r, in): those of the triangles of their QR."""
    values = _dense_singular_values(triangle(B) @ triangle(A.T).T)
    return values, rounding((len(B), A.shape[1])) * values[0]


def _of_difference(update: np.ndarray, before: np.ndarray) -> tuple[np.ndarray, float]:
    """Return (singular values, threshold) of ΔW, the change of `before` (out, in), whose rounding counts as none."""
    gram = before @ before.T if len(before) < before.shape[1] else before.T @ before
    largest = np.sqrt(eigvalsh(gram, subset_by_index=[len(gram) - 1] * 2)[0])
    return _dense_singular_values(update), rounding(before.shape) * largest


def _dense_singular_values(A: np.ndarray) -> np.ndarray:
    """Return the singular values, descending; NaN if A has NaN or infinity, on which LAPACK fails."""
    return np.linalg.svd(A, compute_uv=False) if np.isfinite(A).all() else np.full(min(A.shape), np.nan)


def _matrix(layer: nn.Module | BaseTunerLayer) -> np.ndarray:
    """Return W (out, in) in float64."""
    return _array(stored_weight(layer))


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().double().cpu().numpy()
