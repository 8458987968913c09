"""The adapted layer: start, exactness, types, the dial, and what a training step keeps."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from peft import get_peft_model
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from transformers.pytorch_utils import Conv1D

import svft
from svft.layer import SvftLayer
from svft.linear import _tf32_allowed
from tests.svft.tiny import expected_delta, train_by_hand

PATTERNS = {
    "plain": {"pattern": "plain"},
    "banded": {"pattern": "banded", "off_diag": 1},
    "wide band": {"pattern": "banded", "off_diag": 5},
    "random": {"pattern": "random", "off_diag": 2},
    "custom": {"pattern": "custom", "custom_indices": {"layer": [(0, 1), (3, 0), (7, 7)]}},
    "few": {"pattern": "custom", "custom_indices": {"layer": [(4, 3), (0, 3), (0, 1)]}},
    "embedded": {"pattern": "random", "off_diag": 1, "embed_basis": True},
}
SHAPES = {"square": (24, 24), "tall": (40, 24), "wide": (24, 40)}
ROUNDING = {torch.float64: 1e-6, torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 3e-3}
every_pattern = pytest.mark.parametrize("options", PATTERNS.values(), ids=PATTERNS)


def make_weight(out: int, in_: int, dtype=torch.float32, conv1d: bool = False) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    layer = Conv1D(out, in_) if conv1d else nn.Linear(in_, out)
    layer.weight.data = torch.randn(layer.weight.shape, generator=generator) / in_**0.5
    layer.bias.data = torch.randn(layer.bias.shape, generator=generator)
    return layer.to(dtype)


def adapt(base: nn.Module, **options) -> tuple[nn.Module, SvftLayer]:
    config = svft.SvftConfig(target_modules=["layer"], **options)
    model = get_peft_model(nn.ModuleDict({"layer": base}), config)
    return model, model.base_model.model["layer"]


def make_x(layer: SvftLayer, dtype=torch.float32, *batch: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(*(batch or (3, 7)), layer.in_features, generator=generator).to(dtype)


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return ((a.double() - b.double()).norm() / b.double().norm()).item()


# -- 4.2 the start


@every_pattern
@pytest.mark.parametrize("dtype", ROUNDING)
def test_it_starts_as_the_base(options, dtype):
    base = make_weight(40, 24, dtype)
    model, layer = adapt(base, **options)
    x = make_x(layer, dtype)
    assert not layer.svft_coefficients["default"].any()
    out = layer(x)
    assert out.dtype == dtype
    assert relative(out, base(x)) <= (1e-6 if dtype == torch.float32 else 0)
    with model.disable_adapter():
        assert torch.equal(layer(x), base(x))


def test_the_noisy_start_is_half_of_kaiming_normal_noise_from_the_generator_of_torch():
    def start(torch_seed, config_seed=0):
        torch.manual_seed(torch_seed)
        return adapt(make_weight(40, 24), pattern="random", off_diag=11, init_weights=False, seed=config_seed)[1]

    values = start(0).svft_coefficients["default"]
    k = values.numel()
    assert values.std().item() == pytest.approx(0.5 * (2 / k) ** 0.5, rel=0.1)
    assert torch.equal(values, start(0, config_seed=1).svft_coefficients["default"])
    assert not torch.equal(values, start(1).svft_coefficients["default"])


# -- 4.3 exactness


@every_pattern
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("conv1d", [False, True], ids=["Linear", "Conv1D"])
def test_the_output_is_that_of_the_dense_updated_weight(options, shape, conv1d):
    base = make_weight(*shape, conv1d=conv1d)
    model, layer = adapt(base, **options)
    train_by_hand(model)
    x = make_x(layer)
    delta = expected_delta(layer)
    W = layer.get_matrix().double()
    assert W.shape == shape
    expected = x.double() @ (W + delta).T + base.bias.double()
    assert relative(layer(x), expected) < 1e-5
    stored = layer.get_delta_weight("default")
    assert stored.shape == base.weight.shape
    assert relative(stored.T if conv1d else stored, delta) < 1e-5


@every_pattern
@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize("conv1d", [False, True], ids=["Linear", "Conv1D"])
def test_merged_equals_unmerged(options, dtype, conv1d):
    base = make_weight(40, 24, dtype, conv1d)
    model, layer = adapt(base, **options)
    train_by_hand(model)
    x = make_x(layer, dtype)
    pristine = base.weight.detach().clone()
    unmerged = layer(x)
    layer.merge(safe_merge=True)
    assert base.weight.dtype == dtype
    assert relative(layer(x), unmerged) < ROUNDING[dtype]
    layer.unmerge()
    assert relative(base.weight, pristine) < ROUNDING[dtype]


def test_the_dial_scales_the_update():
    model, layer = adapt(make_weight(40, 24), pattern="banded", off_diag=2)
    train_by_hand(model)
    x = make_x(layer)
    base, full = layer.base_layer(x), layer(x)
    for scale in (-1.0, 0.0, 0.5, 3.0):
        layer.set_scale("default", scale)
        assert relative(layer(x), base + scale * (full - base)) < 1e-5
        assert relative(layer.get_delta_weight("default").double(), scale * expected_delta(layer)) < 1e-5 or scale == 0
    layer.set_scale("another", 2.0)  # adapters that this layer has not are no business of its


def test_the_dial_cannot_turn_while_the_adapter_is_merged():
    model, layer = adapt(make_weight(40, 24), pattern="plain")
    train_by_hand(model)
    layer.merge()
    with pytest.raises(ValueError, match="unmerge it before turning its dial"):
        layer.set_scale("default", 2.0)


# -- 4.3 the folded form, and only where it is equal


def test_it_folds_in_float32_with_one_adapter_and_the_full_basis(folds):
    _, layer = adapt(make_weight(40, 24), pattern="plain")
    layer(make_x(layer))
    assert folds


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_it_does_not_fold_in_another_type(folds, dtype):
    _, layer = adapt(make_weight(40, 24, dtype), pattern="plain")
    layer(make_x(layer, dtype))
    assert not folds


@pytest.mark.parametrize(
    "options",
    [{"pattern": "plain", "rank": 8}, {"pattern": "plain", "basis_dtype": "bfloat16"},
     {"pattern": "plain", "embed_basis": True}],
    ids=["rank", "basis_dtype", "embed_basis"],
)  # fmt: skip
def test_it_does_not_fold_a_truncated_or_another_basis(folds, options):
    _, layer = adapt(make_weight(40, 24), **options)
    layer(make_x(layer))
    assert not folds


def test_it_does_not_fold_two_adapters(folds):
    model, layer = adapt(make_weight(40, 24), pattern="plain")
    model.add_adapter("second", svft.SvftConfig(target_modules=["layer"]))
    model.base_model.set_adapter(["default", "second"])
    layer(make_x(layer))
    assert not folds


def test_it_does_not_fold_under_autocast(folds):
    _, layer = adapt(make_weight(40, 24), pattern="plain")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(make_x(layer)).dtype == torch.bfloat16
    assert not folds


def test_it_does_not_fold_past_hooks_or_another_forward_of_the_base_layer(folds):
    _, layer = adapt(make_weight(40, 24), pattern="plain")
    base, x = layer.base_layer, make_x(layer)
    seen = []
    handle = base.register_forward_hook(lambda *_: seen.append("hook"))
    layer(x)
    handle.remove()
    base.forward = lambda x: seen.append("forward") or nn.Linear.forward(base, x)  # as accelerate does
    layer(x)
    assert seen == ["hook", "forward"]
    assert not folds


class _NewSettings:
    fp32_precision = "tf32"

    @property
    def allow_tf32(self):
        raise RuntimeError("mix of the legacy and new APIs")  # as torch does


def test_it_notices_tf32_whichever_way_it_was_asked_for(monkeypatch):
    assert not _tf32_allowed()
    monkeypatch.setattr(torch.backends.cuda, "matmul", _NewSettings())
    assert _tf32_allowed()
    monkeypatch.setattr(_NewSettings, "fp32_precision", "ieee")
    assert not _tf32_allowed()
    monkeypatch.setattr(torch.backends.cuda, "matmul", SimpleNamespace(fp32_precision="none", allow_tf32=True))
    assert _tf32_allowed()


# -- 4.3 what a training step builds and keeps


class _NewShapes(TorchDispatchMode):
    """Record the shape of every tensor that is computed, views of the frozen ones apart."""

    def __init__(self, frozen: set[int]):
        super().__init__()
        self.frozen = frozen
        self.seen = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor) and out.untyped_storage().data_ptr() not in self.frozen:
            self.seen.add(tuple(out.shape))
        return out


@every_pattern
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["folded", "additive"])
def test_a_training_step_builds_no_dense_update_and_keeps_no_square_tensor(options, dtype):
    model, layer = adapt(make_weight(40, 24, dtype), **options)
    train_by_hand(model)
    x = make_x(layer, dtype, 3, 7).requires_grad_()
    frozen = {t.untyped_storage().data_ptr() for t in (layer.base_layer.weight, *layer.buffers())}
    kept = []

    def keep(tensor):
        kept.append(tensor)
        return tensor

    with _NewShapes(frozen) as computed:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = layer(x).square().sum()
        loss.backward()
    assert not {(40, 24), (24, 40)} & computed.seen
    new = [t for t in kept if t.untyped_storage().data_ptr() not in frozen]
    assert new
    assert not [t.shape for t in new if t.numel() == 24 * 24]
    assert layer.svft_coefficients["default"].grad.abs().sum() > 0
    assert x.grad.abs().sum() > 0


# -- 4.4 types and memory


@pytest.mark.parametrize("dtype", ROUNDING)
def test_coefficients_are_float32_and_the_basis_has_the_type_of_the_base(dtype):
    model, layer = adapt(make_weight(40, 24, dtype), pattern="plain")
    assert layer.svft_coefficients["default"].dtype == torch.float32
    assert layer.svft_shared_U.dtype == layer.svft_shared_V.dtype == dtype
    assert not any("shared" in key for key in model.state_dict())


def test_the_basis_is_kept_once_whatever_the_number_of_adapters():
    model, layer = adapt(make_weight(40, 24), pattern="plain")
    U = layer.svft_shared_U
    for name in ("b", "c"):
        model.add_adapter(name, svft.SvftConfig(target_modules=["layer"], pattern="random", off_diag=1))
    assert layer.svft_shared_U is U
    assert layer.get_basis("b")[0].untyped_storage().data_ptr() == U.untyped_storage().data_ptr()


@pytest.mark.parametrize("basis_dtype", ["float32", "bfloat16", "float16"])
def test_an_option_sets_the_type_of_the_basis(basis_dtype):
    model, layer = adapt(make_weight(40, 24, torch.bfloat16), pattern="plain", basis_dtype=basis_dtype)
    train_by_hand(model)
    assert layer.svft_shared_U.dtype == getattr(torch, basis_dtype)
    assert layer(make_x(layer, torch.bfloat16)).dtype == torch.bfloat16


def test_a_second_adapter_may_raise_the_type_and_the_rank_of_the_basis():
    model, layer = adapt(make_weight(40, 24, torch.bfloat16), pattern="plain", rank=4)
    train_by_hand(model)
    delta = layer.get_delta_weight("default")
    model.add_adapter("second", svft.SvftConfig(target_modules=["layer"], rank=9, basis_dtype="float32"))
    assert layer.svft_shared_U.shape == (40, 9)
    assert layer.svft_shared_U.dtype == torch.float32
    assert relative(layer.get_delta_weight("default"), delta) < ROUNDING[torch.bfloat16]


# -- 4.6 rank


@pytest.mark.parametrize("pattern", ["plain", "banded", "random", "top_k"])
def test_rank_opens_the_leading_block_only_and_leaves_the_weight_whole(pattern):
    options = {} if pattern == "plain" else {"off_diag": 1}
    base = make_weight(24, 24)
    model, layer = adapt(base, pattern=pattern, rank=6, **options)
    rows, cols = layer.coefficient_positions("default")
    assert max(rows.max(), cols.max()) < 6
    assert len(rows) == (6 if pattern == "plain" else 16)  # 6·3 − 2
    assert layer.get_basis("default")[0].shape[1] <= 6
    assert layer.svft_sigma["default"].shape == (24,)  # the whole spectrum is recorded
    x = make_x(layer)
    assert torch.equal(layer(x), base(x))
    train_by_hand(model)
    assert torch.linalg.matrix_rank(layer.get_delta_weight("default"), rtol=1e-5) <= 6


def test_a_rank_above_n_is_n():
    _, layer = adapt(make_weight(40, 24), pattern="plain", rank=99)
    assert layer.svft_coefficients["default"].shape == (24,)


# -- CUDA


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@every_pattern
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_cuda_gives_what_the_cpu_gives(options, dtype):
    model, layer = adapt(make_weight(40, 24, dtype), **options)
    train_by_hand(model)
    x = make_x(layer, dtype)
    on_cpu = layer(x)
    model.cuda()
    on_cuda = layer(x.cuda())
    assert on_cuda.dtype == dtype
    assert relative(on_cuda.cpu(), on_cpu) < ROUNDING[dtype]
    layer.merge()
    assert relative(layer(x.cuda()).cpu(), on_cpu) < ROUNDING[dtype]


@every_pattern
def test_a_model_that_predicted_first_can_be_trained_after(options):
    _, layer = adapt(make_weight(24, 24), **options)
    x = torch.randn(3, 24)
    with torch.inference_mode():
        before = layer(x).clone()
    layer(x).square().sum().backward()
    assert layer.svft_coefficients["default"].grad.abs().max() > 0
    assert torch.equal(layer(x), before)
