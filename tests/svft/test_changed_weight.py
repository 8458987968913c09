"""W changes after it was decomposed, in every way there is: the layer computes from the W that is there."""

from __future__ import annotations

import copy
import io
import warnings

import pytest
import torch
from peft import PeftModel, get_peft_model, set_base_model_state_dict
from safetensors.torch import load_file
from torch import nn

import svft
from svft.basis import fingerprint
from svft.linear import Linear
from svft.state.freshness import Snapshot, Witness
from tests.svft.tiny import config_for, expected_delta, make_model, svft_layers, train_by_hand

PATTERNS = {
    "plain": {"pattern": "plain"},
    "banded": {"pattern": "banded", "off_diag": 1},
    "random": {"pattern": "random", "off_diag": 2},
    "custom": {"pattern": "custom", "custom_indices": {"0": [(0, 1), (3, 0), (7, 7)]}},
}
every_pattern = pytest.mark.parametrize("options", PATTERNS.values(), ids=PATTERNS)


def new(seed: int = 0, out: int = 20, in_: int = 12) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(in_, out))


def adapt(base: nn.Module, trained: bool = True, **options):
    model = get_peft_model(base, svft.SvftConfig(target_modules=["0"], **(options or PATTERNS["banded"])))
    return train_by_hand(model) if trained else model


def layer_of(model) -> Linear:
    return model.base_model.model[0]


def base_of(model) -> nn.Module:
    return nn.Sequential(copy.deepcopy(layer_of(model).base_layer))


def x_for(model) -> torch.Tensor:
    return torch.randn(5, layer_of(model).in_features, generator=torch.Generator().manual_seed(3))


def dense(model, x: torch.Tensor, adapter: str = "default") -> torch.Tensor:
    """Return (W + ΔW) x + b in float64, from the W that is there."""
    layer = layer_of(model)
    W = layer.get_matrix().double() + expected_delta(layer, adapter)
    return x.double() @ W.T + layer.base_layer.bias.double()


def assert_right(model, x=None) -> None:
    """Enabled, disabled and merged agree with dense float64, and nothing is left of another W."""
    x = x_for(model) if x is None else x
    torch.testing.assert_close(model(x).double(), dense(model, x), rtol=1e-6, atol=2e-6)
    with model.disable_adapter():
        assert torch.equal(model(x), layer_of(model).base_layer(x))
    merged = copy.deepcopy(model).merge_and_unload()
    torch.testing.assert_close(merged(x).double(), dense(model, x), rtol=1e-6, atol=2e-6)


@pytest.fixture
def folds(monkeypatch):
    """Record whether the folded form was used."""
    used = []
    folded = Linear._folded
    monkeypatch.setattr(Linear, "_folded", lambda self, *args: used.append(True) or folded(self, *args))
    return used


# -- ways to change a weight


def replace_through_peft(model):
    set_base_model_state_dict(model, new(1).state_dict())


def load_into_the_layer(model):
    layer_of(model).base_layer.load_state_dict(new(1)[0].state_dict())


def load_assigned(model):
    layer_of(model).base_layer.load_state_dict(new(1)[0].state_dict(), assign=True)


def write_in_place(model):
    with torch.no_grad():
        layer_of(model).base_layer.weight[3, 5] += 1


def write_past_autograd(model):
    layer_of(model).base_layer.weight.data[3, 5] += 1


def negate_past_autograd(model):
    layer_of(model).base_layer.weight.data.neg_()


def swap_columns_past_autograd(model):
    W = layer_of(model).base_layer.weight.data
    W.copy_(W[:, [1, 0, *range(2, W.shape[1])]])


def average_past_autograd(model):
    layer_of(model).base_layer.weight.data.lerp_(new(1)[0].weight.data, 1e-3)


def write_in_inference_mode(model):
    with torch.inference_mode():
        layer_of(model).base_layer.weight.data.mul_(2)


def other_data(model):
    layer_of(model).base_layer.weight.data = new(1)[0].weight.data


def other_parameter(model):
    layer_of(model).base_layer.weight = nn.Parameter(new(1)[0].weight.detach(), requires_grad=False)


