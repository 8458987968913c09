"""Cost is compared within one run, and memory is counted."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from analysis.planning.cost import Contestant, interleave, peak_bytes


def _contestant(name: str, megabytes: int) -> Contestant:
    model = nn.Linear(8, 8)
    return Contestant(name, model, lambda: torch.zeros(megabytes * 250_000).add_(1))


def test_ratios_are_relative_to_the_reference():
    table = interleave(
        [_contestant("LoRA r=8", 1), _contestant("other", 1)], rounds=3, reference="LoRA r=8"
    ).set_index("method")
    assert table.loc["LoRA r=8", ["time_ratio", "memory_ratio"]].tolist() == [1.0, 1.0]
    assert table.loc["other", "time_ratio"] == pytest.approx(
        table.loc["other", "seconds"] / table.loc["LoRA r=8", "seconds"]
    )


@pytest.mark.parametrize("megabytes", [4, 16])
def test_peak_counts_what_a_step_allocates_on_top_of_what_is_resident(megabytes):
    resident = (8 * 8 + 8) * 4 * 3  # weight and bias, and two optimizer moments of each
    assert peak_bytes(_contestant("x", megabytes)) == pytest.approx(resident + megabytes * 1e6, rel=1e-3)
