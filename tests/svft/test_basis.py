"""The basis problem, by really changing the basis between saving and loading."""

from __future__ import annotations

import re
import warnings
from types import SimpleNamespace

import pytest
import torch
from peft import PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import nn

import svft
from svft import allow_basis_mismatch, basis, decomposition
from svft.basis import BasisMismatchError, fingerprint, same_weight, signature
from svft.decomposition import Decomposition, decompose
from tests.svft.tiny import config_for, logits, make_inputs, make_model, svft_layers, train_by_hand

every_pattern = pytest.mark.parametrize("pattern", ["plain", "banded", "random", "top_k", "custom"])


@pytest.fixture
def change_basis(monkeypatch):
    """Make every decomposition from here on come out as `change(decomposition)`, as another machine's might."""

    def install(change):
        def changed(weight, *args, **kwargs):
            actual = decompose(weight, *args, **kwargs)
            U, V = change(actual)
            return Decomposition(U, actual.sigma, V, signature(U, V), actual.fingerprint, actual.error)

        changed_here = SimpleNamespace(decompose=changed, recall=decomposition.recall)
        monkeypatch.setattr(svft.SvftLayer, "decomposer", changed_here)

    return install


def saved_adapter(directory, base: nn.Module, config: svft.SvftConfig) -> nn.Module:
    """Save an adapter with coefficients that are not zero, and return its model."""
    model = train_by_hand(get_peft_model(base, config))
    model.save_pretrained(str(directory), save_embedding_layers=False)
    return model


def deltas(model: nn.Module, adapter: str = "default") -> dict[str, torch.Tensor]:
    return {name: layer.get_delta_weight(adapter).double() for name, layer in svft_layers(model).items()}


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).norm() / b.norm())


# -- signs


def flip_signs(actual: Decomposition) -> tuple[torch.Tensor, torch.Tensor]:
    signs = torch.where(torch.arange(len(actual.sigma)) % 3 == 0, -1.0, 1.0).to(actual.U)
    return actual.U * signs, actual.V * signs


@every_pattern
@pytest.mark.parametrize("low_cpu_mem_usage", [False, True])
def test_flipped_signs_are_repaired_silently(tmp_path, change_basis, pattern, low_cpu_mem_usage):
    trained = saved_adapter(tmp_path, make_model(), config_for(pattern))
    expected = logits(trained, make_inputs())
    change_basis(flip_signs)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        loaded = PeftModel.from_pretrained(make_model(), str(tmp_path), low_cpu_mem_usage=low_cpu_mem_usage)
    torch.testing.assert_close(logits(loaded, make_inputs()), expected, rtol=1e-4, atol=1e-4)
    # Saved again, the adapter speaks the new basis, and the old machine understands it.
    loaded.save_pretrained(str(tmp_path / "again"), save_embedding_layers=False)
    change_basis(lambda actual: (actual.U, actual.V))
    back = PeftModel.from_pretrained(make_model(), str(tmp_path / "again"))
    torch.testing.assert_close(logits(back, make_inputs()), expected, rtol=1e-4, atol=1e-4)


def test_flipped_signs_are_repaired_where_transformers_loads_the_adapter(tmp_path, change_basis):
    expected = logits(saved_adapter(tmp_path, make_model(), config_for("banded")), make_inputs())
    change_basis(flip_signs)
    model = make_model()
    model.load_adapter(str(tmp_path))
    torch.testing.assert_close(logits(model, make_inputs()), expected, rtol=1e-4, atol=1e-4)


# -- equal and vanishing singular values, where an SVD is not unique


class _OneLayer(nn.Module):
    """A model of one weight with a chosen spectrum."""

    def __init__(self, sigma: list[float], out: int = 20):
        super().__init__()
        n = len(sigma)
        generator = torch.Generator().manual_seed(0)
        P = torch.linalg.qr(torch.randn(out, n, generator=generator)).Q
        Q = torch.linalg.qr(torch.randn(n, n, generator=generator)).Q
        self.layer = nn.Linear(n, out)
        self.layer.weight.data = (P * torch.tensor(sigma)) @ Q.T

    def forward(self, x):
        return self.layer(x)


