"""Adapters that keep only the columns of U and V that their entries use, and files that bring those along."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import PeftConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import nn
from transformers.pytorch_utils import Conv1D

import svft
from svft import cache
from svft.decomposition import decompose
from svft.patterns import PATTERNS
from svft.state.columns import Columns, keeps_used_columns, take_columns, used_columns
from tests.svft.tiny import config_for, logits, make_inputs, make_model, svft_layers, train_by_hand

ONE_EACH = [(0, 3), (5, 1), (2, 6), (7, 0)]  # no row or column twice: M' is diagonal
SHARED = [(4, 3), (0, 3), (0, 1), (2, 1)]
FEW = {
    "one a row and column": {"pattern": "custom", "custom_indices": {"0": ONE_EACH}},
    "shared": {"pattern": "custom", "custom_indices": {"0": SHARED}},
    "random": {"pattern": "random", "budget": 5},
    "plain": {"pattern": "plain", "rank": 4},
    "banded": {"pattern": "banded", "off_diag": 1, "rank": 5},
}
every_few = pytest.mark.parametrize("options", FEW.values(), ids=FEW)
FILE = "adapter_model.safetensors"
STEM = "base_model.model.0.svft_"


def new(seed: int = 0, out: int = 20, in_: int = 24, dtype: torch.dtype = torch.float32, kind=nn.Linear) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layer = kind(out, in_) if kind is Conv1D else kind(in_, out)
        layer.weight.data = torch.randn(layer.weight.shape) / in_**0.5
        return nn.Sequential(layer).to(dtype)


def adapt(base: nn.Module | None = None, seed: int = 0, **options) -> PeftModel:
    base = new() if base is None else base
    return train_by_hand(get_peft_model(base, svft.SvftConfig(target_modules=["0"], **options)), seed=seed)


def layer_of(model: nn.Module) -> svft.SvftLayer:
    return model.base_model.model[0]


def delta(model: nn.Module, name: str = "default") -> torch.Tensor:
    return layer_of(model)._delta(name).double()


def dense_delta(layer: svft.SvftLayer, W: torch.Tensor, name: str = "default") -> torch.Tensor:
    """Return U M Vᵀ in float64, from a decomposition of W that the layer has nothing to do with."""
    found = decompose(W.float())
    rows, cols = layer.coefficient_positions(name)
    M = torch.zeros(len(found.sigma), len(found.sigma), dtype=torch.float64)
    M[rows, cols] = layer.svft_coefficients[name].detach().double()
    return found.U.double() @ M @ found.V.double().T


def columns_in_memory(layer: svft.SvftLayer, name: str = "default") -> tuple[int, int]:
    assert layer.svft_shared_U is None
    assert layer.svft_shared_V is None
    return layer.svft_U[name].shape[1], layer.svft_V[name].shape[1]


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found.double() - expected.double()).norm() / expected.double().norm())


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
    found = model(x)
    assert relative(found, x.detach().double() @ whole.T + b) < tolerance
    found.square().sum().backward()
    by_output = 2 * (x.detach().double() @ whole.T + b)
    assert relative(x.grad, by_output @ whole) < 10 * tolerance
    basis = decompose(W.float())
    by_weight = by_output.flatten(0, 1).T @ x.detach().double().flatten(0, 1)
    by_entry = (basis.U.double().T @ by_weight @ basis.V.double())[rows, cols]
    assert relative(layer.svft_coefficients["default"].grad, by_entry) < 10 * tolerance
    model.merge_adapter()
    assert relative(model(x), found) < tolerance
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
    model = adapt(**options)
    x, state = torch.randn(3, 24), {key: t.clone() for key, t in model.state_dict().items()}
    expected = model(x)
    model.to_empty(device="cpu")
    for parameter in (*model.parameters(), *model.buffers()):
        parameter.data.fill_(1)
    model.load_state_dict(state)
    torch.testing.assert_close(model(x), expected, rtol=0, atol=1e-6)
    model.to("meta").to_empty(device="cpu")
    model.load_state_dict(state)
    torch.testing.assert_close(model(x), expected, rtol=0, atol=1e-6)


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


# -- files that bring the columns


@every_few
@pytest.mark.parametrize("low_cpu_mem_usage", [False, True])
@pytest.mark.parametrize("is_trainable", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_an_adapter_with_its_columns_loads_without_a_decomposition(
    tmp_path, monkeypatch, options, low_cpu_mem_usage, is_trainable, dtype
):
    model = adapt(embed_basis=True, **options)
    model.save_pretrained(str(tmp_path))
    file = load_file(tmp_path / FILE)
    rows, cols = layer_of(model).coefficient_positions("default")
    assert file[f"{STEM}U"].shape == (20, len(set(rows.tolist())))
    assert file[f"{STEM}V"].shape == (24, len(set(cols.tolist())))
    monkeypatch.setattr(svft.SvftLayer, "decomposer", None)
    loaded = PeftModel.from_pretrained(
        new(3, dtype=dtype), str(tmp_path), low_cpu_mem_usage=low_cpu_mem_usage, is_trainable=is_trainable
    )
    rounding = {torch.bfloat16: 1e-2, torch.float16: 2e-3}.get(dtype, 1e-6)
    assert relative(delta(loaded), delta(model)) < rounding
    x = torch.randn(3, 24).to(dtype)
    expected = x.double() @ (layer_of(loaded).get_matrix().double() + delta(model)).T
    assert relative(loaded(x) - layer_of(loaded).base_layer.bias, expected) < max(rounding, 1e-5)
    loaded.save_pretrained(str(tmp_path / "again"))
    again = load_file(tmp_path / "again" / FILE)
    assert again.keys() == file.keys()
    assert torch.equal(again[f"{STEM}fingerprint"], file[f"{STEM}fingerprint"])
    if is_trainable:
        train_by_hand(loaded)
        loaded(x).square().sum().backward()
        assert layer_of(loaded).svft_coefficients["default"].grad.abs().max() > 0


@pytest.mark.parametrize("pattern", ["plain", "banded", "random", "custom"])
@pytest.mark.parametrize("architecture", ["bert", "gpt2"])
def test_transformers_loads_it_without_a_decomposition(tmp_path, monkeypatch, architecture, pattern):
    targets = {"bert": ["query", "value"], "gpt2": ["c_attn", "c_fc"]}[architecture]
    config = config_for(pattern, embed_basis=True, target_modules=targets)
    model = train_by_hand(get_peft_model(make_model(architecture), config))
    model.save_pretrained(str(tmp_path), save_embedding_layers=False)
    expected = logits(model, make_inputs(architecture))
    monkeypatch.setattr(svft.SvftLayer, "decomposer", None)
    loaded = make_model(architecture)
    loaded.load_adapter(str(tmp_path))
    torch.testing.assert_close(logits(loaded, make_inputs(architecture)), expected, rtol=1e-4, atol=1e-4)


def test_top_k_with_its_columns_is_that_of_the_file(tmp_path):
    model = adapt(new(0, 20, 20), pattern="top_k", budget=6, embed_basis=True)
    model.save_pretrained(str(tmp_path))
    for dtype in (torch.float32, torch.bfloat16):
        loaded = PeftModel.from_pretrained(new(3, 20, 20, dtype), str(tmp_path))
        assert relative(delta(loaded), delta(model)) < (1e-2 if dtype == torch.bfloat16 else 1e-6)


@every_few
@pytest.mark.parametrize("low_cpu_mem_usage", [False, True])
def test_a_file_with_all_columns_loads_as_before(tmp_path, options, low_cpu_mem_usage):
    model = adapt(embed_basis=True, **options)
    model.save_pretrained(str(tmp_path))
    found, rank = decompose(new()[0].weight), layer_of(model).spec["default"].rank
    file = load_file(tmp_path / FILE) | {
        f"{STEM}U": found.U[:, :rank].contiguous(), f"{STEM}V": found.V[:, :rank].contiguous()
    }  # fmt: skip
    save_file(file, tmp_path / FILE)
    loaded = PeftModel.from_pretrained(new(3), str(tmp_path), low_cpu_mem_usage=low_cpu_mem_usage)
    assert relative(delta(loaded), delta(model)) < 1e-6
    assert columns_in_memory(layer_of(loaded)) == columns_in_memory(layer_of(model))
    ignoring = PeftModel.from_pretrained(new(3), str(tmp_path), ignore_mismatched_sizes=True)
    assert relative(delta(ignoring), delta(model)) < 1e-6
    whole = adapt(new(4), **options)  # past PEFT
    state = {f"{key}.default": t for key, t in file.items()}
    whole.load_state_dict(state, strict=False)
    assert relative(delta(whole), delta(model)) < 1e-6


def test_a_file_with_another_number_of_columns_gets_a_sentence(tmp_path):
    adapt(embed_basis=True, **FEW["shared"]).save_pretrained(str(tmp_path))
    file = load_file(tmp_path / FILE)
    file[f"{STEM}U"] = file[f"{STEM}U"][:, :2].contiguous()
    save_file(file, tmp_path / FILE)
    with pytest.raises(ValueError, match=r"U of the adapter default on 0 has 2 columns, but .* use 3 of 20"):
        PeftModel.from_pretrained(new(), str(tmp_path))


def test_a_saved_configuration_can_start_another_adapter(tmp_path):
    trained = adapt(embed_basis=True, **FEW["shared"])
    trained.save_pretrained(str(tmp_path))
    config = PeftConfig.from_pretrained(str(tmp_path))
    model = get_peft_model(new(), config)  # nothing comes with it
    x = torch.randn(3, 24)
    assert torch.equal(model(x), layer_of(model).base_layer(x))
    layer_of(model).svft_coefficients["default"].data.copy_(layer_of(trained).svft_coefficients["default"])
    assert relative(delta(model), delta(trained)) < 1e-6
    model.save_pretrained(str(tmp_path / "again"))
    assert relative(delta(PeftModel.from_pretrained(new(3), str(tmp_path / "again"))), delta(trained)) < 1e-6


def test_a_state_without_columns_takes_the_place_of_one_with_them():
    """Its coefficients belong to W's own singular vectors, whatever those were that the adapter brought."""
    bare, other = adapt(**FEW["shared"]), adapt(new(3), seed=5, embed_basis=True, **FEW["shared"])
    model = adapt(embed_basis=True, **FEW["shared"])
    set_peft_model_state_dict(model, get_peft_model_state_dict(other))
    assert relative(delta(model), delta(other)) < 1e-6
    set_peft_model_state_dict(model, get_peft_model_state_dict(bare))
    assert relative(delta(model), delta(bare)) < 1e-6


