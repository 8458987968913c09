"""The product with the sparse coefficients M, forward and backward.

Two ways, both autograd functions, so that no n×n tensor lives between forward and backward: diagonal by diagonal for
narrow bands (the plain pattern is the band of width 1), and through a dense M, built when it is needed, for all else.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd import forward_ad

from svft_bands import diagonals


def dense_coefficients(
    values: torch.Tensor, indices: torch.Tensor, n: int, columns: int | None = None
) -> torch.Tensor:
    """Return M (n, n), or (n, columns), with `values` (k,) at the flat `indices` (k,), zero elsewhere."""
    columns = n if columns is None else columns
    return values.new_zeros(n * columns).index_put((indices,), values).view(n, columns)


def band_width_worth(n: int) -> int:
    """Return the largest off_diag for which going diagonal by diagonal beats a dense product (measured on CPU)."""
    return max(1, n // 48)


def multiply(
    t: torch.Tensor,
    values: torch.Tensor,
    *,
    off_diag: int | None,
    indices: torch.Tensor | None,
    rows: int | None = None,
    sigma: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return ``(diag(sigma) + M) t`` for coordinates t in the basis.

    Args:
        t: Coordinates Vᵀx (..., n).
        values: Trained coefficients (k,), float32, cast to the type of t.
        off_diag: Half-width if M is a band to be taken diagonal by diagonal, else None.
        indices: Flat indices (k,) of the values if M is taken through a dense matrix.
        rows: Number of rows of M if it is not square; then it is taken through a dense matrix, without sigma.
        sigma: Singular values (n,) to add to the diagonal, or None.
    """
    if off_diag == 0:
        diagonal = values if sigma is None else values + sigma
        return t * diagonal.to(t.dtype)
    if off_diag is not None:
        if _transformed():
            return _banded_product(t, values, sigma, off_diag, transposed=False)
        banded: torch.Tensor = _Banded.apply(t, values, sigma, off_diag)  # type: ignore[no-untyped-call]
        return banded
    assert indices is not None
    rows = t.shape[-1] if rows is None else rows
    if _transformed():
        return _dense_product(t, values, sigma, indices, rows)
    product: torch.Tensor = _Dense.apply(t, values, sigma, indices, rows)  # type: ignore[no-untyped-call]
    return product


def _transformed() -> bool:
    """Whether plain operations are needed: torch.func and forward derivatives see through them."""
    if torch.compiler.is_compiling():
        return False
    return (
        bool(torch._C._are_functorch_transforms_active()) or forward_ad._current_level >= 0 or torch._C._is_tracing()
    )


class _Banded(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, t: torch.Tensor, values: torch.Tensor, sigma: torch.Tensor | None, off_diag: int
    ) -> torch.Tensor:
        ctx.save_for_backward(t, values, sigma)
        ctx.off_diag = off_diag
        return _banded_product(t, values, sigma, off_diag, transposed=False)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None, None, None]:
        t, values, sigma = ctx.saved_tensors
        grad_t = grad_values = None
        if ctx.needs_input_grad[0]:
            grad_t = _banded_product(grad, values, sigma, ctx.off_diag, transposed=True)
        if ctx.needs_input_grad[1]:
            n = t.shape[-1]
            g, x = grad.reshape(-1, n), t.reshape(-1, n)
            sums = [
                (g.narrow(1, row, length) * x.narrow(1, col, length)).sum(0, dtype=values.dtype)
                for _, row, col, length in diagonals(n, ctx.off_diag)
            ]
            grad_values = torch.cat(sums)
        return grad_t, grad_values, None, None


def _banded_product(
    t: torch.Tensor, values: torch.Tensor, sigma: torch.Tensor | None, off_diag: int, *, transposed: bool
) -> torch.Tensor:
    n = t.shape[-1]
    places = list(diagonals(n, off_diag))
    main = values.narrow(0, places[off_diag][0], n)
    if sigma is not None:
        main = main + sigma
    out = t * main.to(t.dtype)
    cast = values.to(t.dtype)
    for number, (start, row, col, length) in enumerate(places):
        if number != off_diag:
            to, from_ = (col, row) if transposed else (row, col)
            out.narrow(-1, to, length).addcmul_(t.narrow(-1, from_, length), cast.narrow(0, start, length))
    return out


class _Dense(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        t: torch.Tensor,
        values: torch.Tensor,
        sigma: torch.Tensor | None,
        indices: torch.Tensor,
        rows: int,
    ) -> torch.Tensor:
        ctx.save_for_backward(t, values, sigma, indices)
        ctx.rows = rows
        return _dense_product(t, values, sigma, indices, rows)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None, None, None, None]:
        t, values, sigma, indices = ctx.saved_tensors
        grad_t = grad_values = None
        if ctx.needs_input_grad[0]:
            grad_t = grad @ _dense(values, sigma, indices, t, ctx.rows)
        if ctx.needs_input_grad[1]:
            full = grad.reshape(-1, ctx.rows).T @ t.reshape(-1, t.shape[-1])
            grad_values = full.reshape(-1)[indices].to(values.dtype)
        return grad_t, grad_values, None, None, None


def _dense_product(
    t: torch.Tensor, values: torch.Tensor, sigma: torch.Tensor | None, indices: torch.Tensor, rows: int
) -> torch.Tensor:
    return t @ _dense(values, sigma, indices, t, rows).T


def _dense(
    values: torch.Tensor, sigma: torch.Tensor | None, indices: torch.Tensor, like: torch.Tensor, rows: int
) -> torch.Tensor:
    M = dense_coefficients(values, indices, rows, like.shape[-1])
    if sigma is not None:
        M.diagonal().add_(sigma)
    return M.to(like.dtype)
