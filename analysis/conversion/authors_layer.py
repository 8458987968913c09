"""One layer of the paper's authors' code, from its state: what it computes, and whether that is SVFT of a base weight.

Such a layer applies u (Σ + S) v with S = s·sigmoid(gate) at the positions (s_row, s_col), duplicates added up. Its u
and v are the singular vectors of the base weight W; or only the leading r of them (Σ is cut with them, so that W is
replaced by its rank-r approximation); or those, filled up with random vectors that are not orthogonal to them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from analysis.common.errors import AdapterError
from analysis.conversion.checkpoint import Checkpoint

MARK = ".svft_layer."
ORTHONORMAL = 1e-4  # largest |uᵀu − 1| that float32 singular vectors have; half precision and fillings are far above
BASE_TOLERANCE = 1e-3  # ‖W − uΣv‖/‖W‖ that rounding explains
HALF_TOLERANCE = 5e-2  # if u, v and Σ were stored in half precision


@dataclass(frozen=True, eq=False)
class AuthorsLayer:
    """One layer: W' = u (diag(sigma) + S) v.

    Attributes:
        name: Path of the module that it stands for.
        u: (out, m).
        sigma: (m,), 0 if the state has none.
        v: (m, in).
        rows: i of each entry of S, (k,) int64, distinct positions.
        cols: j of each entry, (k,) int64.
        values: s·sigmoid(gate), summed over duplicates, (k,) float64.
        gate: sigmoid(gate).
        duplicates: Number of trained values whose position another one has already.
        half: Whether the state was kept in half precision.
    """

    name: str
    u: torch.Tensor
    sigma: torch.Tensor
    v: torch.Tensor
    rows: torch.Tensor
    cols: torch.Tensor
    values: torch.Tensor
    gate: float
    duplicates: int
    half: bool

    @property
    def rank(self) -> int:
        """Number of leading directions that have a singular value in the state."""
        return int((self.sigma > 0).sum())

    def coefficients(self) -> torch.Tensor:
        """Return S dense, (m, m) float64."""
        S = torch.zeros(len(self.sigma), len(self.sigma), dtype=torch.float64)
        S[self.rows, self.cols] = self.values
        return S

    def weight(self) -> torch.Tensor:
        """Return W' (out, in) float64: what the layer computes."""
        u, v = self.u.double(), self.v.double()
        return u @ ((torch.diag(self.sigma.double()) + self.coefficients()) @ v)

    def base_error(self, W: torch.Tensor) -> float:
        """Return ‖Wvᵀ − uΣ‖_F + ‖uᵀW − Σv‖_F over the kept directions, as a part of their ‖W‖_F.

        It vanishes if the kept directions are singular vectors of the weight W (out, in), whole or truncated, and
        is of order 1 for any other weight.
        """
        kept = self.sigma > 0
        u, sigma, v, W = self.u[:, kept].double(), self.sigma[kept].double(), self.v[kept].double(), W.double()
        difference = (W @ v.T - u * sigma).norm() + (u.T @ W - sigma[:, None] * v).norm()
        return float(difference / sigma.norm())

    def is_orthonormal(self) -> bool:
        """Whether u and v are orthonormal as singular vectors are."""

        def deviation(B: torch.Tensor) -> float:
            return float((B.T @ B - torch.eye(B.shape[1], dtype=B.dtype)).abs().max())

        return deviation(self.u.double()) <= ORTHONORMAL and deviation(self.v.double().T) <= ORTHONORMAL

    @property
    def tolerance(self) -> float:
        """Largest `base_error` that rounding explains."""
        return HALF_TOLERANCE if self.half else BASE_TOLERANCE


def layer_names(checkpoint: Checkpoint) -> list[str]:
    """Return the paths of the modules that have layer state, in the checkpoint's order."""
    return list(dict.fromkeys(name.split(MARK)[0] for name in checkpoint.shapes if MARK in name))


