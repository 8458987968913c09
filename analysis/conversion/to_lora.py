"""Anything → LoRA of rank r in PEFT's format: the best approximation of each update; of SVFT's computed through M.

U and V have orthonormal columns, so with M = P S Qᵀ the singular value decomposition of ΔW = U M Vᵀ is
(UP) S (VQ)ᵀ, and its leading r terms are the best approximation of rank r (Eckart & Young 1936). B = UP√S and
A = √S(VQ)ᵀ share them, the error is what the other singular values hold.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig
from safetensors.torch import save_file
from torch import nn

from analysis.adapters.opening import open_adapter
from analysis.adapters.paths import WEIGHTS_FILE
from analysis.adapters.projected_adapter import ProjectedAdapter
from analysis.common.compat import refuses_lora
from analysis.common.errors import AdapterError
from analysis.common.linear_algebra import sparse, svd
from analysis.conversion import Steps
from analysis.conversion.base_model import BaseModel
from analysis.conversion.cards import write_card
from analysis.conversion.projected_source import ProjectedSource, load_projected
from analysis.conversion.source import PREFIX, Source, load_source, loss, row


def lora_steps(path: str | Path, output: str | Path, rank: int, base: str | None = None) -> Steps:
    """Write the adapter, or whole fine-tuned model, in `path` as a LoRA adapter of one rank to `output`.

    Its lora_alpha is the rank, so that the update is BA.
    A matrix of fewer than `rank` directions is filled up with zeros: servers of LoRA want one rank.

    Yields:
        The number of matrices, then for each a row: name, layer, kind, label, out, in, rank (of the update that was
        written, at most `rank`), and `source.loss`.

    Raises:
        AdapterError: If the adapter cannot be read, or no matrix has as many directions as `rank`.
        BaseModelError: If the base cannot be loaded.
        UserError: If the base is not the adapter's.
    """
    adapter, output = open_adapter(path, base), Path(output)
    source = load_projected(adapter, base) if isinstance(adapter, ProjectedAdapter) else load_source(path, base)
    modules, left_out = _taken_by_peft(source)
    largest = int(adapter.matrices.set_index("name").loc[list(modules), "n"].max())
    if not 1 <= rank <= largest:
        raise AdapterError(f"A LoRA of this adapter has a rank from 1 to {largest}, not {rank}.")
    yield len(modules)
    tensors, lost, energy = {}, 0.0, 0.0
    for name, module in modules.items():
        B, A, values = (
            source.factors(name, rank) if isinstance(source, ProjectedSource) else factors(source, name, rank)
        )
        short = rank - len(A)
        tensors[f"{PREFIX}{module}.lora_A.weight"] = nn.functional.pad(A, (0, 0, 0, short))
        tensors[f"{PREFIX}{module}.lora_B.weight"] = nn.functional.pad(B, (0, short))
        change = loss(float(np.linalg.norm(values)), float(np.linalg.norm(values[rank:])))
        lost, energy = lost + change["error"] ** 2, energy + change["update_norm"] ** 2
        yield row(adapter, name, rank=int(np.count_nonzero(values[:rank])), **change)
    if isinstance(source, ProjectedSource):
        tensors |= {PREFIX + name: tensor for name, tensor in source.head.items()}
    else:
        assert adapter.files is not None  # as every adapter with matrices has
        tensors |= {name: adapter.files.read_any(name) for name in adapter.head}
    config = LoraConfig(
        r=rank,
        lora_alpha=rank,  # their ratio is what PEFT multiplies BA by
        target_modules=_targets(source.base, set(modules.values())),
        modules_to_save=source.modules_to_save,
        task_type=source.task_type,
        base_model_name_or_path=source.base.name,
        fan_in_fan_out=any(map(source.base.outline.is_transposed, modules.values())),
        inference_mode=True,
    )
    output.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, output / WEIGHTS_FILE, {"format": "pt"})
    config.save_pretrained(str(output))
    write_card(
        output,
        f"LoRA of rank {rank}",
        adapter,
        source.base,
        f"The best approximation of rank {rank} of each update. Lost: {_ratio(lost, energy):.2%} of the energy "
        "‖ΔW‖² of the whole adapter.",
        left_out=left_out,
    )
    return left_out


def _taken_by_peft(source: Source | ProjectedSource) -> tuple[dict[str, str], list[str]]:
    """Return the modules to which PEFT adds a LoRA, by the adapter's name, and a sentence on all that is left out."""
    refused = {name: refuses_lora(source.base.model, module) for name, module in source.modules.items()}
    modules = {name: module for name, module in source.modules.items() if refused[name] is None}
    left_out = [*source.left_out, *(f"{name}: {reason}" for name, reason in refused.items() if reason)]
    if not modules:
        raise AdapterError(f"No matrix of {source.adapter.path} can be a LoRA. {left_out[0]}")
    return modules, left_out


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def factors(source: Source, name: str, rank: int) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    """Return B (out, r), A (r, in) float32, r at most `rank`, and all singular values of ΔW, of one matrix."""
    kept_U, seen, kept_V = source.factors(name)
    U, V = (side.detach().float().cpu() for side in (kept_U, kept_V))
    M = seen.cpu().numpy()
    if kept_U.dtype.itemsize < 4:
        # Vectors that were rounded to half precision are no longer orthonormal: M as seen from bases that are.
        (U, left), (V, right) = torch.linalg.qr(U), torch.linalg.qr(V)
        M = left.double().numpy() @ M @ right.double().numpy().T
    rows, cols = np.nonzero(M)
    decomposition = svd(sparse(rows, cols, M[rows, cols], max(M.shape)))
    kept = min(rank, *M.shape)
    root = torch.from_numpy(np.sqrt(decomposition.values[:kept])).float()
    B = U @ torch.from_numpy(decomposition.P[: M.shape[0], :kept]).float() * root
    A = (V @ torch.from_numpy(decomposition.Q[: M.shape[1], :kept]).float() * root).T
    return B, A, decomposition.values


def _targets(base: BaseModel, names: set[str]) -> list[str]:
    """Return the last parts of the modules' names, which is what servers expect, if they name no others as well."""
    ends = {name.rpartition(".")[2] for name in names}
    named = {name for name in base.outline.modules if name.rpartition(".")[2] in ends}
    return sorted(ends) if named == names else sorted(names)