def one_layer_config(pattern: str = "banded", **options) -> svft.SvftConfig:
    options = {"off_diag": 1, **options} if pattern != "plain" else options
    return svft.SvftConfig(pattern=pattern, target_modules=["layer"], **options)


def rotate_pair(actual: Decomposition) -> tuple[torch.Tensor, torch.Tensor]:
    """Rotate the first two vectors of both sides among themselves."""
    angle = torch.tensor(0.7)
    R = torch.stack([torch.stack([angle.cos(), -angle.sin()]), torch.stack([angle.sin(), angle.cos()])])
    U, V = actual.U.clone(), actual.V.clone()
    U[:, :2], V[:, :2] = U[:, :2] @ R, V[:, :2] @ R
    return U, V


def turn_last_left(actual: Decomposition) -> tuple[torch.Tensor, torch.Tensor]:
    """Flip the last left vector alone, which only a vanishing singular value permits."""
    U = actual.U.clone()
    U[:, -1] *= -1
    return U, actual.V


def test_a_rotated_pair_of_equal_singular_values_is_an_error_that_names_the_matrix(tmp_path, change_basis):
    sigma = [2.0, 2.0, 1.0, 0.5, 0.25]
    saved_adapter(tmp_path, _OneLayer(sigma), one_layer_config())
    change_basis(rotate_pair)
    actual = decompose(_OneLayer(sigma).layer.weight)
    U, V = rotate_pair(actual)
    torch.testing.assert_close((U * actual.sigma) @ V.T, _OneLayer(sigma).layer.weight.detach())  # as good an SVD
    with pytest.raises(BasisMismatchError, match=r"1 of 1 matrices .*\(layer\).*rotated.*embed_basis=True"):
        PeftModel.from_pretrained(_OneLayer(sigma), str(tmp_path))


def test_a_rotation_among_directions_that_carry_no_coefficients_does_no_harm(tmp_path, change_basis):
    sigma = [2.0, 2.0, 1.0, 0.5, 0.25]
    config = svft.SvftConfig(pattern="custom", custom_indices={"layer": [(3, 4), (2, 2)]}, target_modules=["layer"])
    trained = saved_adapter(tmp_path, _OneLayer(sigma), config)
    change_basis(rotate_pair)
    loaded = PeftModel.from_pretrained(_OneLayer(sigma), str(tmp_path))
    torch.testing.assert_close(deltas(loaded), deltas(trained), rtol=1e-4, atol=1e-6)


def test_a_vanishing_singular_value_whose_vectors_turn_apart_is_repaired_by_signs(tmp_path, change_basis):
    sigma = [2.0, 1.5, 1.0, 0.5, 0.0]
    trained = saved_adapter(tmp_path, _OneLayer(sigma), one_layer_config())
    change_basis(turn_last_left)
    loaded = PeftModel.from_pretrained(_OneLayer(sigma), str(tmp_path))
    torch.testing.assert_close(deltas(loaded), deltas(trained), rtol=1e-4, atol=1e-6)


def test_vanishing_singular_values_whose_left_vectors_rotate_alone_are_an_error(tmp_path, change_basis):
    sigma = [2.0, 1.5, 1.0, 0.0, 0.0]
    saved_adapter(tmp_path, _OneLayer(sigma), one_layer_config())

    def rotate_left(actual):
        U = actual.U.clone()
        U[:, [3, 4]] = (U[:, [3, 4]] @ torch.tensor([[0.6, -0.8], [0.8, 0.6]]).to(U)).clone()
        return U, actual.V

    change_basis(rotate_left)
    with pytest.raises(BasisMismatchError, match="equal or vanishing singular values"):
        PeftModel.from_pretrained(_OneLayer(sigma), str(tmp_path))


# -- other weights