@pytest.mark.parametrize("embed_basis", [False, True])
@every_few
def test_hotswapping_replaces_no_tensor(tmp_path, options, embed_basis):
    model, other = (adapt(seed=seed, embed_basis=embed_basis, **options) for seed in (1, 2))
    other.save_pretrained(str(tmp_path))
    places = [layer_of(model).svft_coefficients["default"].data_ptr(), layer_of(model).svft_U["default"].data_ptr()]
    svft.hotswap_adapter(model, str(tmp_path), "default")
    assert relative(delta(model), delta(other)) < 1e-6
    assert places == [
        layer_of(model).svft_coefficients["default"].data_ptr(), layer_of(model).svft_U["default"].data_ptr()
    ]  # fmt: skip


def test_a_mixed_batch_of_forms():
    model = adapt(**FEW["shared"])
    for name, options in (("diagonal", FEW["one a row and column"]), ("whole", {"pattern": "banded", "off_diag": 2})):
        model.add_adapter(name, svft.SvftConfig(target_modules=["0"], **options))
        train_by_hand(model, name, seed=6)
    model.eval()
    x = torch.randn(4, 24)
    names = ["default", "__base__", "whole", "diagonal"]
    found = layer_of(model)(x, adapter_names=names)
    for row, name in enumerate(names):
        update = 0 if name == "__base__" else delta(model, name)
        W = layer_of(model).get_matrix().double() + update
        assert relative(found[row], x[row].double() @ W.T + layer_of(model).base_layer.bias.double()) < 1e-5


def test_the_adapters_of_a_whole_model_of_transformers_keep_few_columns():
    model = train_by_hand(get_peft_model(make_model(), svft.SvftConfig(pattern="random", budget=24)))
    for layer in svft_layers(model).values():
        assert max(columns_in_memory(layer)) <= 3
        assert isinstance(layer.columns["default"], Columns)
