"""Whether a weight is still the one that was decomposed, from a part of it and from all of it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from svft.basis import fingerprint
from svft.state.freshness import Snapshot, Witness


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (6, 4), (4, 6), (8, 24), (24, 8), (13, 13)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_a_snapshot_tells_entries_signs_and_permutations(shape, dtype):
    W = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    snapshot = Snapshot(W)
    assert snapshot.matches(W.clone())
    assert Snapshot(W.T).matches(W.T.clone(memory_format=torch.preserve_format))
    changed = []
    for i in range(shape[0]):
        for j in range(shape[1]):
            changed.append(W.clone())
            changed[-1][i, j] = torch.nextafter(W[i, j].float(), torch.tensor(9.0)) if dtype != torch.bfloat16 else 9
    changed += [W.clone().index_fill_(0, torch.tensor(i), 0) for i in range(shape[0])]
    for i in range(shape[0]):
        changed.append(W.clone())
        changed[-1][i] *= -1
    for j in range(shape[1]):
        changed.append(W.clone())
        changed[-1][:, j] *= -1
    changed += [W.roll(1, d) for d in (0, 1) if shape[d] > 1]
    assert not any(snapshot.matches(other) for other in changed)


def test_a_glance_at_a_large_weight_reads_a_part_of_it_in_turn():
    W = nn.Parameter(torch.randn(300, 400, generator=torch.Generator().manual_seed(0)), requires_grad=False)
    witness, kept = Witness(W, fingerprint(W)), W.data.clone()
    turns = 4 * -(-300 // (2**14 // 400))
    assert all(witness.seems_decomposed(W) for _ in range(2 * turns))
    for changed in (2 * kept, -kept, kept.roll(1, 0), kept.roll(1, 1), kept.lerp(kept.flip(0), 1e-3)):
        W.data.copy_(changed)
        assert not witness.seems_decomposed(W)
        W.data.copy_(kept)
        assert witness.seems_decomposed(W)
    W.data[7, 9] += 1  # alone, and past autograd
    assert not witness.is_decomposed(W)
    seen = [witness.seems_decomposed(W) for _ in range(3 * turns)]
    assert not any(seen[turns:])  # and not forgotten while other rows have their turn
    W.data.copy_(kept)
    assert witness.seems_decomposed(W)
    with torch.no_grad():
        W[7, 9] += 1  # counted
    assert not witness.seems_decomposed(W)


def test_a_change_that_a_snapshot_misses_is_found_exactly():
    W = nn.Parameter(torch.arange(36.0).view(6, 6), requires_grad=False)
    witness = Witness(W, fingerprint(W))
    snapshot = Snapshot(W)
    pairs = [(a, b) for a in range(6) for b in range(a)]
    hidden = next(
        swapped
        for row in range(6)
        for a, b in pairs
        if not torch.equal(swapped := _swap(W, row, a, b), W) and snapshot.matches(swapped)
    )
    kept = W.data.clone()
    W.data.copy_(hidden)
    assert not witness.is_decomposed(W, exact=True)
    W.data.copy_(kept)
    assert witness.is_decomposed(W, exact=True)
    assert witness.is_decomposed(W)
    with torch.no_grad():
        W.copy_(hidden)  # counted by autograd
    assert not witness.is_decomposed(W)


def _swap(W, row, a, b):
    other = W.detach().clone()
    other[row, [a, b]] = other[row, [b, a]]
    return other