def perturbed(change) -> nn.Module:
    model = make_model()
    with torch.no_grad():
        change(model.bert.encoder.layer[1].attention.self.value.weight)
    return model


@every_pattern
def test_another_base_model_is_an_error_that_names_the_matrices_and_the_way_out(tmp_path, pattern):
    saved_adapter(tmp_path, make_model(), config_for(pattern))
    total = 4 if pattern == "custom" else 12
    with pytest.raises(BasisMismatchError) as error:
        PeftModel.from_pretrained(make_model(seed=1), str(tmp_path))
    message = str(error.value)
    assert f"{total} of {total} matrices" in message
    assert "bert.encoder.layer.0.attention.self.query" in message
    assert "load the base model that the adapter names" in message
    assert "svft.allow_basis_mismatch()" in message


def test_a_weight_that_differs_by_rounding_has_the_same_basis(tmp_path):
    trained = saved_adapter(tmp_path, make_model(), config_for("banded"))

    def nudge(weight):
        weight[2, 3] *= 1 + 1e-6

    true = deltas(trained)
    for name, delta in deltas(PeftModel.from_pretrained(perturbed(nudge), str(tmp_path))).items():
        assert relative(delta, true[name]) < 1e-4


def test_one_weight_with_another_basis_is_an_error_that_names_it(tmp_path):
    saved_adapter(tmp_path, make_model(), config_for("plain"))

    def change(weight):
        weight[2, 3] += 1

    with pytest.raises(BasisMismatchError, match=r"1 of 12 .*\(bert\.encoder\.layer\.1\.attention\.self\.value\)"):
        PeftModel.from_pretrained(perturbed(change), str(tmp_path))


def test_changes_outside_the_adapted_matrices_do_not_matter(tmp_path):
    saved_adapter(tmp_path, make_model(), config_for("plain"))
    base = make_model()
    base.classifier.weight.data.zero_()
    PeftModel.from_pretrained(base, str(tmp_path))


@pytest.mark.parametrize(("sigma", "out"), [([4.0, 3.0, 2.0, 1.0], 20), ([3.0, 2.0, 1.0], 21)])
def test_a_base_of_other_shapes_gets_a_sentence(tmp_path, sigma, out):
    saved_adapter(tmp_path, _OneLayer([3.0, 2.0, 1.0]), one_layer_config())
    with (
        pytest.warns(UserWarning, match=r"does not fit layer: .* Is this the base model that the adapter names\?"),
        pytest.raises(RuntimeError, match=r"size mismatch for .*layer\.svft_coefficients"),  # PEFT's own
    ):
        PeftModel.from_pretrained(_OneLayer(sigma, out), str(tmp_path))


# -- the same base in another precision


def rounded_model() -> nn.Module:
    return make_model().to(torch.bfloat16)


@pytest.fixture
def elsewhere(change_basis):
    """What follows happens on a machine that has decomposed nothing yet."""
    return lambda: change_basis(lambda actual: (actual.U, actual.V))


def test_the_same_base_in_bfloat16_is_an_error_that_names_the_precision(tmp_path, elsewhere):
    saved_adapter(tmp_path, make_model(), config_for("banded"))
    elsewhere()
    with pytest.raises(
        BasisMismatchError, match=r"trained on float32 weights and these are bfloat16.*load .* float32"
    ):
        PeftModel.from_pretrained(rounded_model(), str(tmp_path))


@every_pattern
def test_the_stated_error_is_within_a_factor_of_two_of_the_true_one(tmp_path, pattern, elsewhere):
    trained = saved_adapter(tmp_path, make_model(), config_for(pattern))
    elsewhere()
    with pytest.warns(UserWarning, match="estimated error of ΔW up to") as caught, allow_basis_mismatch():
        loaded = PeftModel.from_pretrained(rounded_model().float(), str(tmp_path))
    (message,) = [str(w.message) for w in caught if "estimated error" in str(w.message)]
    stated = float(re.search(r"up to ([\d.]+)%", message)[1]) / 100
    true = deltas(trained)
    worst = max(relative(delta, true[name]) for name, delta in deltas(loaded).items())
    assert worst / 2 < stated < worst * 2


