"""Checkpoints of the authors' layers, written from the formulas: recognised, converted, and of equal logits."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file

import svft  # noqa: F401
from analysis.adapters.opening import open_adapter
from analysis.common.errors import AdapterError, UserError
from analysis.conversion import collect
from analysis.conversion.authors import authors_steps, is_authors_checkpoint
from tests.analysis.conversion.conftest import AUTO, assert_same_logits
from tests.analysis.conversion.layer_state import CASES, RANK, adapt, write_state
from tests.svft.tiny import ARCHITECTURES, full_basis, logits, make_inputs, make_model, svft_layers


def load(architecture, base, output):
    """The converted adapter, or whole model, as anyone loads it."""
    if not (output / "adapter_config.json").exists():
        return AUTO[architecture].from_pretrained(output).eval()
    return PeftModel.from_pretrained(AUTO[architecture].from_pretrained(base), str(output)).eval()


def assert_trained(architecture, model):
    """The update shows in the logits, so that equal ones mean something."""
    inputs = make_inputs(architecture)
    assert (logits(model, inputs) - logits(make_model(architecture), inputs)).abs().max() > 0.01


@pytest.mark.parametrize(("pattern", "truncated", "filled"), CASES)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_pattern_converts_to_equal_logits(architecture, pattern, truncated, filled, bases, tmp_path):
    authors = adapt(make_model(architecture), pattern, truncated, filled)
    assert_trained(architecture, authors)
    path = write_state(authors, tmp_path / "checkpoint" / "model.safetensors")
    assert is_authors_checkpoint(path)
    assert is_authors_checkpoint(path.parent)
    table = collect(authors_steps(path, bases[architecture], tmp_path / "converted"))
    assert_same_logits(architecture, authors, load(architecture, bases[architecture], tmp_path / "converted"))
    assert set(table["basis"]) == {"not orthonormal" if filled else "truncated" if truncated else "whole"}
    assert (table["kept"] == (RANK if truncated else table["n"])).all()
    assert (tmp_path / "converted" / "adapter_config.json").exists() != filled
    if pattern == "random":
        assert table["duplicates"].sum() > 0
    if not filled:
        adapter = open_adapter(tmp_path / "converted")
        expected = {"plain": "plain", "banded": "custom" if truncated else "banded"}.get(pattern, "custom")
        assert set(adapter.matrices["pattern"]) == {expected}


def test_the_update_is_that_of_the_formula(bases, tmp_path):
    authors = adapt(make_model(), "random", truncated=True)
    write_state(authors, tmp_path / "model.safetensors")
    collect(authors_steps(tmp_path, bases["bert"], tmp_path / "converted"))
    adapter, base = open_adapter(tmp_path / "converted"), make_model()
    model = load("bert", bases["bert"], tmp_path / "converted")
    for name, layer in svft_layers(model.get_base_model()).items():
        W = base.get_submodule(name).weight.detach().double()
        state = authors.get_submodule(name).svft_layer
        delta = state.weight().detach().double() - W
        U, V = (side.double() for side in full_basis(layer))
        M = torch.from_numpy(adapter.matrix(name).coefficients())
        assert (U @ M @ V.T - delta).norm() <= 1e-5 * delta.norm()
        for side in (U, V):
            np.testing.assert_allclose(side.T @ side, np.eye(side.shape[1]), atol=1e-5)
        tail = M.diagonal()[RANK:] + torch.linalg.svdvals(W)[RANK:]
        assert tail.abs().max() <= 1e-5  # the cut part of Σ is what M takes away


def test_a_pickle_with_a_wrapper_and_a_trained_head(bases, tmp_path):
    authors = adapt(make_model(), "banded")
    with torch.no_grad():
        authors.classifier.weight += 0.5
    state = {f"module.{name}": tensor for name, tensor in authors.state_dict().items()}
    torch.save({"model": state, "optimizer": {"step": 3}}, tmp_path / "pytorch_model.bin")
    assert is_authors_checkpoint(tmp_path)
    collect(authors_steps(tmp_path, bases["bert"], tmp_path / "converted"))
    assert_same_logits("bert", authors, load("bert", bases["bert"], tmp_path / "converted"))
    assert set(open_adapter(tmp_path / "converted").head) == {
        "base_model.model.classifier.weight", "base_model.model.classifier.bias",
    }  # fmt: skip


def test_shards(bases, tmp_path):
    authors = adapt(make_model("llama"), "plain")
    state = {name: tensor.contiguous() for name, tensor in authors.state_dict().items()}
    halves = {"a.safetensors": dict(list(state.items())[::2]), "b.safetensors": dict(list(state.items())[1::2])}
    for file, part in halves.items():
        save_file(part, tmp_path / file)
    index = {name: file for file, part in halves.items() for name in part}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    collect(authors_steps(tmp_path, bases["llama"], tmp_path / "converted"))
    assert_same_logits("llama", authors, load("llama", bases["llama"], tmp_path / "converted"))


def test_a_trained_bias_goes_with_the_whole_model(bases, tmp_path):
    authors = adapt(make_model(), "plain")
    with torch.no_grad():
        authors.bert.encoder.layer[0].intermediate.dense.bias += 1
    write_state(authors, tmp_path / "model.safetensors")
    collect(authors_steps(tmp_path, bases["bert"], tmp_path / "converted"))
    assert not (tmp_path / "converted" / "adapter_config.json").exists()
    assert_same_logits("bert", authors, load("bert", bases["bert"], tmp_path / "converted"))


@pytest.mark.parametrize("truncated", [False, True])
def test_another_base_is_refused_by_name(truncated, bases, tmp_path):
    write_state(adapt(make_model(seed=1), "plain", truncated), tmp_path / "model.safetensors")
    with pytest.raises(AdapterError, match="was trained on another weight"):
        collect(authors_steps(tmp_path, bases["bert"], tmp_path / "converted"))
    assert not (tmp_path / "converted").exists()


def test_another_architecture_is_refused(bases, tmp_path):
    write_state(adapt(make_model("llama"), "plain"), tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="another architecture"):
        collect(authors_steps(tmp_path, bases["gpt2"], tmp_path / "converted"))


def test_half_precision_is_represented_as_what_it_is(bases, tmp_path):
    authors = adapt(make_model(), "plain")
    state = {
        name: tensor.detach().bfloat16() if "svft_layer.u" in name else tensor.detach()
        for name, tensor in authors.state_dict().items()
    }
    for module in authors.modules():
        if hasattr(module, "svft_layer"):
            module.svft_layer.u.data = module.svft_layer.u.data.bfloat16().float()
    save_file(state, tmp_path / "model.safetensors")
    table = collect(authors_steps(tmp_path, bases["bert"], tmp_path / "converted"))
    assert set(table["basis"]) == {"not orthonormal"}
    assert_same_logits("bert", authors, load("bert", bases["bert"], tmp_path / "converted"))


def test_what_is_none_is_not_recognised(bases, tmp_path):
    assert not is_authors_checkpoint(tmp_path)
    assert not is_authors_checkpoint(tmp_path / "nowhere")
    assert not is_authors_checkpoint(bases["bert"])
    (tmp_path / "model.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0 nonsense")
    assert not is_authors_checkpoint(tmp_path)
    torch.save(torch.nn.Linear(2, 2), tmp_path / "whole.pt")  # a pickle of code is never run
    assert not is_authors_checkpoint(tmp_path / "whole.pt")


STEM = "bert.encoder.layer.0.attention.self.query.svft_layer."


@pytest.mark.parametrize(
    ("part", "value", "sentence"),
    [
        ("gate", None, "has no gate"),
        ("u", torch.zeros(16, 3), "do not multiply"),
        ("u", torch.zeros(15, 16), "in the checkpoint and"),
        ("u", torch.full((16, 16), torch.nan), "finite"),
        ("s", torch.zeros(3), "of shape"),
        ("s", torch.zeros(2, 8), "vectors, and one number"),
        ("s", torch.ones(16, dtype=torch.int64), "floating-point"),
        ("s_row", torch.full((16,), 16), "reach outside"),
        ("s_row", torch.full((16,), -1), "reach outside"),
        ("s_row", torch.zeros(16), "must be integers"),
        ("s_pre", -torch.ones(16), "negative singular values"),
        ("s_pre_row", torch.arange(15, -1, -1), "off the diagonal"),
    ],
)
def test_damage_is_a_sentence(part, value, sentence, bases, tmp_path):
    path = write_state(adapt(make_model(), "plain"), tmp_path / "model.safetensors")
    state = load_file(path)
    if value is None:
        del state[STEM + part]
    else:
        state[STEM + part] = value
    save_file(state, path)
    with pytest.raises(AdapterError, match=sentence):
        collect(authors_steps(tmp_path, bases["bert"], tmp_path / "converted"))
    assert not (tmp_path / "converted").exists()
