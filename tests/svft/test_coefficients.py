"""The product (diag(sigma) + M) t, forward and backward, against dense linear algebra."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from svft.coefficients import dense_coefficients, multiply
from svft.patterns import banded_indices, pattern_size

KINDS = ("plain", "banded", "dense")
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 3e-2, torch.float16: 4e-3}


def reference(t, values, indices, sigma):
    """The same product by dense autograd."""
    M = torch.zeros(t.shape[-1] ** 2, dtype=values.dtype).index_put((indices,), values).view(t.shape[-1], -1)
    if sigma is not None:
        M = M + torch.diag(sigma)
    return t @ M.T


def arrangement(kind: str, n: int, d: int, seed: int = 0):
    """Return off_diag and indices as `multiply` takes them, and the flat indices of the values."""
    if kind == "dense":
        k = pattern_size(n, d)
        flat = torch.randperm(n * n, generator=torch.Generator().manual_seed(seed))[:k].sort().values
        return None, flat, flat
    off_diag = 0 if kind == "plain" else min(d, n - 1)
    return off_diag, None, banded_indices(n, off_diag)


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a.double() - b.double()).norm() / b.double().norm().clamp_min(1e-12))


@given(
    st.sampled_from(KINDS),
    st.integers(1, 9),
    st.integers(0, 4),
    st.sampled_from([(5,), (1,), (2, 3), (0, 4)]),
    st.booleans(),
    st.sampled_from(list(TOLERANCE)),
)
def test_product_and_gradients_equal_dense_autograd(kind, n, d, batch, with_sigma, dtype):
    off_diag, indices, flat = arrangement(kind, n, d)
    generator = torch.Generator().manual_seed(n)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    t = torch.randn(*batch, n, generator=generator).to(dtype).requires_grad_()
    values = torch.randn(len(flat), generator=generator).to(wide).requires_grad_()
    sigma = torch.rand(n, generator=generator).to(wide) if with_sigma else None
    direction = torch.randn(*batch, n, generator=generator).to(dtype)

    out = multiply(t, values, off_diag=off_diag, indices=indices, sigma=sigma)
    assert out.dtype == dtype
    out.backward(direction)

    t_, values_ = (x.detach().double().requires_grad_() for x in (t, values))
    expected = reference(t_, values_, flat, None if sigma is None else sigma.double())
    expected.backward(direction.double())
    assert values.grad.dtype == wide
    assert relative(out.detach(), expected.detach()) < TOLERANCE[dtype]
    assert relative(t.grad, t_.grad) < TOLERANCE[dtype]
    assert relative(values.grad, values_.grad) < TOLERANCE[dtype]


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_equal_finite_differences(kind):
    off_diag, indices, flat = arrangement(kind, 5, 1)
    t = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    values = torch.randn(len(flat), dtype=torch.float64, requires_grad=True)
    sigma = torch.rand(5, dtype=torch.float64)
    torch.autograd.gradcheck(
        lambda t, values: multiply(t, values, off_diag=off_diag, indices=indices, sigma=sigma), (t, values)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_it_works_where_only_one_side_needs_a_gradient(kind):
    off_diag, indices, flat = arrangement(kind, 6, 1)
    for needs in ("t", "values"):
        t = torch.randn(3, 6, requires_grad=needs == "t")
        values = torch.randn(len(flat), requires_grad=needs == "values")
        multiply(t, values, off_diag=off_diag, indices=indices).sum().backward()
        assert (t.grad is None) == (needs != "t")
        assert (values.grad is None) == (needs != "values")


@pytest.mark.parametrize("kind", KINDS)
def test_inputs_of_any_memory_layout(kind):
    off_diag, indices, flat = arrangement(kind, 6, 1)
    values = torch.randn(len(flat), dtype=torch.float64)
    t = torch.randn(6, 4, 3, dtype=torch.float64).permute(2, 1, 0).requires_grad_()
    out = multiply(t, values, off_diag=off_diag, indices=indices)
    torch.testing.assert_close(out, reference(t, values, flat, None))
    (grad,) = torch.autograd.grad(out, t, torch.ones(6, 4, 3, dtype=torch.float64).permute(2, 1, 0))
    (expected,) = torch.autograd.grad(reference(t, values, flat, None).sum(), t)
    torch.testing.assert_close(grad, expected)


def test_dense_coefficients_stand_where_their_flat_index_says():
    M = dense_coefficients(torch.tensor([1.0, 2.0]), torch.tensor([1, 6]), 3)
    assert M.tolist() == [[0, 1, 0], [0, 0, 0], [2, 0, 0]]
