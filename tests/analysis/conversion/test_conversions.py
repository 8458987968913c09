"""SVFT becomes LoRA, a merged model, SVFT of another pattern, the authors' layer state: exactly, or as said."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file

from analysis.adapters.opening import open_adapter
from analysis.common.errors import AdapterError, UserError
from analysis.conversion import collect
from analysis.conversion.authors import authors_steps, is_authors_checkpoint
from analysis.conversion.source import load_source
from analysis.conversion.to_authors import authors_state_steps
from analysis.conversion.to_lora import lora_steps
from analysis.conversion.to_merged import merged_steps
from analysis.conversion.to_svft import pattern_choices, svft_steps
from tests.analysis.conversion.conftest import AUTO, assert_same_logits
from tests.analysis.conversion.layer_state import ReferenceLayer, ReferenceLinear, adapt, write_state
from tests.svft.tiny import ARCHITECTURES, expected_delta, make_model, svft_layers

PATTERNS = ("plain", "banded", "random", "top_k", "custom")
TARGETS = ("lora", "merged", "authors")


def pairwise(target):
    """Mark a test with (architecture, pattern): over all targets each pair occurs once, and each target meets all."""
    place = TARGETS.index(target)
    pairs = [(a, p) for i, a in enumerate(ARCHITECTURES) for j, p in enumerate(PATTERNS) if (i + j) % 3 == place]
    return pytest.mark.parametrize(("architecture", "pattern"), pairs)


def load(architecture, base, directory):
    return PeftModel.from_pretrained(AUTO[architecture].from_pretrained(base), str(directory)).eval()


def deltas(model):
    """ΔW (out, in) float64 of each matrix, by its name in the base model."""
    return {name: expected_delta(layer) for name, layer in svft_layers(model.get_base_model()).items()}


def lora_delta(directory, name):
    tensors = load_file(directory / "adapter_model.safetensors")
    B, A = (tensors[f"base_model.model.{name}.lora_{side}.weight"].double() for side in "BA")
    return B @ A


# -- LoRA


@pairwise("lora")
def test_lora_of_full_rank_gives_equal_logits(architecture, pattern, trained, bases, tmp_path):
    model, directory = trained(architecture, pattern)
    table = collect(lora_steps(directory, tmp_path / "lora", rank=16))
    assert_same_logits(architecture, model, load(architecture, bases[architecture], tmp_path / "lora"))
    assert table["relative_error"].max() <= 1e-6
    config = json.loads((tmp_path / "lora" / "adapter_config.json").read_text())
    assert (config["peft_type"], config["r"], config["lora_alpha"]) == ("LORA", 16, 16)
    assert not {key for key in load_file(tmp_path / "lora" / "adapter_model.safetensors") if "svft" in key}


@pytest.mark.parametrize("rank", [1, 3, 8])
@pytest.mark.parametrize("architecture", ["bert", "gpt2", "llama"])
def test_the_reported_error_is_the_true_one_and_the_least_possible(architecture, rank, trained, tmp_path):
    model, directory = trained(architecture, "random")
    table = collect(lora_steps(directory, tmp_path / "lora", rank)).set_index("name")
    for name, delta in deltas(model).items():
        row = table.loc[name]
        error = float((lora_delta(tmp_path / "lora", name) - delta).norm())
        least = float(torch.linalg.svdvals(delta)[rank:].norm())
        assert row["error"] == pytest.approx(error, rel=1e-4, abs=1e-6)
        assert row["error"] == pytest.approx(least, rel=1e-4, abs=1e-6)
        assert row["relative_error"] == pytest.approx(error / float(delta.norm()), rel=1e-4, abs=1e-6)
        assert row["lost_share"] == pytest.approx(row["relative_error"] ** 2)
        assert row["rank"] == rank


def test_a_rank_above_a_small_matrix_is_filled_up_with_zeros(trained, bases, tmp_path):
    _, directory = trained("llama", "banded")  # key and value are 8×16
    table = collect(lora_steps(directory, tmp_path / "lora", rank=12)).set_index("name")
    tensors = load_file(tmp_path / "lora" / "adapter_model.safetensors")
    assert {len(tensor) for name, tensor in tensors.items() if "lora_A" in name} == {12}
    assert table.loc["model.layers.0.self_attn.k_proj", "rank"] == 8
    assert (table.loc[table["out"] == 8, "error"] == 0).all()


def test_a_rounded_basis_is_not_taken_for_orthonormal(trained, tmp_path):
    model, directory = trained("bert", "random", dtype=torch.bfloat16)
    collect(lora_steps(directory, tmp_path / "lora", rank=16))
    for name, delta in deltas(model).items():
        assert (lora_delta(tmp_path / "lora", name) - delta).norm() <= 1e-5 * delta.norm()


def test_heads_and_targets_are_carried_over(trained, bases, tmp_path):
    _, directory = trained("bert", "plain")
    collect(lora_steps(directory, tmp_path / "lora", rank=2))
    before, after = (load_file(d / "adapter_model.safetensors") for d in (directory, tmp_path / "lora"))
    for name in ("base_model.model.classifier.weight", "base_model.model.classifier.bias"):
        assert torch.equal(before[name], after[name])
    loaded = load("bert", bases["bert"], tmp_path / "lora")
    adapted = {name.split(".lora_A")[0] for name, _ in loaded.named_modules() if name.endswith("lora_A")}
    assert {name.removeprefix("base_model.model.") for name in adapted} == set(open_adapter(directory).names)


def test_llama_names_its_targets_as_servers_expect(trained, tmp_path):
    _, directory = trained("llama", "plain")
    collect(lora_steps(directory, tmp_path / "lora", rank=2))
    config = json.loads((tmp_path / "lora" / "adapter_config.json").read_text())
    assert set(config["target_modules"]) == {
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
    }  # fmt: skip


@pytest.mark.parametrize("rank", [0, 17])
def test_an_impossible_rank_is_refused(rank, trained, tmp_path):
    _, directory = trained()
    with pytest.raises(AdapterError, match="rank from 1 to 16"):
        collect(lora_steps(directory, tmp_path / "lora", rank))
    assert not (tmp_path / "lora").exists()


# -- merged

WITHOUT_SVFT = """
import sys
sys.modules["svft"] = None  # importing it fails
import torch
from transformers import AutoModelForSequenceClassification
model = AutoModelForSequenceClassification.from_pretrained(sys.argv[1]).eval()
torch.save(model(input_ids=torch.tensor([[3, 1, 4, 1, 5]])).logits.detach(), sys.argv[2])
"""


@pairwise("merged")
def test_a_merged_model_gives_equal_logits(architecture, pattern, trained, tmp_path):
    model, directory = trained(architecture, pattern)
    table = collect(merged_steps(directory, tmp_path / "merged"))
    assert_same_logits(architecture, model, AUTO[architecture].from_pretrained(tmp_path / "merged").eval())
    for name, delta in deltas(model).items():
        actual = table.set_index("name").loc[name, "update_norm"]
        assert actual == pytest.approx(float(delta.norm()), rel=1e-5)


@pytest.mark.slow
def test_a_merged_model_loads_where_svft_is_not_installed(trained, tmp_path):
    model, directory = trained()
    collect(merged_steps(directory, tmp_path / "merged"))
    words = [sys.executable, "-c", WITHOUT_SVFT, str(tmp_path / "merged"), str(tmp_path / "logits.pt")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    with torch.no_grad():
        expected = model(input_ids=torch.tensor([[3, 1, 4, 1, 5]])).logits
    torch.testing.assert_close(torch.load(tmp_path / "logits.pt", weights_only=True), expected, rtol=0, atol=1e-4)


# -- another pattern


@pytest.mark.parametrize("target", pattern_choices())
@pytest.mark.parametrize("architecture", ["bert", "gpt2"])
def test_another_pattern_keeps_what_it_holds_and_says_what_is_lost(architecture, target, trained, bases, tmp_path):
    model, directory = trained(architecture, "random")
    size = {"plain": {}, "block": {"budget": 9 * 12}}.get(target, {"off_diag": 1})
    table = collect(svft_steps(directory, tmp_path / "svft", target, **size)).set_index("name")
    before, after = open_adapter(directory), open_adapter(tmp_path / "svft")
    loaded = load(architecture, bases[architecture], tmp_path / "svft")
    actual = deltas(loaded)
    for name, delta in deltas(model).items():
        M, kept = before.matrix(name).coefficients(), after.matrix(name)
        expected = np.zeros_like(M)
        expected[kept.rows, kept.cols] = M[kept.rows, kept.cols]
        np.testing.assert_allclose(kept.coefficients(), expected, rtol=1e-6)
        assert table.loc[name, "error"] == pytest.approx(float((actual[name] - delta).norm()), rel=1e-4, abs=1e-6)
        assert table.loc[name, "lost_share"] == pytest.approx(1 - (expected**2).sum() / (M**2).sum(), abs=1e-6)
        assert table.loc[name, "chance_share"] == pytest.approx(kept.k / M.size)
    assert {shape for shape in after.head.items()} == {shape for shape in before.head.items()}


def test_the_best_entries_are_the_largest_and_meet_a_budget(trained, tmp_path):
    _, directory = trained("bert", "random")
    collect(svft_steps(directory, tmp_path / "svft", "best", budget=100))
    before, after = open_adapter(directory), open_adapter(tmp_path / "svft")
    assert after.trainable == 100
    for name in after.names:
        k = after.matrix(name).k
        sizes = np.sort(np.abs(before.matrix(name).values))[::-1]
        np.testing.assert_allclose(np.sort(np.abs(after.matrix(name).values))[::-1], sizes[:k], rtol=1e-6)


@pytest.mark.parametrize("pattern", ["plain", "banded", "random"])
def test_a_wider_pattern_loses_nothing(pattern, trained, bases, tmp_path):
    model, directory = trained("bert", pattern)
    table = collect(svft_steps(directory, tmp_path / "svft", "banded", off_diag=15))
    assert table["lost_share"].max() <= 1e-12
    assert_same_logits("bert", model, load("bert", bases["bert"], tmp_path / "svft"))


@pytest.mark.parametrize("embed_basis", [False, True])
@pytest.mark.parametrize("entries", [[(0, 3), (9, 1), (7, 6)], [(4, 3), (0, 3), (0, 1)]], ids=["diagonal", "shared"])
def test_few_columns_convert_to_everything(embed_basis, entries, trained, bases, tmp_path):
    options = {"target_modules": ["query", "value"], "embed_basis": embed_basis}
    model, directory = trained("bert", "custom", custom_indices=dict.fromkeys(("query", "value"), entries), **options)
    collect(lora_steps(directory, tmp_path / "lora", rank=4))
    collect(svft_steps(directory, tmp_path / "svft", "banded", off_diag=15))
    collect(merged_steps(directory, tmp_path / "merged"))
    collect(authors_state_steps(directory, tmp_path / "authors"))
    collect(authors_steps(tmp_path / "authors", bases["bert"], tmp_path / "back"))
    for actual in ("lora", "svft", "back"):
        assert_same_logits("bert", model, load("bert", bases["bert"], tmp_path / actual))
    assert_same_logits("bert", model, AUTO["bert"].from_pretrained(str(tmp_path / "merged")))


def test_an_embedded_basis_is_left_for_the_base_own(bases, tmp_path):
    authors = adapt(make_model(), "random")  # its basis has other signs
    write_state(authors, tmp_path / "checkpoint" / "model.safetensors")
    collect(authors_steps(tmp_path / "checkpoint", bases["bert"], tmp_path / "svft"))
    table = collect(svft_steps(tmp_path / "svft", tmp_path / "full", "banded", off_diag=15))
    assert table["lost_share"].max() <= 1e-6
    assert_same_logits("bert", authors, load("bert", bases["bert"], tmp_path / "full"))
    assert not any("svft_U" in name for name in load_file(tmp_path / "full" / "adapter_model.safetensors"))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("magic",), "no pattern 'magic'"),
        (("banded",), "needs a size"),
        (("best",), "need a size"),
        (("random", None, 3), "budget=3 does not fit"),
    ],
)
def test_an_impossible_pattern_is_a_sentence(words, sentence, trained, tmp_path):
    _, directory = trained()
    with pytest.raises(UserError, match=sentence):
        collect(svft_steps(directory, tmp_path / "svft", *words))
    assert not (tmp_path / "svft").exists()


# -- the authors' layers


def authors_model(architecture, directory):
    """A model with the reference layers, filled from the written state alone."""
    state = load_file(directory / "model.safetensors")
    model = make_model(architecture, seed=5)  # other numbers: everything has to come from the file
    for name in dict.fromkeys(key.split(".svft_layer.")[0] for key in state if ".svft_layer." in key):
        part = {key.rsplit(".", 1)[1]: state[key] for key in state if key.startswith(f"{name}.svft_layer.")}
        layer = ReferenceLayer(
            part["u"], part["v"], part["s_pre"], (part["s_row"], part["s_col"]), part["s"], part["gate"]
        )
        bias = model.get_submodule(name).bias
        model.set_submodule(name, ReferenceLinear(layer, None if bias is None else torch.nn.Parameter(bias.clone())))
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected
    assert set(missing) <= {"lm_head.weight"}  # tied
    return model


@pairwise("authors")
def test_the_authors_layers_compute_what_ours_do(architecture, pattern, trained, tmp_path):
    model, directory = trained(architecture, pattern)
    table = collect(authors_state_steps(directory, tmp_path / "authors"))
    assert_same_logits(architecture, model, authors_model(architecture, tmp_path / "authors"))
    assert table["base_error"].max() < 1e-5


def test_there_and_back_again(trained, bases, tmp_path):
    model, directory = trained("bert", "banded")
    collect(authors_state_steps(directory, tmp_path / "authors"))
    assert is_authors_checkpoint(tmp_path / "authors")
    collect(authors_steps(tmp_path / "authors", bases["bert"], tmp_path / "back"))
    before, after = open_adapter(directory), open_adapter(tmp_path / "back")
    assert after.method == before.method == "SVFT banded d=2"
    for name in before.names:
        np.testing.assert_allclose(after.matrix(name).values, before.matrix(name).values, rtol=1e-6)
    assert_same_logits("bert", model, load("bert", bases["bert"], tmp_path / "back"))


def test_a_restricted_rank_goes_there_too(trained, bases, tmp_path):
    model, directory = trained("bert", "random", rank=6)
    for steps in (
        authors_state_steps(directory, tmp_path / "authors"),
        lora_steps(directory, tmp_path / "lora", rank=6),
        svft_steps(directory, tmp_path / "svft", "best", off_diag=5),
    ):
        collect(steps)
    assert_same_logits("bert", model, authors_model("bert", tmp_path / "authors"))
    for name in ("lora", "svft"):
        assert_same_logits("bert", model, load("bert", bases["bert"], tmp_path / name))


# -- what cannot be converted


def test_another_base_is_refused(trained, tmp_path):
    _, directory = trained()
    make_model("bert", seed=9).save_pretrained(tmp_path / "other")
    with pytest.raises(UserError, match="do not match the adapter's basis"):
        load_source(directory, base=str(tmp_path / "other"))


def test_a_base_that_is_nowhere_is_a_sentence(trained, tmp_path):
    _, directory = trained()
    with pytest.raises(UserError, match="could not be loaded"):
        load_source(directory, base=str(tmp_path / "nowhere"))


def test_progress_tells_how_far_it_is(trained, tmp_path):
    _, directory = trained("bert", "plain")
    told = []
    collect(lora_steps(directory, tmp_path / "lora", 1), progress=lambda done, total: told.append((done, total)))
    assert told == [(done, 12) for done in range(13)]


def test_every_result_has_a_card_without_a_path_of_this_machine(trained, tmp_path, monkeypatch):
    _, directory = trained("bert", "plain")
    collect(lora_steps(directory, tmp_path / "lora", 1))
    card = (tmp_path / "lora" / "README.md").read_text()
    assert "# adapter: LoRA of rank 1" in card
    assert "Lost: " in card
    assert str(Path(directory).parent) not in card.replace(open_adapter(directory).base, "")
