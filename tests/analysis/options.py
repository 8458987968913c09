"""What a specification asks of its method, for tests that build a model without training examples."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from analysis.training.methods import METHODS, Options
from analysis.training.specification import TrainingSpec
from svft.patterns import pattern_size, spread_budget


def options_for(spec: TrainingSpec, base: nn.Module, targets: list[str]) -> Options:
    """Return the options; for a method that chooses its entries from data, entries spread over rows and columns."""
    if not METHODS[spec.method].from_data:
        return spec.options
    sizes = [min(base.get_submodule(name).weight.shape) for name in targets]
    counts = spread_budget(spec.budget, sizes) if spec.budget else [pattern_size(n, spec.size) for n in sizes]
    chosen = {
        name: [(e % n, (e % n + e // n) % n) for e in range(k)]
        for name, n, k in zip(targets, sizes, counts, strict=True)
    }
    return replace(spec.options, chosen_indices=chosen)
