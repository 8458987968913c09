"""Every kind of adapter opens: M and what lies outside the basis give back the update, and the update the logits."""

from __future__ import annotations

import copy
import json
import re

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from analysis.adapters.opening import open_adapter
from analysis.adapters.paths import CONFIG_FILE
from analysis.adapters.peft.frod import basis_name
from analysis.common.errors import AdapterError
from analysis.conversion.projected_source import load_projected
from analysis.models.base_weights import BaseWeights
from analysis.models.loading import block_linears
from tests.analysis.adapters.peft_models import (
    FAMILIES,
    KINDS,
    adapt,
    logits,
    make_inputs,
    make_model,
    save_adapter,
    save_base,
)

OF_EVERY_FAMILY = ("LoRA", "DoRA", "VeRA")  # one with factors, one without, one that shares a basis among modules
# PEFT refuses, or fails, to adapt GPT-2 by them.
NOT_ON_CONV1D = ("OLoRA", "LoHa", "LoKr", "OFT", "BOFT", "SHiRA", "PSOFT", "OSF", "AdaMSS")


def pairs():
    for family in FAMILIES:
        for kind in KINDS:
            if kind in OF_EVERY_FAMILY or family == "bert" or (family == "gpt2" and kind not in NOT_ON_CONV1D):
                yield family, kind


@pytest.mark.parametrize(("family", "kind"), pairs())
def test_the_update_is_merged_minus_pristine(tmp_path, family, kind):
    pristine = make_model(family)
    save_base(pristine, tmp_path / "base")
    adapted = adapt(copy.deepcopy(pristine), kind)
    save_adapter(adapted, tmp_path / "adapter")
    adapter = open_adapter(tmp_path / "adapter")
    assert (adapter.kind, adapter.projected) == (kind, True)
    assert set(adapter.names) == set(block_linears(pristine))

    # What the projection stands for, put onto the pristine weights, gives the logits of the adapted model.
    inputs = make_inputs(family)
    expected = logits(adapted, inputs)
    by_hand = copy.deepcopy(pristine)
    for name in adapter.names:
        add(by_hand.get_submodule(name), adapter.source.update(name, adapter.weights).dense(), adapter.weights, name)
    assert not torch.allclose(logits(pristine, inputs), expected, atol=1e-2)
    torch.testing.assert_close(logits(by_hand, inputs), expected, atol=2e-4, rtol=1e-4)

    for name in adapter.names:
        assert_reproduces(adapter, name)


def add(module, update, weights: BaseWeights, name: str) -> None:
    module.weight.data += (update.mT if weights.is_transposed(name) else update).float()


def assert_reproduces(adapter, name) -> None:
    """Assert that M and the residual are ΔW, and that what is said of ΔW is so, by dense float64 linear algebra."""
    update = adapter.source.update(name, adapter.weights).dense().double().numpy()
    W = adapter.weights.weight(name).double().numpy()
    U, sigma, Vt = np.linalg.svd(W, full_matrices=False)
    matrix = adapter.matrix(name)
    norm = np.linalg.norm(update)
    assert matrix.shape == W.shape
    np.testing.assert_allclose(matrix.sigma, sigma, atol=1e-5 * sigma[0])
    # Signs of singular vectors are free: M is compared after they are brought into line.
    M = matrix.coefficients()
    signs = signs_of(U, Vt.T, W, name)
    np.testing.assert_allclose(np.abs(M), np.abs(U.T @ update @ Vt.T), atol=1e-4 * norm)
    inside = signs.U @ M @ signs.V.T
    residual = update - U @ (U.T @ update @ Vt.T) @ Vt
    assert np.linalg.norm(update - inside - residual) <= 1e-5 * norm
    assert matrix.update_norm == pytest.approx(norm, rel=1e-5)
    assert matrix.inside_share == pytest.approx(1 - np.linalg.norm(residual) ** 2 / norm**2, abs=1e-5)
    true = np.linalg.svd(update, compute_uv=False)
    np.testing.assert_allclose(matrix.update_singular_values, true, atol=1e-5 * true[0])
    assert (matrix.update_singular_values > matrix.rounding).sum() <= matrix.projection.rank_bound


def signs_of(U, V, W, name):
    """Return the basis that the project decomposes W into, in float64."""
    from svft.decomposition import decompose

    basis = decompose(torch.from_numpy(W).float(), name=name)
    return type("Basis", (), {"U": basis.U.double().numpy(), "V": basis.V.double().numpy()})


