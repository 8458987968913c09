"""SVFT → SVFT of another pattern or budget: M = UᵀΔWV restricted to Ω, which is the nearest such update.

The terms uᵢvⱼᵀ are orthonormal, so the nearest U M' Vᵀ with M' in Ω keeps the entries of M in Ω as they are, and what
is lost is the energy of the others.
"""

from __future__ import annotations

from pathlib import Path

import torch
from peft.utils.other import ModulesToSaveWrapper

from analysis.adapter import AdapterError
from analysis.conversion import Steps
from analysis.conversion.cards import write_card
from analysis.conversion.source import Source, load_source, loss
from svft import SvftConfig
from svft.decomposition import decompose
from svft.patterns import PATTERNS, pattern_size, spread_budget

BEST = "best"  # no pattern of its own: the k largest |M_ij|, written as custom
_SOURCE, _TARGET = "source", "default"


def pattern_choices() -> tuple[str, ...]:
    """Return the patterns that an update can be brought into."""
    return (*PATTERNS, BEST)


def svft_steps(
    path: str | Path,
    output: str | Path,
    pattern: str,
    off_diag: int | None = None,
    budget: int | None = None,
    seed: int = 0,
    base: str | None = None,
) -> Steps:
    """Write the SVFT adapter in `path` with another pattern to `output`.

    Args:
        path: Directory of the adapter.
        output: Where to write it.
        pattern: A registered pattern, or "best": in each matrix the k entries that keep most of its update.
        off_diag: Half-width d of the band, which sizes the other patterns too; or
        budget: Entries of the whole adapter, shared as `SvftConfig` shares them.
        seed: Of the random pattern.
        base: Id or path of the base where it is not the one that the adapter names.

    Yields:
        The number of matrices, then for each a row: name, layer, kind, label, out, in, k, chance_share (of the energy
        that k places drawn at random keep on average, k/n²) and `source.loss`.

    Raises:
        AdapterError: Where the adapter cannot be read, or pattern and size do not fit.
        BaseModelError: Where the base cannot be loaded.
        BasisMismatchError: Where the base is not the adapter's.
    """
    if pattern not in pattern_choices():
        raise AdapterError(f"There is no pattern {pattern!r} to convert to; choose {', '.join(pattern_choices())}.")
    source, output = load_source(path, base, _SOURCE), Path(output)
    yield len(source.adapter.names)
    config = _config(source, pattern, off_diag, budget, seed)
    source.model.add_adapter(_TARGET, config)
    kept_energy, energy = 0.0, 0.0
    for name, layer in source.layers.items():
        M = _coefficients(source, name)
        rows, cols = layer.coefficient_positions(_TARGET)
        values = M[rows.cpu(), cols.cpu()]
        layer.svft_coefficients[_TARGET].data.copy_(values)
        total = float(source.coefficients(name).square().sum())
        lost = max(0.0, total - float(values.square().sum()))
        kept_energy, energy = kept_energy + total - lost, energy + total
        yield source.row(name, k=len(values), chance_share=len(values) / M.numel(), **loss(total**0.5, lost**0.5))
    for module in source.model.modules():
        if isinstance(module, ModulesToSaveWrapper):
            trained = module.modules_to_save[_SOURCE].state_dict()
            module.modules_to_save[_TARGET].load_state_dict(trained)
    source.model.save_pretrained(str(output), selected_adapters=[_TARGET], save_embedding_layers=False)
    share = 1 - kept_energy / energy if energy else 0.0
    size = f", d={off_diag}" if off_diag else f", budget {budget:,}" if budget else ""
    write_card(
        output,
        f"SVFT {pattern}{size}",
        source,
        f"M restricted to the pattern, not trained in it. Lost: {share:.2%} of the energy ‖ΔW‖² of the whole adapter.",
    )


def _config(source: Source, pattern: str, off_diag: int | None, budget: int | None, seed: int) -> SvftConfig:
    size = {"pattern": pattern, "off_diag": off_diag, "budget": budget}
    if pattern == BEST:
        size = {"pattern": "custom", "custom_indices": _best_places(source, off_diag, budget)}
    return SvftConfig(
        **size,
        seed=seed,
        target_modules=list(source.adapter.names),
        modules_to_save=source.modules_to_save,
        task_type=source.adapter.config.get("task_type"),
        base_model_name_or_path=source.base.name,
        inference_mode=True,
    )


def _best_places(source: Source, off_diag: int | None, budget: int | None) -> dict[str, list]:
    """Return the (i, j) of the largest |M_ij| of each matrix."""
    n = source.adapter.matrices["n"].tolist()
    if (off_diag is None) == (budget is None):
        raise AdapterError("The best entries need a size: give off_diag or a budget, one of them.")
    sizes = spread_budget(budget, n) if budget is not None else [pattern_size(size, off_diag) for size in n]
    places = {}
    for name, k in zip(source.adapter.names, sizes):
        M = _coefficients(source, name)
        flat = M.abs().flatten().topk(k).indices
        places[name] = torch.stack([flat // len(M), flat % len(M)], dim=1).tolist()
    return places


def _coefficients(source: Source, name: str) -> torch.Tensor:
    """Return M of one matrix in the basis of the base itself, (n, n) float64."""
    layer, M = source.layers[name], source.coefficients(name)
    n = min(layer.out_features, layer.in_features)
    if _SOURCE in layer.svft_U:  # a basis that the adapter brought along
        U, V = (side.double() for side in layer.get_basis(_SOURCE))
        own = decompose(layer.get_matrix(), name=name)
        return (own.U.double().T @ U) @ M @ (V.T @ own.V.double())
    return torch.nn.functional.pad(M, (0, n - len(M), 0, n - len(M)))