def test_allowing_the_mismatch_ends_with_its_block(tmp_path, elsewhere):
    saved_adapter(tmp_path, make_model(), config_for("plain"))
    elsewhere()
    with pytest.warns(UserWarning, match="estimated error"), allow_basis_mismatch():
        PeftModel.from_pretrained(rounded_model(), str(tmp_path))
    with pytest.raises(BasisMismatchError):
        PeftModel.from_pretrained(rounded_model(), str(tmp_path))


def test_an_exact_copy_in_a_wider_type_is_the_same_base(tmp_path):
    trained = saved_adapter(tmp_path, rounded_model(), config_for("banded", basis_dtype="float32"))
    loaded = PeftModel.from_pretrained(rounded_model().float(), str(tmp_path))
    true = deltas(trained)
    for name, delta in deltas(loaded).items():
        assert relative(delta, true[name]) < 1e-2  # get_delta_weight rounds to the base's type


@pytest.mark.parametrize("loads", ["another precision", "rotated", "another base"])
@pytest.mark.parametrize("low_cpu_mem_usage", [False, True])
def test_an_embedded_basis_loads_anywhere(tmp_path, change_basis, loads, low_cpu_mem_usage):
    trained = saved_adapter(tmp_path, make_model(), config_for("banded", embed_basis=True))
    if loads == "rotated":
        change_basis(rotate_pair)
    bases = {"another precision": rounded_model, "rotated": make_model, "another base": lambda: make_model(seed=1)}
    loaded = PeftModel.from_pretrained(bases[loads](), str(tmp_path), low_cpu_mem_usage=low_cpu_mem_usage)
    true = deltas(trained)
    for name, delta in deltas(loaded).items():
        assert relative(delta, true[name]) < (1e-2 if loads == "another precision" else 1e-6)
    # and still does after it was saved from there
    loaded.save_pretrained(str(tmp_path / "again"), save_embedding_layers=False)
    again = PeftModel.from_pretrained(make_model(seed=2), str(tmp_path / "again"))
    for name, delta in deltas(again).items():
        assert relative(delta, true[name]) < (1e-2 if loads == "another precision" else 1e-6)


def test_the_basis_can_be_embedded_after_training(tmp_path):
    trained = saved_adapter(tmp_path / "bare", make_model(), config_for("banded"))
    trained.peft_config["default"].embed_basis = True  # the way out that the errors name
    trained.save_pretrained(str(tmp_path / "embedded"), save_embedding_layers=False)
    loaded = PeftModel.from_pretrained(make_model(seed=1), str(tmp_path / "embedded"))
    true = deltas(trained)
    for name, delta in deltas(loaded).items():
        assert relative(delta, true[name]) < 1e-6


def test_a_promised_basis_that_the_file_lacks_is_that_of_the_same_weights_only(tmp_path):
    trained = saved_adapter(tmp_path, make_model(), config_for("banded", embed_basis=True))
    path = tmp_path / "adapter_model.safetensors"
    save_file({key: t for key, t in load_file(path).items() if "svft_U" not in key}, path)
    with pytest.warns(UserWarning, match="missing adapter keys"):
        loaded = PeftModel.from_pretrained(make_model(), str(tmp_path))
    torch.testing.assert_close(deltas(loaded), deltas(trained))
    with pytest.raises(BasisMismatchError):
        PeftModel.from_pretrained(make_model(seed=1), str(tmp_path))


# -- merging, which drifts the weight


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_second_adapter_added_while_the_first_is_merged_has_the_basis_of_the_pristine_weight(tmp_path, dtype):
    model = train_by_hand(get_peft_model(make_model(dtype=dtype), config_for("banded")))
    model.merge_adapter()
    model.add_adapter("second", config_for("random"))
    train_by_hand(model, "second")
    model.unmerge_adapter()
    model.save_pretrained(str(tmp_path), selected_adapters=["second"], save_embedding_layers=False)
    alone = PeftModel.from_pretrained(make_model(dtype=dtype), str(tmp_path / "second"))
    assert deltas(alone).keys() == deltas(model, "second").keys()
    for name, delta in deltas(alone).items():
        torch.testing.assert_close(delta, deltas(model, "second")[name])


