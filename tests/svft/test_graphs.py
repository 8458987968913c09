"""What records or transforms the computation: compiling, exporting, tracing, torch.func, higher derivatives."""

from __future__ import annotations

import copy

import pytest
import torch
from peft import PeftModel, get_peft_model
from torch import nn
from torch.autograd import forward_ad

import svft
from svft.coefficients import multiply
from svft.layer import SvftLayer
from tests.svft.tiny import expected_delta, full_basis, train_by_hand

PATTERNS = {
    "plain": {"pattern": "plain"},
    "banded": {"pattern": "banded", "off_diag": 1},
    "wide band": {"pattern": "banded", "off_diag": 5},
    "random": {"pattern": "random", "off_diag": 2},
    "top_k": {"pattern": "top_k", "off_diag": 1},
    "custom": {"pattern": "custom", "custom_indices": {"0": [(0, 1), (3, 0), (7, 7)]}},
    "few": {"pattern": "custom", "custom_indices": {"0": [(4, 3), (0, 3), (0, 1)]}},
    "embedded": {"pattern": "random", "off_diag": 1, "rank": 8, "embed_basis": True},
    "rank": {"pattern": "banded", "off_diag": 1, "rank": 8},
}
every_pattern = pytest.mark.parametrize("options", PATTERNS.values(), ids=PATTERNS)
KEY = "base_model.model.0.svft_coefficients.default"


def adapt(trained: bool = True, dtype: torch.dtype = torch.float32, **options) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        base = nn.Sequential(nn.Linear(12, 12)).to(dtype)
    model = get_peft_model(base, svft.SvftConfig(target_modules=["0"], **options)).eval()
    return train_by_hand(model) if trained else model


def layer_of(model: nn.Module) -> SvftLayer:
    return model.base_model.model[0]


def make_x(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*(shape or (5,)), 12, generator=torch.Generator().manual_seed(1)).to(dtype)


def dense_function(model: nn.Module):
    """Return f(values, x), the layer in dense float64 as a function of its coefficients."""
    layer = layer_of(model)
    U, V = (side.double() for side in full_basis(layer))
    rows, cols = layer.coefficient_positions("default")
    W, b = layer.base_layer.weight.double(), layer.base_layer.bias.double()

    def f(values, x):
        M = torch.zeros(U.shape[1], U.shape[1], dtype=torch.float64).index_put((rows, cols), values.double())
        return x.double() @ (W + U @ M @ V.T).T + b

    return f


def function(model: nn.Module):
    """Return f(values, x), the adapted model as a function of its coefficients."""
    return lambda values, x: torch.func.functional_call(model, {KEY: values}, (x,))


# -- recorded


def compiled(model, x):
    torch._dynamo.reset()
    return torch.compile(model, fullgraph=True, backend="aot_eager")


def exported(model, x):
    return torch.export.export(model.base_model.model, (x,)).module()


def traced(model, x):
    return torch.jit.trace(model.base_model.model, (x,))


RECORDS, STATES = (compiled, exported, traced), ("fresh", "ran before", "loaded")
# Every pattern in every way, and each of both in every state.
RECORDED = [
    pytest.param(options, record, STATES[(i + j) % 3], id=f"{STATES[(i + j) % 3]}-{record.__name__}-{name}")
    for i, (name, options) in enumerate(PATTERNS.items())
    for j, record in enumerate(RECORDS)
]


