"""Anything → SVFT of a chosen pattern and budget: M = UᵀΔWV restricted to Ω, which is the nearest such update.

The terms uᵢvⱼᵀ are orthonormal, so the nearest U M' Vᵀ with M' in Ω keeps the entries of M in Ω as they are. What is
lost is the energy of the other entries, and what of ΔW lies outside the thin basis.
"""

from __future__ import annotations

from pathlib import Path

import torch

from analysis.adapters.opening import open_adapter
from analysis.adapters.projected_adapter import ProjectedAdapter
from analysis.common.errors import AdapterError
from analysis.conversion import Steps
from analysis.conversion.cards import write_card
from analysis.conversion.projected_source import ProjectedSource, load_projected
from analysis.conversion.source import Source, load_source, loss, row
from analysis.models.refusals import refusals
from svft import SvftConfig
from svft.features.card import tell_how_to_load
from svft.layer import SvftLayer
from svft.patterns import PATTERNS, pattern_size, spread_budget

BEST = "best"  # no pattern of its own: the k largest |M_ij|, written as custom


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
    """Write the adapter, or whole fine-tuned model, in `path` as an SVFT adapter of a pattern to `output`.

    Args:
        path: Directory of anything that `open_adapter` opens.
        output: Where to write it.
        pattern: A registered pattern, or "best": in each matrix the k entries that keep most of its update.
        off_diag: Half-width d of the band, which sizes the other patterns too; or
        budget: Entries of the whole adapter, shared as `SvftConfig` shares them.
        seed: Of the random pattern.
        base: Id or path of the base if it is not the one that the adapter names.

    Yields:
        The number of matrices, then for each a row: name, layer, kind, label, out, in, k, chance_share (of the energy
        in the basis, what k places drawn at random keep on average: k/n²) and `source.loss`.

    Raises:
        AdapterError: If the adapter cannot be read, or pattern and size do not fit.
        BaseModelError: If the base cannot be loaded.
        UserError: If the base is not the adapter's.
    """
    if pattern not in pattern_choices():
        raise AdapterError(f"There is no pattern {pattern!r} to convert to; choose {', '.join(pattern_choices())}.")
    adapter, output = open_adapter(path, base), Path(output)
    source = (
        load_projected(adapter, base) if isinstance(adapter, ProjectedAdapter) else load_source(path, base, "source")
    )
    yield len(adapter.names)
    with refusals():
        model = source.attach(_config(source, pattern, off_diag, budget, seed))
    lost, energy = 0.0, 0.0
    for name, module in source.modules.items():
        layer = model.get_base_model().get_submodule(module)
        assert isinstance(layer, SvftLayer)
        M, whole = source.own_coefficients(name)
        rows, cols = layer.coefficient_positions("default")
        values = M[rows.cpu(), cols.cpu()]
        layer.svft_coefficients["default"].data.copy_(values)
        gone = max(0.0, whole - float(values.square().sum()))
        lost, energy = lost + gone, energy + whole
        yield row(adapter, name, k=len(values), chance_share=len(values) / M.numel(), **loss(whole**0.5, gone**0.5))
    model.save_pretrained(str(output), selected_adapters=["default"], save_embedding_layers=False)
    size = f", d={off_diag}" if off_diag else f", budget {budget:,}" if budget else ""
    write_card(
        output,
        f"SVFT {pattern}{size}",
        adapter,
        source.base,
        "The update restricted to the pattern, not trained in it. "
        f"Lost: {lost / energy if energy else 0:.2%} of the energy ‖ΔW‖² of the whole adapter.",
        left_out=source.left_out,
    )
    tell_how_to_load(output)
    return source.left_out


def _config(
    source: Source | ProjectedSource, pattern: str, off_diag: int | None, budget: int | None, seed: int
) -> SvftConfig:
    best = _best_places(source, off_diag, budget) if pattern == BEST else None
    return SvftConfig(
        pattern="custom" if best else pattern,
        custom_indices=best,
        off_diag=None if best else off_diag,
        budget=None if best else budget,
        seed=seed,
        target_modules=list(source.modules.values()),
        modules_to_save=source.modules_to_save,
        task_type=source.task_type,
        base_model_name_or_path=source.base.name,
        inference_mode=True,
    )


def _best_places(source: Source | ProjectedSource, off_diag: int | None, budget: int | None) -> dict[str, list]:
    """Return the (i, j) of the largest |M_ij| of each matrix."""
    rows = source.adapter.matrices.set_index("name")
    n = rows.loc[list(source.modules), "n"].tolist()
    if budget is not None and off_diag is None:
        sizes = spread_budget(budget, n)
    elif off_diag is not None and budget is None:
        sizes = [pattern_size(size, off_diag) for size in n]
    else:
        raise AdapterError("The best entries need a size: give off_diag or a budget, one of them.")
    places = {}
    for (name, module), k in zip(source.modules.items(), sizes):
        M, _ = source.own_coefficients(name)
        flat = M.abs().flatten().topk(k).indices
        places[module] = torch.stack([flat // len(M), flat % len(M)], dim=1).tolist()
    return places