def test_mica_counts_the_factor_that_it_trains(tmp_path):
    pristine = make_model("bert")
    save_base(pristine, tmp_path / "base")
    adapted = adapt(pristine, "MiCA")
    trained = sum(p.numel() for name, p in adapted.named_parameters() if p.requires_grad and "lora_" in name)
    assert open_adapter(save_adapter(adapted, tmp_path / "adapter")).matrices["trained"].sum() == trained


@pytest.mark.parametrize("tying", [0.0, 0.6, 1.0])
def test_tinylora_s_vectors_belong_to_groups_of_modules_and_count_once(tmp_path, tying):
    pristine = make_model("bert")
    save_base(pristine, tmp_path / "base")
    adapted = adapt(copy.deepcopy(pristine), "TinyLoRA", weight_tying=tying)
    save_adapter(adapted, tmp_path / "adapter")
    adapter = open_adapter(tmp_path / "adapter")
    merged = adapted.merge_and_unload()
    for name in adapter.names:
        expected = merged.get_submodule(name).weight - pristine.get_submodule(name).weight
        np.testing.assert_allclose(adapter.dense_update(name), expected.detach().numpy(), atol=1e-6)
    groups = max(1, round(len(adapter.names) * (1 - tying)))
    assert adapter.matrices["trained"].sum() == 5 * groups


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda tensors, config: config.update(weight_tying=0.0), "has 5 vectors tinylora_v, and its config asks for"),
        (lambda tensors, config: config.update(weight_tying="all"), "weight_tying='all'"),
        (
            lambda tensors, config: [tensors.pop(name) for name in list(tensors) if "tinylora_P" in name],
            "tinylora_P is missing",
        ),
    ],
)
def test_a_tinylora_that_does_not_say_its_update_is_refused(tmp_path, change, says):
    pristine = make_model("bert")
    save_base(pristine, tmp_path / "base")
    path = save_adapter(adapt(copy.deepcopy(pristine), "TinyLoRA"), tmp_path / "adapter")
    tensors, config = load_file(path / "adapter_model.safetensors"), json.loads((path / CONFIG_FILE).read_text())
    change(tensors, config)
    save_file(tensors, path / "adapter_model.safetensors")
    (path / CONFIG_FILE).write_text(json.dumps(config))
    with pytest.raises(AdapterError, match=re.escape(says)):
        open_adapter(path).matrix(block_linears(pristine)[0])


# ---- what follows from the base, and not from the file


@pytest.fixture
def with_biases(tmp_path):
    """Return a model whose biases are not zero, saved, and the directory for an adapter of it."""
    pristine = make_model("bert")
    torch.manual_seed(5)
    for name, parameter in pristine.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter)
    save_base(pristine, tmp_path / "base")
    return pristine, tmp_path / "adapter"


def test_adamss_changes_biases_and_its_update_is_of_the_weights(with_biases):
    pristine, path = with_biases
    adapted = adapt(copy.deepcopy(pristine), "AdaMSS")
    adapter = open_adapter(save_adapter(adapted, path))
    trained = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    assert adapter.matrices["trained"].sum() == trained
    merged = adapted.merge_and_unload()
    for name in adapter.names:
        before, after = (model.get_submodule(name) for model in (pristine, merged))
        np.testing.assert_allclose(adapter.dense_update(name), (after.weight - before.weight).detach(), atol=1e-6)
        assert not torch.allclose(after.bias, before.bias, atol=1e-4)
        assert adapter.source.changes_bias(name)
    assert load_projected(adapter).left_out == [f"The bias of {n}, which AdaMSS changes too." for n in adapter.names]


def test_an_adamss_of_another_weight_is_refused_and_not_misread(with_biases):
    pristine, path = with_biases
    save_adapter(adapt(copy.deepcopy(pristine), "AdaMSS"), path)
    name = block_linears(pristine)[0]
    pristine.get_submodule(name).weight.data += 0.02 * torch.randn(16, 16)
    save_base(pristine, path.parent / "base")
    with pytest.raises(AdapterError, match="choose the base model that the adapter was trained on"):
        open_adapter(path).matrix(name)


def test_a_frod_without_its_basis_is_refused(tmp_path):
    pristine = make_model("bert")
    save_base(pristine, tmp_path / "base")
    path = save_adapter(adapt(pristine, "FRoD", save_projection=False), tmp_path / "adapter")
    with pytest.raises(AdapterError, match=r"has no frod_V for .*save_projection=True"):
        open_adapter(path)


@pytest.mark.parametrize("family", FAMILIES)
def test_bases_of_frod_have_peft_s_names(family):
    from peft.tuners.frod.model import _category_from_key

    names = [*block_linears(make_model(family)), "classifier", "h.3", "classifier.dense"]
    assert [basis_name(name) for name in names] == [_category_from_key(name) for name in names]
