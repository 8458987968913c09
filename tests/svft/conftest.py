"""What tests of the tuner share: one thread, since the matrices are tiny, and an eye on the folded form."""

from __future__ import annotations

import pytest
import torch

from svft.linear import Linear


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def folds(monkeypatch):
    """Record whether the folded form was used."""
    used = []
    folded = Linear._folded
    monkeypatch.setattr(Linear, "_folded", lambda self, *args: used.append(True) or folded(self, *args))
    return used