def test_a_merged_weight_is_never_decomposed(elsewhere):
    model = train_by_hand(get_peft_model(make_model(), config_for("plain", rank=4)))
    model.merge_adapter()
    layer = next(iter(svft_layers(model).values()))
    layer.ensure_basis(rank=4, dtype=None)  # is at hand
    layer.ensure_basis(rank=5, dtype=None)  # is in the cache
    elsewhere()
    with pytest.raises(ValueError, match="has the adapter default merged into it: unmerge it before"):
        layer.ensure_basis(rank=6, dtype=None)
    # PEFT unmerges before it adds an adapter, which leaves a weight that has drifted.
    with (
        pytest.warns(UserWarning, match="Unmerging"),
        pytest.raises(ValueError, match="has changed since it was decomposed"),
    ):
        model.add_adapter("second", config_for("plain"))
    assert logits(model, make_inputs()).isfinite().all()
    assert list(model.peft_config) == ["default"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_merge_unmerge_save_and_load(tmp_path, dtype):
    model = train_by_hand(get_peft_model(make_model(dtype=dtype), config_for("banded")))
    true = deltas(model)
    model.merge_adapter()
    model.unmerge_adapter()
    drifted = [not torch.equal(fingerprint(la.get_matrix()), la.own_fingerprint) for la in svft_layers(model).values()]
    assert any(drifted)
    model.save_pretrained(str(tmp_path), save_embedding_layers=False)
    loaded = PeftModel.from_pretrained(make_model(dtype=dtype), str(tmp_path))
    for name, delta in deltas(loaded).items():
        torch.testing.assert_close(delta, true[name])


# -- fingerprint and signature


def test_a_fingerprint_stands_for_shape_and_values_and_remembers_the_type():
    W = torch.randn(6, 4).to(torch.bfloat16)
    assert same_weight(fingerprint(W), fingerprint(W.float()))
    assert not torch.equal(fingerprint(W), fingerprint(W.float()))
    assert basis.fingerprint_dtype(fingerprint(W)) == "bfloat16"
    assert not same_weight(fingerprint(W), fingerprint(W.view(4, 6)))
    assert not same_weight(fingerprint(W), fingerprint(-W))
    assert same_weight(fingerprint(W.T), fingerprint(W.T.contiguous()))
    assert fingerprint(W).shape == (33,)


def test_a_signature_does_not_depend_on_precision_beyond_rounding():
    actual = decompose(torch.randn(30, 20))
    assert actual.signature.shape == (2, 20, 2)
    torch.testing.assert_close(signature(actual.U.double(), actual.V.double()), actual.signature, rtol=0, atol=1e-4)


def test_a_second_rank_of_a_randomized_basis_can_be_saved_and_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr(decomposition, "RANDOMIZED_FROM", 16)
    sigma = [2.0**-i for i in range(16)]
    model = get_peft_model(_OneLayer(sigma), one_layer_config("plain", rank=4))
    model.add_adapter("second", one_layer_config("banded", rank=3))
    train_by_hand(model, "second")
    model.save_pretrained(str(tmp_path), save_embedding_layers=False)
    loaded = PeftModel.from_pretrained(_OneLayer(sigma), str(tmp_path / "second"))
    torch.testing.assert_close(deltas(loaded), deltas(model, "second"), rtol=1e-3, atol=1e-5)
    file = load_file(tmp_path / "second" / "adapter_model.safetensors")
    assert file["base_model.model.layer.svft_sigma"].shape == (3,)
    with pytest.raises(ValueError, match="keeps a randomized basis of rank 4"):
        model.add_adapter("third", one_layer_config("plain"))