@pytest.mark.parametrize(("options", "record", "state"), RECORDED)
def test_a_recorded_model_gives_what_it_gives_eagerly(tmp_path, options, record, state):
    model, x = adapt(**options), make_x()
    expected = copy.deepcopy(model)(x)
    if state == "ran before":
        model(x)
    if state == "loaded":
        model.save_pretrained(str(tmp_path))
        model = PeftModel.from_pretrained(adapt(**options).unload(), str(tmp_path))
    torch.testing.assert_close(record(model, x)(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("record", [compiled, exported])
def test_a_weight_that_changes_after_recording_is_used(record):
    model, x = adapt(pattern="banded", off_diag=1), make_x()
    recorded = record(model, x)
    recorded(x)
    with torch.no_grad():
        layer_of(model).base_layer.weight.mul_(2)
    torch.testing.assert_close(recorded(x), model(x), rtol=1e-5, atol=1e-5)


@every_pattern
def test_a_compiled_step_trains(options):
    model, x = adapt(**options), make_x()
    model(x).square().sum().backward()
    parameter = layer_of(model).svft_coefficients["default"]
    expected, parameter.grad = parameter.grad, None
    compiled(model, x)(x).square().sum().backward()
    torch.testing.assert_close(parameter.grad, expected, rtol=1e-4, atol=1e-4)


# -- transformed


@every_pattern
def test_gradients_by_torch_func(options):
    model, x = adapt(**options), make_x()
    values = layer_of(model).svft_coefficients["default"].detach().clone()
    f, g = function(model), dense_function(model)
    for argnums in (0, 1):
        actual = torch.func.grad(lambda *a: f(*a).square().sum(), argnums)(values, x)
        expected = torch.func.grad(lambda *a: g(*a).square().sum(), argnums)(values, x)
        torch.testing.assert_close(actual, expected.float(), rtol=1e-4, atol=1e-4)


@every_pattern
def test_gradients_of_each_sample(options):
    model, x = adapt(**options), make_x(4, 3)
    values = layer_of(model).svft_coefficients["default"].detach().clone()
    f = function(model)
    loss = lambda values, x: f(values, x).square().sum()  # noqa: E731
    actual = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(values, x)
    one_by_one = torch.stack([torch.func.grad(loss)(values, sample) for sample in x])
    torch.testing.assert_close(actual, one_by_one, rtol=1e-4, atol=1e-4)


@every_pattern
def test_an_ensemble_of_coefficients(options):
    model, x = adapt(**options), make_x()
    values = layer_of(model).svft_coefficients["default"].detach()
    many = torch.stack([values, 2 * values, torch.zeros_like(values)])
    actual = torch.func.vmap(function(model), in_dims=(0, None))(many, x)
    torch.testing.assert_close(actual, torch.stack([function(model)(v, x) for v in many]), rtol=1e-5, atol=1e-5)


@every_pattern
def test_forward_derivatives(options):
    model, x = adapt(**options), make_x()
    values = layer_of(model).svft_coefficients["default"].detach().clone()
    tangents = torch.ones_like(values), torch.ones_like(x)
    _, actual = torch.func.jvp(function(model), (values, x), tangents)
    _, expected = torch.func.jvp(dense_function(model), (values, x), tangents)
    torch.testing.assert_close(actual, expected.float(), rtol=1e-4, atol=1e-4)
    with forward_ad.dual_level():  # past torch.func
        dual = forward_ad.make_dual(x, tangents[1])
        actual = forward_ad.unpack_dual(model(dual)).tangent
    W = layer_of(model).base_layer.weight.double() + expected_delta(layer_of(model))
    torch.testing.assert_close(actual, (tangents[1].double() @ W.T).float(), rtol=1e-4, atol=1e-4)


@every_pattern
def test_hessians(options):
    model, x = adapt(**options), make_x(2)
    values = layer_of(model).svft_coefficients["default"].detach().clone()
    f, g = function(model), dense_function(model)
    actual = torch.func.hessian(lambda v: f(v, x).square().sum())(values)
    expected = torch.func.hessian(lambda v: g(v, x).square().sum())(values)
    torch.testing.assert_close(actual, expected.float(), rtol=1e-4, atol=1e-4)


@every_pattern
def test_double_backward(options):
    model, x = adapt(**options), make_x().requires_grad_()
    parameter = layer_of(model).svft_coefficients["default"]
    g = dense_function(model)

    def penalty(f):
        grads = torch.autograd.grad(f(parameter, x).pow(3).sum(), (x, parameter), create_graph=True)
        return torch.autograd.grad(sum(part.square().sum() for part in grads), (x, parameter))

    for actual, expected in zip(penalty(lambda _, x: model(x)), penalty(g), strict=True):
        torch.testing.assert_close(actual, expected.to(actual.dtype), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("off_diag", [0, 1, 3, None])
@pytest.mark.parametrize("with_sigma", [True, False])
def test_derivatives_of_the_product_to_the_second_order(off_diag, with_sigma):
    generator = torch.Generator().manual_seed(0)
    n, indices = 5, torch.tensor([0, 3, 7, 8, 24])
    k = len(indices) if off_diag is None else n * (2 * off_diag + 1) - off_diag * (off_diag + 1)
    t = torch.randn(3, n, generator=generator, dtype=torch.float64, requires_grad=True)
    values = torch.randn(k, generator=generator, dtype=torch.float64, requires_grad=True)
    sigma = torch.rand(n, generator=generator, dtype=torch.float64) if with_sigma else None

    def product(t, values):
        return multiply(t, values, off_diag=off_diag, indices=indices if off_diag is None else None, sigma=sigma)

    assert torch.autograd.gradcheck(product, (t, values), check_forward_ad=True, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(product, (t, values))