def from_a_vector(model):
    W = layer_of(model).base_layer.weight
    torch.nn.utils.vector_to_parameters(torch.linspace(-1, 1, W.numel()), [W])


def as_a_view_of_numpy(model):
    layer_of(model).base_layer.weight.detach().numpy()[2, 2] = 3


CHANGES = [
    replace_through_peft, load_into_the_layer, load_assigned, write_in_place, write_past_autograd,
    negate_past_autograd, swap_columns_past_autograd, average_past_autograd, write_in_inference_mode, other_data,
    other_parameter, from_a_vector, as_a_view_of_numpy,
]  # fmt: skip
every_change = pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)


@every_change
@pytest.mark.parametrize("ran_before", [True, False])
def test_a_changed_weight_is_used(change, ran_before):
    model = adapt(new())
    if ran_before:
        model(x_for(model))
    before = layer_of(model).get_delta_weight("default")
    change(model)
    assert_right(model)
    assert torch.equal(layer_of(model).get_delta_weight("default"), before)


@every_change
def test_untrained_a_changed_weight_is_the_changed_base_exactly(change):
    model = adapt(new(), trained=False, pattern="plain")
    model(x_for(model))
    change(model)
    assert torch.equal(model(x_for(model)), layer_of(model).base_layer(x_for(model)))


@every_pattern
def test_a_weight_that_is_put_back_is_folded_again(options, folds):
    model = adapt(new(), **options)
    x, weight = x_for(model), layer_of(model).base_layer.weight
    kept = weight.data.clone()
    weight.data.mul_(2)
    assert_right(model)
    assert not folds
    weight.data.copy_(kept)
    assert_right(model)
    assert folds
    folds.clear()
    weight.data = kept  # other memory, equal values
    model(x)
    assert folds


