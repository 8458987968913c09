"""The authors' layers, written from their formulas: W' = u (Σ + s·sigmoid(gate)) v, rebuilt dense in every forward."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from transformers.pytorch_utils import Conv1D

from analysis.models.loading import block_linears

PATTERNS = ("plain", "banded", "random", "top_k")
CASES = [
    *[(pattern, False, False) for pattern in PATTERNS],
    *[(pattern, True, False) for pattern in PATTERNS],
    *[(pattern, True, True) for pattern in PATTERNS],
]
RANK = 5  # of the truncated ones


class ReferenceLayer(nn.Module):
    """The sub-module `svft_layer`: its buffers and parameters have the names of the authors' state."""

    def __init__(self, u, v, s_pre, positions, s, gate):
        super().__init__()
        self.u, self.v, self.s_pre = (nn.Parameter(t.contiguous()) for t in (u, v, s_pre))
        self.s, self.gate = nn.Parameter(s), nn.Parameter(gate)
        rows, cols = positions
        for name, index in (("s_row", rows), ("s_col", cols)):
            self.register_buffer(name, index)
        for name in ("s_pre_row", "s_pre_col"):
            self.register_buffer(name, torch.arange(len(s_pre)))

    def weight(self):
        size = self.u.shape[1]
        inner = torch.zeros(size, size)
        inner = inner.index_put((self.s_pre_row, self.s_pre_col), self.s_pre)
        inner = inner.index_put((self.s_row, self.s_col), self.s * torch.sigmoid(self.gate), accumulate=True)
        return self.u @ inner @ self.v


class ReferenceLinear(nn.Module):
    """What stands in the place of a linear layer: `<module>.svft_layer` and `<module>.bias`."""

    def __init__(self, layer, bias):
        super().__init__()
        self.svft_layer = layer
        self.bias = bias

    def forward(self, x):
        return F.linear(x, self.svft_layer.weight(), self.bias)


def positions(pattern, u, v, off_diag, generator):
    """Rows and columns of the trained values, as the authors' code chooses them."""
    size = u.shape[1]
    if pattern == "plain" or (pattern == "banded" and off_diag == 0):
        return torch.arange(size), torch.arange(size)
    k = size * (2 * off_diag + 1) - off_diag * (off_diag + 1)
    if pattern == "banded":
        pairs = [(i, j) for i in range(size) for j in range(size) if abs(i - j) <= off_diag]
        rows, cols = torch.tensor(pairs).T
        return rows, cols
    if pattern == "random":  # with replacement
        return (torch.randint(size, (k,), generator=generator) for _ in range(2))
    if u.shape[0] == v.shape[1]:
        flat = (u.T @ v.T).flatten().topk(k).indices  # signed
        return flat // size, flat % size
    flat = u.flatten()[: size * size].topk(k).indices
    return flat // size, flat % size


def adapt(model, pattern, truncated=False, filled=False, off_diag=2, seed=3, scale=1.0, names=None):
    """Replace linear layers of `model` by the authors' ones with values as if trained, and return it."""
    generator = torch.Generator().manual_seed(seed)
    for name in names or block_linears(model):
        module = model.get_submodule(name)
        weight = module.weight.detach().T if isinstance(module, Conv1D) else module.weight.detach()
        u, s_pre, v = torch.linalg.svd(weight, full_matrices=False)
        if truncated:
            full = len(s_pre)
            u, s_pre, v = u[:, :RANK], s_pre[:RANK], v[:RANK]
            if filled:
                fills = [
                    torch.linalg.qr(torch.randn(side, full - RANK, generator=generator))[0]
                    for side in (u.shape[0], v.shape[1])
                ]
                u, v = torch.cat([u, fills[0]], 1), torch.cat([v, fills[1].T], 0)
        rows, cols = positions(pattern, u, v, min(off_diag, u.shape[1] - 1), generator)
        s = scale * torch.randn(len(rows), generator=generator)
        gate = torch.randn(1, generator=generator)
        layer = ReferenceLinear(ReferenceLayer(u, v, s_pre, (rows, cols), s, gate), module.bias)
        model.set_submodule(name, layer)
    return model


def write_state(model, path: Path) -> Path:
    """Write the state as a mid-run checkpoint has it: safetensors or a pickle, by the name's ending."""
    state = {name: tensor.detach().clone().contiguous() for name, tensor in model.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".safetensors":
        from safetensors.torch import save_file

        save_file(state, path, metadata={"format": "pt"})
    else:
        torch.save(state, path)
    return path
