"""AdaMSS: outputs in clusters, each with factors B A V_rᵀ of its own; V_r is of [W b] if the layer has a bias b.

Its file does not say which output is in which cluster: PEFT finds the clusters in a randomised SVD of [W b] again,
from a seed. An update is given only if what it finds agrees with the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from analysis.common.errors import AdapterError

if TYPE_CHECKING:
    import torch

VECTORS = "adamss_newB"
_FURTHEST = 1e-4  # of |cos| between a vector of the file and one that is found again, from 1


def check_clusters(layer: Any, adapter: str, tensors: Mapping[str, torch.Tensor]) -> None:
    """Raise an AdapterError if the clusters of a freshly built layer are not those that an adapter was trained with.

    Args:
        layer: PEFT's layer, before the file is loaded into it.
        adapter: Name of the adapter in it.
        tensors: What PEFT calls a tensor of the adapter ("adamss_B.0") -> the tensor.
    """
    saved, again = tensors[VECTORS].float(), layer.adamss_newB[adapter].float()
    sizes = [len(B) for B in layer.adamss_B[adapter]]
    of_file = [len(tensors[f"adamss_B.{k}"]) for k in range(len(sizes)) if f"adamss_B.{k}" in tensors]
    further = f"adamss_B.{len(sizes)}" in tensors
    if saved.shape == again.shape and sizes == of_file and not further:
        norms = saved.norm(dim=1) * again.norm(dim=1)
        cosines = (saved * again).sum(1).abs() / norms.clamp_min(1e-30)
        if float((1 - cosines).max()) <= _FURTHEST:
            return
    raise AdapterError(
        "its clusters of outputs follow from the weight that it was trained on, and another weight (or precision) was "
        "found: choose the base model that the adapter was trained on"
    )


def rank_bound(layer: Any, adapter: str) -> int:
    """Return the most that the rank of the update can be: that of all clusters together, and r at most."""
    return min(layer.adamss_newB[adapter].shape[0], sum(len(A) for A in layer.adamss_A[adapter]))