@every_pattern
def test_a_weight_that_asks_for_a_gradient_gets_it_and_learns(options):
    model = adapt(new(), **options)
    layer, x = layer_of(model), x_for(model)
    model(x)
    layer.base_layer.weight.requires_grad_(True)
    optimizer = torch.optim.SGD([layer.base_layer.weight, layer.svft_coefficients["default"]], lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        model(x).square().sum().backward()
        gradient = 2 * dense(model, x).T @ x.double()
        torch.testing.assert_close(layer.base_layer.weight.grad.double(), gradient.detach(), rtol=1e-4, atol=1e-5)
        optimizer.step()
        assert_right(model)
    layer.base_layer.weight.requires_grad_(False)
    assert_right(model)


def test_a_parametrized_weight_is_used():
    class Twice(nn.Module):
        def forward(self, W):
            return 2 * W

    model = adapt(new())
    nn.utils.parametrize.register_parametrization(layer_of(model).base_layer, "weight", Twice())
    x = x_for(model)
    torch.testing.assert_close(model(x).double(), dense(model, x), rtol=0, atol=2e-6)


def test_a_weight_in_functional_call_is_used():
    model = adapt(new())
    other = new(1)[0].weight.detach()
    x = x_for(model)
    out = torch.func.functional_call(model, {"base_model.model.0.base_layer.weight": other}, (x,))
    layer_of(model).base_layer.weight.data.copy_(other)
    torch.testing.assert_close(out.double(), dense(model, x), rtol=0, atol=2e-6)


# -- what is no change


def test_copies_and_round_trips_fold_on(folds):
    model = adapt(new())
    x = x_for(model)
    expected = model(x)
    stream = io.BytesIO()
    torch.save(model, stream)
    stream.seek(0)
    for other in (
        copy.deepcopy(model),
        torch.load(stream, weights_only=False),
        model.to("cpu"),
        model.double().float(),
    ):
        folds.clear()
        torch.testing.assert_close(other(x), expected, rtol=1e-6, atol=1e-6)
        assert folds
    model.share_memory()
    folds.clear()
    model(x)
    assert folds


def test_merging_drifts_a_weight_which_is_then_used_but_saved_as_before(tmp_path):
    model = adapt(new())
    layer_of(model).svft_coefficients["default"].data.mul_(1e5)
    model.merge_adapter()
    model.save_pretrained(str(tmp_path / "merged"))
    model.unmerge_adapter()
    layer_of(model).svft_coefficients["default"].data.mul_(1e-5)
    assert_right(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        model.save_pretrained(str(tmp_path / "unmerged"))
    for name in ("merged", "unmerged"):
        assert not any("svft_U" in key for key in load_file(tmp_path / name / "adapter_model.safetensors"))
    loaded = PeftModel.from_pretrained(new(), str(tmp_path / "unmerged"))
    torch.testing.assert_close(
        layer_of(loaded).get_delta_weight("default"), layer_of(model).get_delta_weight("default")
    )


def test_a_weight_that_changed_while_merged_is_no_drift(tmp_path):
    model = adapt(new())
    model.merge_adapter()
    layer_of(model).base_layer.weight.data.mul_(2)
    model.unmerge_adapter()
    assert_right(model)
    with pytest.warns(UserWarning, match="have changed since they were decomposed"):
        model.save_pretrained(str(tmp_path))


# -- saving


@every_change
@pytest.mark.parametrize("low_cpu_mem_usage", [False, True])
def test_an_adapter_of_a_changed_weight_brings_its_basis_along(tmp_path, change, low_cpu_mem_usage):
    model = adapt(new())
    change(model)
    with pytest.warns(UserWarning, match=r"weights of 0 have changed .* loads? onto any weights"):
        model.save_pretrained(str(tmp_path))
    base = base_of(model)
    x = x_for(model)
    for onto in (base, new(0), new(2)):
        weight = onto[0].weight.detach().clone()
        loaded = PeftModel.from_pretrained(onto, str(tmp_path), low_cpu_mem_usage=low_cpu_mem_usage)
        assert torch.equal(layer_of(loaded).base_layer.weight, weight)
        torch.testing.assert_close(
            layer_of(loaded).get_delta_weight("default"), layer_of(model).get_delta_weight("default")
        )
        assert_right(loaded)
    loaded = PeftModel.from_pretrained(base_of(model), str(tmp_path))
    torch.testing.assert_close(loaded(x), model(x))
    loaded.save_pretrained(str(tmp_path / "again"))
    again = PeftModel.from_pretrained(base_of(model), str(tmp_path / "again"))
    torch.testing.assert_close(again(x), model(x))


def test_an_unchanged_weight_saves_no_basis(tmp_path):
    model = adapt(new())
    layer_of(model).base_layer.weight.data = layer_of(model).base_layer.weight.data.clone()
    model.save_pretrained(str(tmp_path))
    assert not any("svft_U" in key for key in load_file(tmp_path / "adapter_model.safetensors"))


# -- adding an adapter


@every_change
def test_a_second_adapter_of_a_changed_weight_has_the_basis_of_the_new_weight(tmp_path, change):
    model = adapt(new())
    first = layer_of(model).get_delta_weight("default")
    change(model)
    model.add_adapter("second", svft.SvftConfig(target_modules=["0"], pattern="plain"))
    train_by_hand(model, "second")
    layer = layer_of(model)
    assert torch.equal(layer.get_delta_weight("default"), first)
    U, V = layer.get_basis("second")
    W = (U * layer.svft_sigma["second"]) @ V.T
    torch.testing.assert_close(W, layer.base_layer.weight.detach(), rtol=0, atol=1e-5)
    x = x_for(model)
    for name in ("default", "second"):
        model.set_adapter(name)
        torch.testing.assert_close(model(x).double(), dense(model, x, name), rtol=0, atol=5e-6)
    model.save_pretrained(str(tmp_path))
    base = base_of(model)
    loaded = PeftModel.from_pretrained(base, str(tmp_path / "second"), adapter_name="second")
    torch.testing.assert_close(layer_of(loaded).get_delta_weight("second"), layer.get_delta_weight("second"))


# -- whole checkpoints


@every_pattern
@pytest.mark.parametrize("ran_before", [True, False])
@pytest.mark.parametrize("assign", [False, True])
def test_a_whole_checkpoint_gives_the_model_it_came_from(options, ran_before, assign):
    a, b = adapt(new(1), **options), adapt(new(2), **options)
    x = x_for(a)
    if ran_before:
        b(x)
    result = b.load_state_dict(a.state_dict(), assign=assign)
    assert not result.missing_keys
    assert not result.unexpected_keys
    torch.testing.assert_close(b(x), a(x), rtol=0, atol=1e-6)
    assert_right(b)


@pytest.mark.parametrize("order", ["weight first", "adapter first"])
@pytest.mark.parametrize("ran_between", [True, False])
def test_a_checkpoint_may_come_in_parts(order, ran_between):
    a, b = adapt(new(1)), adapt(new(2))
    x = x_for(a)
    parts = [{key: t for key, t in a.state_dict().items() if ("svft_" in key) == adapter} for adapter in (False, True)]
    for part in parts if order == "weight first" else reversed(parts):
        b.load_state_dict(part, strict=False)
        if ran_between and (order == "weight first" or part is parts[0]):
            b(x)
    torch.testing.assert_close(b(x), a(x), rtol=0, atol=1e-6)


def test_an_adapter_that_came_without_its_weight_is_a_sentence_until_the_weight_comes():
    a, b = adapt(new(1)), adapt(new(2))
    x = x_for(a)
    b.load_state_dict({key: t for key, t in a.state_dict().items() if "svft_" in key}, strict=False)
    with pytest.raises(svft.BasisMismatchError, match="estimated error of ΔW"):
        b(x)
    b.load_state_dict({key: t for key, t in a.state_dict().items() if "svft_" not in key}, strict=False)
    torch.testing.assert_close(b(x), a(x), rtol=0, atol=1e-6)


def test_a_checkpoint_of_a_changed_weight_brings_the_basis_along():
    a, b = adapt(new(1)), adapt(new(2))
    write_past_autograd(a)
    x = x_for(a)
    assert not any(b.load_state_dict(a.state_dict()))
    torch.testing.assert_close(b(x), a(x), rtol=0, atol=1e-6)
    # and the next checkpoint, which needs none, is not mixed up with it
    a, c = adapt(new(3)), copy.deepcopy(b)
    assert not any(c.load_state_dict(a.state_dict()))
    torch.testing.assert_close(c(x), a(x), rtol=0, atol=1e-6)


def test_a_checkpoint_of_two_adapters():
    models = []
    for seed in (1, 2):
        model = adapt(new(seed))
        model.add_adapter("second", svft.SvftConfig(target_modules=["0"], pattern="random", off_diag=1))
        models.append(train_by_hand(model, "second", seed=seed))
    a, b = models
    x = x_for(a)
    b(x)
    b.load_state_dict(a.state_dict())
    for name in ("default", "second"):
        a.set_adapter(name)
        b.set_adapter(name)
        torch.testing.assert_close(b(x), a(x), rtol=0, atol=1e-6)
    assert not any("svft_U" in key for key in b.state_dict())


def test_a_model_that_was_emptied_and_filled_again():
    a = adapt(new(1))
    x, state = x_for(a), {key: t.clone() for key, t in a.state_dict().items()}
    expected = a(x)
    a.to_empty(device="cpu")
    for parameter in (*a.parameters(), *a.buffers()):
        parameter.data.fill_(1)
    a.load_state_dict(state)
    torch.testing.assert_close(a(x), expected, rtol=0, atol=1e-6)
    a.to("meta").to_empty(device="cpu")
    a.load_state_dict(state)
    torch.testing.assert_close(a(x), expected, rtol=0, atol=1e-6)


def test_a_whole_model_of_transformers():
    a = train_by_hand(get_peft_model(make_model(seed=1), config_for("random")))
    b = get_peft_model(make_model(seed=2), config_for("random"))
    b.load_state_dict(a.state_dict())
    for layer, other in zip(svft_layers(a).values(), svft_layers(b).values(), strict=True):
        torch.testing.assert_close(layer.get_delta_weight("default"), other.get_delta_weight("default"))


# -- the witness itself


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