def read_layer(checkpoint: Checkpoint, name: str, limit: int | None = None) -> AuthorsLayer:
    """Read and check the state of one layer; shapes are checked before anything is read.

    Args:
        checkpoint: An open checkpoint.
        name: One of `layer_names`.
        limit: Largest side of any tensor, if the weight that it belongs to is known.

    Raises:
        AdapterError: If it is incomplete, damaged or contradicts itself.
    """
    where = f"The layer state of {name} in {checkpoint.path}"
    parts = ("u", "v", "s_pre", "s", "gate")
    for part in parts:
        if name + MARK + part not in checkpoint.shapes:
            raise AdapterError(f"{where} has no {part}; save the whole state of the model.")
    u, v, s_pre, s, gate = (checkpoint.shapes[name + MARK + part] for part in parts)
    if len(u) != 2 or len(v) != 2 or u[1] != v[0] or not 1 <= u[1] <= max(u[0], v[1]):
        raise AdapterError(f"{where} has u {u} and v {v}, which do not multiply; u is (out, n), v (n, in).")
    if limit is not None and max(*u, *v) > limit:
        raise AdapterError(f"{where} has u {u} and v {v}, which do not fit the base model.")
    if len(s_pre) != 1 or len(s) != 1 or math.prod(gate) != 1 or not 1 <= s_pre[0] <= u[1] or s[0] < 1:
        raise AdapterError(f"{where} has s_pre {s_pre}, s {s} and gate {gate}: vectors, and one number.")
    if s[0] > 4 * u[1] ** 2:
        raise AdapterError(f"{where} has {s[0]:,} trained values for {u[1] ** 2:,} places.")

    def numbers(part: str) -> torch.Tensor:
        tensor = checkpoint.read(name + MARK + part)
        if not tensor.is_floating_point() or not torch.isfinite(tensor).all():
            raise AdapterError(f"{part} must be finite floating-point numbers: {where[0].lower()}{where[1:]}.")
        return tensor

    def places(part: str, count: int) -> torch.Tensor:
        key = name + MARK + part
        if key not in checkpoint.shapes:
            if count > u[1]:
                raise AdapterError(f"{where} has no {part}, which says where its {count} values are.")
            return torch.arange(count)
        if checkpoint.shapes[key] != (count,):
            raise AdapterError(f"{where} has {part} of shape {checkpoint.shapes[key]} for {count} values.")
        tensor = checkpoint.read(key)
        if tensor.is_floating_point() or tensor.is_complex():
            raise AdapterError(f"{part} must be integers: {where[0].lower()}{where[1:]}.")
        tensor = tensor.long()
        if tensor.min() < 0 or tensor.max() >= u[1]:
            raise AdapterError(f"{where} has {part} that reach outside the {u[1]}×{u[1]} coefficients.")
        return tensor

    m = u[1]
    pre_rows, pre_cols = (places(part, s_pre[0]) for part in ("s_pre_row", "s_pre_col"))
    if not torch.equal(pre_rows, pre_cols) or len(pre_rows.unique()) < len(pre_rows):
        raise AdapterError(f"{where} has singular values off the diagonal (s_pre_row and s_pre_col differ).")
    left, right, pre = numbers("u"), numbers("v"), numbers("s_pre")
    if pre.min() < 0:
        raise AdapterError(f"{where} has negative singular values in s_pre.")
    opened = float(torch.sigmoid(numbers("gate").double()))
    flat, inverse = (places("s_row", s[0]) * m + places("s_col", s[0])).unique(return_inverse=True)
    summed = torch.zeros(len(flat), dtype=torch.float64).index_add_(0, inverse, numbers("s").double() * opened)
    sigma = torch.zeros(m)
    sigma[pre_rows] = pre.float()
    return AuthorsLayer(
        name=name,
        u=left.float(),
        sigma=sigma,
        v=right.float(),
        rows=flat // m,
        cols=flat % m,
        values=summed,
        gate=opened,
        duplicates=s[0] - len(flat),
        half=any(t.dtype.itemsize < 4 for t in (left, right, pre)),
    )
