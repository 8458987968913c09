"""Every method of the registry on a text and on an image classifier, through PEFT's own calls."""

from __future__ import annotations

import copy
import subprocess
import sys
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from peft import PeftModel, get_peft_model

from analysis.common.errors import UserError
from analysis.models.heads import is_head
from analysis.models.loading import block_linears, linear_shapes
from analysis.planning.sizing import count_parameters
from analysis.training.methods import METHODS, count_budget
from analysis.training.specification import TrainingSpec
from tests.analysis.options import options_for
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
    return METHODS[method].build(
        base, options_for(specification(method, **options), base, block_linears(base)), block_linears(base)
    )


def test_the_seed_of_a_specification_reaches_the_pattern_and_the_projection():
    for method, field in (("random", "seed"), ("vera", "projection_prng_key")):
        configs = [
            METHODS[method].config(method, specification(method, seed=seed).options, ["query"]) for seed in (3, 4)
        ]
        assert [getattr(config, field) for config in configs] == [3, 4]


def train(model, inputs, steps: int = 3):
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    model.train()
    for _ in range(steps):
        model(**inputs, labels=torch.tensor([0, 2])).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


@dataclass(frozen=True)
class Trained:
    """A method before its training, after it, and saved."""

    architecture: str
    method: str
    new: torch.nn.Module
    model: torch.nn.Module
    directory: Path

    def logits(self, model) -> torch.Tensor:
        return logits(model, make_inputs(self.architecture))


@pytest.fixture(scope="module", params=[(a, m) for a in CLASSIFIERS for m in METHODS], ids="-".join)
def trained(request, tmp_path_factory) -> Trained:
    architecture, method = request.param
    new = build(architecture, method)
    model = train(build(architecture, method), make_inputs(architecture))
    directory = tmp_path_factory.mktemp(method)
    model.save_pretrained(directory, **({} if method == "full" else {"save_embedding_layers": False}))
    return Trained(architecture, method, new, model, directory)


def test_every_method_trains_all_its_parameters_and_the_head_and_nothing_else(trained):
    start = dict(trained.new.named_parameters())
    after = dict(trained.model.named_parameters())
    moved = {name for name, p in after.items() if not torch.equal(p, start[name])}
    assert moved == {name for name, p in after.items() if p.requires_grad}
    assert {"classifier.weight", "classifier.bias"} == {
        f"classifier.{name.rpartition('.')[2]}" for name in moved if is_head(name)
    }
    assert (count_budget(trained.model) == 0) == (trained.method == "head_only")


def test_a_new_adapter_leaves_the_base_as_it_is(trained):
    base = make_model(trained.architecture)
    torch.testing.assert_close(trained.logits(trained.new.eval()), trained.logits(base))


def test_a_trained_model_comes_back_from_its_files(trained, socket_disabled):
    base = make_model(trained.architecture)
    unchanged = trained.logits(base)
    if trained.method == "full":
        loaded = type(trained.model).from_pretrained(trained.directory)
    else:
        loaded = PeftModel.from_pretrained(base, str(trained.directory))
    assert torch.equal(trained.logits(loaded.eval()), trained.logits(trained.model))
    assert not torch.allclose(trained.logits(trained.model), unchanged)


def test_merged_adapters_predict_as_unmerged(trained):
    if trained.method == "full":
        pytest.skip("nothing to merge")
    merged = copy.deepcopy(trained.model).merge_and_unload()
    torch.testing.assert_close(trained.logits(merged), trained.logits(trained.model), atol=1e-4, rtol=1e-4)


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


def test_frod_does_not_warn_of_its_sparse_matrix():
    code = (
        "import warnings; warnings.simplefilter('error', UserWarning)\n"
        "from tests.analysis.training.test_methods import build, make_inputs, train\n"
        "train(build('bert', 'frod'), make_inputs('bert'), steps=1)"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)  # torch warns once in a process


def test_custom_trains_the_same_entries_in_every_matrix():
    model = build("bert", "custom")
    layers = [module for module in model.modules() if hasattr(module, "coefficient_positions")]
    assert len(layers) == 12
    for layer in layers:
        assert {(int(i), int(j)) for i, j in zip(*layer.coefficient_positions("default"))} == set(INDICES)


def test_with_few_entries_the_head_learns_faster_unless_its_rate_is_named():
    few, many = (TrainingSpec("bbc_headlines", "random", budget=budget) for budget in (1_382, 13_824))
    assert few.resolved().head_learning_rate > many.resolved().head_learning_rate
    assert replace(few, head_learning_rate=1e-3).resolved().head_learning_rate == 1e-3


def test_custom_refuses_entries_outside_a_smaller_matrix_and_names_it():
    base = make_model("llama")
    spec = specification("custom", custom_indices=((0, 0), (9, 3)))
    with pytest.raises(UserError, match=r"reaches \(9\).*layers\.0\.self_attn\.k_proj is 8×8"):
        METHODS["custom"].build(base, spec, block_linears(base))


def test_the_registry_is_read_without_torch():
    code = "import analysis.training.methods, sys; sys.exit('torch' in sys.modules or 'peft' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("method", "architecture", "size", "says"),
    [
        ("psoft", "gpt2", 2, "PSOFT adapts nn.Linear alone, and .* is Conv1D: choose LoRA there"),
        ("olora", "gpt2", 2, "OLoRA adapts nn.Linear alone"),
        ("adamss", "gpt2", 2, "AdaMSS adapts nn.Linear alone"),
        ("boft", "gpt2", 2, "BOFT adapts nn.Linear alone"),
        ("psoft", "bert", 17, "PSOFT needs r of at most 16"),
        ("pissa", "bert", 17, "PiSSA needs r of at most 16"),
        ("mica", "bert", 17, "MiCA needs r of at most 16"),
        ("adamss", "bert", 17, "AdaMSS needs r of at most 16"),
        ("tinylora", "bert", 129, "TinyLoRA needs u of at most 128 .*: choose SVFT block there"),
    ],
)
def test_what_peft_would_leave_or_fail_on_is_refused(method, architecture, size, says):
    base = make_model(architecture)
    spec = specification(method, size=size)
    with pytest.raises(UserError, match=says):
        METHODS[method].build(base, options_for(spec, base, block_linears(base)), block_linears(base))


@pytest.mark.parametrize("method", ["pissa", "mica", "tinylora", "frod"])
@pytest.mark.filterwarnings("ignore:fan_in_fan_out")
def test_what_peft_has_for_conv1d_starts_as_the_base_there(method):
    base = make_model("gpt2")
    before = logits(base, make_inputs("gpt2"))
    targets, shapes = block_linears(base), list(linear_shapes(base).values())
    model = get_peft_model(base, METHODS[method].config(method, specification(method, size=3).options, targets))
    torch.testing.assert_close(logits(model, make_inputs("gpt2")), before, atol=1e-4, rtol=1e-4)
    assert count_budget(model) == count_parameters(method, shapes, 3)
