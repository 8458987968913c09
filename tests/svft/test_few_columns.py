"""Adapters keep only the columns of U and V that their entries use, if those are few."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import PeftModel, get_peft_model
from safetensors.torch import load_file
from torch import nn
from transformers.pytorch_utils import Conv1D

import svft
from svft import cache
from svft.decomposition import decompose
from svft.patterns import PATTERNS
from svft.state.columns import Columns, keeps_used_columns, take_columns, used_columns
from tests.svft.few_columns import (
    FEW,
    FILE,
    STEM,
    adapt,
    columns_in_memory,
    delta,
    dense_delta,
    every_few,
    layer_of,
    new,
    relative,
)
from tests.svft.tiny import (
    assert_comes_back_after_emptying,
    make_model,
    svft_layers,
    train_by_hand,
)


@pytest.fixture
def no_svd(monkeypatch):
    """Let whatever needs a decomposition fail."""

    def refused(*_, **__):
        raise AssertionError("a weight was decomposed")

    monkeypatch.setattr(svft.SvftLayer, "decomposer", SimpleNamespace(decompose=refused, recall=refused))


# -- which columns


def test_columns_stand_in_the_order_in_which_entries_name_them_and_all_of_them_in_their_own():
    rows, cols = torch.tensor([5, 2, 5, 0]), torch.tensor([1, 1, 0, 2])
    used = used_columns(rows, cols, rank=6)
    assert used.left.tolist() == [5, 2, 0]
    assert used.right.tolist() == [1, 0, 2]
    assert used.places.tolist() == [0, 3, 1, 8]
    assert not used.diagonal
    whole = used_columns(rows, cols, rank=3)
    assert whole.right.tolist() == [0, 1, 2]
    assert used_columns(torch.tensor([5, 2]), torch.tensor([0, 4]), rank=6).diagonal
    assert not used_columns(torch.tensor([1, 0]), torch.tensor([0, 1]), rank=2).diagonal


def test_few_are_a_third_of_both_sides_together():
    assert keeps_used_columns((384, 384), 128, 128)
    assert not keeps_used_columns((384, 384), 129, 128)
    assert keeps_used_columns((1536, 384), 1, 384)
    assert not keeps_used_columns((1536, 384), 384, 1)


def test_a_side_with_another_number_of_columns_gets_a_sentence():
    side, directions = torch.randn(6, 5), torch.tensor([4, 1])
    assert torch.equal(take_columns(side, directions, 5, "U"), side[:, [4, 1]])
    with pytest.raises(ValueError, match="U has 5 columns, but the entries of its adapter use 2 of 7"):
        take_columns(side, directions, 7, "U")


# -- exactness

shapes = st.tuples(st.integers(6, 30), st.integers(6, 30))
kinds = st.sampled_from([nn.Linear, Conv1D])


@st.composite
def adapters(draw) -> dict:
    """Draw a configuration of an adapter for a weight of `shape`, and what the weight is."""
    shape, kind = draw(shapes), draw(kinds)
    n = min(shape)
    pattern = draw(st.sampled_from(["plain", "banded", "random", "custom"]))
    rank = draw(st.one_of(st.none(), st.integers(2, n)))
    r = rank or n
    options: dict = {"pattern": pattern, "rank": rank, "embed_basis": draw(st.booleans())}
    if pattern == "banded":
        options["off_diag"] = draw(st.integers(0, 3))
    if pattern == "random":
        options["budget"] = draw(st.integers(1, min(r * r, 3 * r)))
    if pattern == "custom":
        entry = st.tuples(st.integers(0, r - 1), st.integers(0, r - 1))
        options["custom_indices"] = {"0": draw(st.lists(entry, min_size=1, max_size=2 * r, unique=True))}
    return {"shape": shape, "kind": kind, "options": options}


@given(adapters(), st.sampled_from([torch.float32, torch.float64]))
@settings(max_examples=60, deadline=None)
def test_every_form_computes_what_dense_algebra_does(drawn, dtype):
    (out, in_), options = drawn["shape"], drawn["options"]
    model = adapt(new(0, out, in_, dtype, drawn["kind"]), **options)
    layer = layer_of(model)
    W, b = layer.get_matrix().detach().double(), layer.base_layer.bias.detach().double()
    expected = dense_delta(layer, W)
    rows, cols = layer.coefficient_positions("default")
    few = keeps_used_columns((out, in_), len(set(rows.tolist())), len(set(cols.tolist())))
    assert (layer.svft_shared_U is None) is (few or options["embed_basis"])
    tolerance = 2e-5 if dtype == torch.float32 else 1e-5  # the reference is decomposed in float32
    assert relative(delta(model), expected.T if layer.fan_in_fan_out else expected) < tolerance
    x = torch.randn(3, 5, in_, dtype=dtype, generator=torch.Generator().manual_seed(1), requires_grad=True)
    whole = W + expected
    actual = model(x)
    assert relative(actual, x.detach().double() @ whole.T + b) < tolerance
    actual.square().sum().backward()
    by_output = 2 * (x.detach().double() @ whole.T + b)
    assert relative(x.grad, by_output @ whole) < 10 * tolerance
    basis = decompose(W.float())
    by_weight = by_output.flatten(0, 1).T @ x.detach().double().flatten(0, 1)
    by_entry = (basis.U.double().T @ by_weight @ basis.V.double())[rows, cols]
    assert relative(layer.svft_coefficients["default"].grad, by_entry) < 10 * tolerance
    model.merge_adapter()
    assert relative(model(x), actual) < tolerance
    model.unmerge_adapter()
    assert relative(layer.get_matrix(), W) < tolerance


@given(drawn=adapters())
@settings(max_examples=25, deadline=None)
def test_every_form_is_saved_and_loaded(tmp_path_factory, drawn):
    (out, in_), directory = drawn["shape"], str(tmp_path_factory.mktemp("adapter"))
    model = adapt(new(0, out, in_, kind=drawn["kind"]), **drawn["options"])
    model.save_pretrained(directory)
    for low_cpu_mem_usage in (False, True):
        loaded = PeftModel.from_pretrained(
            new(0, out, in_, kind=drawn["kind"]), directory, low_cpu_mem_usage=low_cpu_mem_usage
        )
        assert relative(delta(loaded), delta(model)) < 1e-6
        assert (layer_of(loaded).svft_shared_U is None) is (layer_of(model).svft_shared_U is None)
    if drawn["options"]["embed_basis"]:
        half = PeftModel.from_pretrained(new(0, out, in_, torch.bfloat16, drawn["kind"]), directory)
        assert relative(delta(half), delta(model)) < 1e-2


# -- what is in memory, and how it comes back


@every_few
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_only_the_used_columns_are_in_memory(options, dtype):
    model = adapt(new(dtype=dtype), **options)
    layer = layer_of(model)
    rows, cols = layer.coefficient_positions("default")
    assert columns_in_memory(layer) == (len(set(rows.tolist())), len(set(cols.tolist())))
    assert layer.svft_U["default"].dtype == dtype
    assert not any("svft_U" in key or "svft_places" in key for key in model.state_dict())
    held = {tuple(t.shape) for t in model.buffers()}
    assert not {(20, 20), (24, 20)} & held


def test_entries_that_share_no_row_and_no_column_need_no_dense_m(monkeypatch):
    def refused(*_, **__):
        raise AssertionError("a dense M was built")

    monkeypatch.setattr("svft.coefficients.dense_coefficients", refused)
    model = adapt(**FEW["one a row and column"])
    model(torch.randn(2, 24)).sum().backward()
    with pytest.raises(AssertionError, match="a dense M"):
        adapt(**FEW["shared"])(torch.randn(2, 24))


@pytest.mark.parametrize("cached", [True, False])
def test_a_second_adapter_with_a_wider_pattern_gets_the_basis_again(monkeypatch, cached):
    seen = []

    def decomposed(*args):
        seen.append("decompose")
        return cache.decompose(*args)

    recall = cache.recall if cached else lambda *_: None
    monkeypatch.setattr(svft.SvftLayer, "decomposer", SimpleNamespace(decompose=decomposed, recall=recall))
    model = adapt(**FEW["shared"])
    first = delta(model)
    model.add_adapter("second", svft.SvftConfig(target_modules=["0"], pattern="banded", off_diag=1))
    train_by_hand(model, "second", seed=3)
    layer = layer_of(model)
    assert len(seen) == (1 if cached else 2)
    assert layer.svft_shared_U.shape == (20, 20)
    assert torch.equal(delta(model), first)
    assert relative(delta(model, "second"), dense_delta(layer, layer.get_matrix(), "second")) < 1e-5
    x = torch.randn(4, 24)
    model.base_model.set_adapter(["default", "second"])
    expected = x.double() @ (layer.get_matrix().double() + first + delta(model, "second")).T
    assert relative(model(x) - layer.base_layer.bias, expected) < 1e-5
    model.base_model.set_adapter("default")
    assert relative(model(x) - layer.base_layer.bias, x.double() @ (layer.get_matrix().double() + first).T) < 1e-5


@pytest.mark.parametrize("low_cpu_mem_usage", [False, True])
def test_indices_in_the_file_decide_even_if_others_would_be_drawn(tmp_path, monkeypatch, low_cpu_mem_usage):
    model = adapt(**FEW["random"])
    model.save_pretrained(str(tmp_path))

    def another_stream(n, k, *, seed, U, V):
        return torch.arange(n * n - k, n * n)

    random = PATTERNS["random"]
    monkeypatch.setitem(PATTERNS, "random", SimpleNamespace(**{**vars(random), "function": another_stream}))
    loaded = PeftModel.from_pretrained(new(), str(tmp_path), low_cpu_mem_usage=low_cpu_mem_usage)
    assert relative(delta(loaded), delta(model)) < 1e-6
    assert columns_in_memory(layer_of(loaded)) == columns_in_memory(layer_of(model))


@every_few
def test_a_whole_checkpoint_moves_to_another_model(options):
    a, b = adapt(new(1), seed=1, **options), adapt(new(2), seed=2, **options)
    b.load_state_dict(a.state_dict())
    x = torch.randn(3, 24)
    torch.testing.assert_close(b(x), a(x), rtol=0, atol=2e-6)
    assert columns_in_memory(layer_of(b)) == columns_in_memory(layer_of(a))


@every_few
def test_a_model_that_was_emptied_and_filled_again(options):
    assert_comes_back_after_emptying(adapt(**options), torch.randn(3, 24))


@every_few
def test_a_changed_weight_leaves_the_columns_and_the_file_brings_them(tmp_path, options):
    model = adapt(**options)
    before, layer = delta(model), layer_of(model)
    layer.base_layer.weight.data.mul_(2)
    assert torch.equal(delta(model), before)
    x = torch.randn(3, 24)
    expected = x.double() @ (layer.get_matrix().double() + before).T + layer.base_layer.bias.double()
    assert relative(model(x), expected) < 1e-6
    with pytest.warns(UserWarning, match="have changed since they were decomposed"):
        model.save_pretrained(str(tmp_path))
    assert load_file(tmp_path / FILE)[f"{STEM}U"].shape == (20, columns_in_memory(layer)[0])
    assert relative(delta(PeftModel.from_pretrained(new(7), str(tmp_path))), before) < 1e-6
    model.add_adapter("second", svft.SvftConfig(target_modules=["0"]))
    train_by_hand(model, "second")
    assert torch.equal(delta(model), before)
    assert relative(delta(model, "second"), dense_delta(layer, layer.get_matrix(), "second")) < 1e-5


@every_few
def test_a_dial_a_cast_and_a_copy_reach_the_columns(options):
    model = adapt(**options)
    layer, x = layer_of(model), torch.randn(3, 24)
    base, full = layer.base_layer(x), model(x)
    layer.set_scale("default", -0.5)
    torch.testing.assert_close(copy.deepcopy(model)(x), base - 0.5 * (full - base), rtol=1e-5, atol=1e-6)
    layer.set_scale("default", 1.0)
    torch.testing.assert_close(model.double()(x.double()).float(), full, rtol=1e-5, atol=1e-6)
    assert relative(model.bfloat16()(x.bfloat16()), full) < 2e-2
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert relative(model.float()(x), full) < 2e-2


# -- several adapters made one


def union_of(model, *names: str) -> torch.Tensor:
    return sum(weight * delta(model, name) for weight, name in zip((0.5, -2.0), names, strict=True))


@pytest.mark.parametrize("embed_basis", [False, True])
def test_a_sum_of_adapters_with_few_columns(embed_basis):
    model = adapt(embed_basis=embed_basis, **FEW["shared"])
    second = svft.SvftConfig(target_modules=["0"], embed_basis=embed_basis, **FEW["one a row and column"])
    model.add_adapter("second", second)
    train_by_hand(model, "second", seed=4)
    model.add_weighted_adapter(["default", "second"], [0.5, -2.0], "sum")
    assert relative(delta(model, "sum"), union_of(model, "default", "second")) < 1e-5


def test_a_sum_of_adapters_that_brought_their_columns_takes_them_from_those(tmp_path, no_svd, monkeypatch):
    with monkeypatch.context() as here:
        here.setattr(svft.SvftLayer, "decomposer", cache)
        for name in ("shared", "one a row and column"):
            adapt(embed_basis=True, **FEW[name]).save_pretrained(str(tmp_path / name))
    model = PeftModel.from_pretrained(new(5), str(tmp_path / "shared"))  # other weights, so other singular vectors
    model.load_adapter(str(tmp_path / "one a row and column"), "second")
    model.add_weighted_adapter(["default", "second"], [0.5, -2.0], "sum")
    assert relative(delta(model, "sum"), union_of(model, "default", "second")) < 1e-5


def test_a_mixed_batch_of_forms():
    model = adapt(**FEW["shared"])
    for name, options in (("diagonal", FEW["one a row and column"]), ("whole", {"pattern": "banded", "off_diag": 2})):
        model.add_adapter(name, svft.SvftConfig(target_modules=["0"], **options))
        train_by_hand(model, name, seed=6)
    model.eval()
    x = torch.randn(4, 24)
    names = ["default", "__base__", "whole", "diagonal"]
    actual = layer_of(model)(x, adapter_names=names)
    for row, name in enumerate(names):
        update = 0 if name == "__base__" else delta(model, name)
        W = layer_of(model).get_matrix().double() + update
        assert relative(actual[row], x[row].double() @ W.T + layer_of(model).base_layer.bias.double()) < 1e-5


def test_the_adapters_of_a_whole_model_of_transformers_keep_few_columns():
    model = train_by_hand(get_peft_model(make_model(), svft.SvftConfig(pattern="random", budget=24)))
    for layer in svft_layers(model).values():
        assert max(columns_in_memory(layer)) <= 3
        assert isinstance(layer.columns["default"], Columns)
