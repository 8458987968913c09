"""Every method of the registry on a text and on an image classifier, through PEFT's own calls."""

from __future__ import annotations

import subprocess
import sys
import warnings

import pytest
import torch
from peft import PeftModel

from analysis.models.heads import is_head
from analysis.models.loading import block_linears
from analysis.training.methods import METHODS, count_budget
from analysis.training.specification import TrainingSpec
from tests.svft.tiny import logits, make_inputs, make_model

CLASSIFIERS = ("bert", "vit")
INDICES = ((0, 0), (3, 1), (1, 15))


def specification(method: str, **options) -> TrainingSpec:
    if method == "custom":
        options.setdefault("custom_indices", INDICES)
    return TrainingSpec("bbc_headlines", method, **{"size": METHODS[method].size, **options})


def build(architecture: str, method: str, **options):
    torch.manual_seed(0)
    base = make_model(architecture)
    return METHODS[method].build(base, specification(method, **options), block_linears(base))


def train(model, inputs, steps: int = 3):
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    model.train()
    for _ in range(steps):
        model(**inputs, labels=torch.tensor([0, 2])).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


@pytest.mark.parametrize("architecture", CLASSIFIERS)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_all_its_parameters_and_the_head_and_nothing_else(architecture, method):
    model = build(architecture, method)
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    train(model, make_inputs(architecture))
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, start[name])}
    assert moved == {name for name, p in model.named_parameters() if p.requires_grad}
    assert {"classifier.weight", "classifier.bias"} == {
        f"classifier.{name.rpartition('.')[2]}" for name in moved if is_head(name)
    }
    assert (count_budget(model) == 0) == (method == "head_only")


@pytest.mark.parametrize("architecture", CLASSIFIERS)
@pytest.mark.parametrize("method", [name for name in METHODS if name != "full"])
def test_a_new_adapter_leaves_the_base_as_it_is(architecture, method):
    inputs = make_inputs(architecture)
    torch.testing.assert_close(logits(build(architecture, method), inputs), logits(make_model(architecture), inputs))


@pytest.mark.parametrize("architecture", CLASSIFIERS)
@pytest.mark.parametrize("method", METHODS)
def test_a_trained_model_comes_back_from_its_files(architecture, method, tmp_path, socket_disabled):
    inputs = make_inputs(architecture)
    model = train(build(architecture, method), inputs)
    if method == "full":
        model.save_pretrained(tmp_path)
        loaded = type(model).from_pretrained(tmp_path)
    else:
        model.save_pretrained(tmp_path, save_embedding_layers=False)
        loaded = PeftModel.from_pretrained(make_model(architecture), str(tmp_path))
    assert torch.equal(logits(loaded.eval(), inputs), logits(model, inputs))
    assert not torch.allclose(logits(model, inputs), logits(make_model(architecture), inputs))


@pytest.mark.parametrize("architecture", CLASSIFIERS)
@pytest.mark.parametrize("method", [name for name in METHODS if name != "full"])
def test_merged_adapters_predict_as_unmerged(architecture, method):
    inputs = make_inputs(architecture)
    model = train(build(architecture, method), inputs)
    expected = logits(model, inputs)
    torch.testing.assert_close(logits(model.merge_and_unload(), inputs), expected, atol=1e-4, rtol=1e-4)


def test_a_head_of_another_name_is_a_head():
    assert is_head("base_model.model.score.modules_to_save.default.weight")
    assert is_head("classifier.bias")
    assert not is_head("base_model.model.bert.encoder.layer.0.output.dense.weight")


def test_boft_neither_compiles_nor_warns(monkeypatch, capfd):
    import peft.tuners.boft.layer
    import torch.utils.cpp_extension

    monkeypatch.setattr(peft.tuners.boft.layer, "_FBD_CUDA", None)  # as in a fresh process
    monkeypatch.setattr(torch.utils.cpp_extension, "load", lambda *_, **__: pytest.fail("PEFT compiles"))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        train(build("bert", "boft"), make_inputs("bert"), steps=1)
    assert capfd.readouterr() == ("", "")


def test_custom_trains_the_same_entries_in_every_matrix():
    model = build("bert", "custom")
    layers = [module for module in model.modules() if hasattr(module, "coefficient_positions")]
    assert len(layers) == 12
    for layer in layers:
        assert {(int(i), int(j)) for i, j in zip(*layer.coefficient_positions("default"))} == set(INDICES)


def test_custom_refuses_entries_outside_a_smaller_matrix_and_names_it():
    base = make_model("llama")
    spec = specification("custom", custom_indices=((0, 0), (9, 3)))
    with pytest.raises(ValueError, match=r"reaches \(9\).*layers\.0\.self_attn\.k_proj is 8×8"):
        METHODS["custom"].build(base, spec, block_linears(base))


def test_the_registry_is_read_without_torch():
    code = "import analysis.training.methods, sys; sys.exit('torch' in sys.modules or 'peft' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
