"""`svft inspect` and `svft convert`: tables, JSON, figures, and a sentence for what cannot be done."""

from __future__ import annotations

import json

import pytest
import torch
from peft import LoraConfig, get_peft_model
from typer.testing import CliRunner

from analysis.adapters.opening import open_adapter
from analysis.cli import app
from analysis.common.errors import UserError
from analysis.common.jobs import Job
from analysis.conversion.targets import conversion_steps
from tests.analysis.conversion.conftest import assert_same_logits
from tests.analysis.conversion.layer_state import adapt, write_state
from tests.analysis.conversion.test_conversions import load
from tests.svft.tiny import make_model


def run(*words):
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, [str(word) for word in words])


def document(*words):
    result = run(*words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_inspect_says_what_an_adapter_is(trained, bases):
    model, directory = trained("bert", "banded")
    result = run("inspect", directory)
    assert result.exit_code == 0, result.output
    for shown in ("SVFT banded d=2", bases["bert"], "12 matrices", "Layer 1 · MLP down", "16×40", "in noise"):
        assert shown in result.output
    actual = document("inspect", directory)
    assert (actual["kind"], actual["matrices"], actual["projected"]) == ("SVFT", 12, False)
    assert actual["trained"] == 12 * (16 * 5 - 6)
    assert actual["head"] == 3 * 16 + 3
    by_name = {row["name"]: row for row in actual["measures"]}
    for name in open_adapter(directory).names:
        delta = model.get_base_model().get_submodule(name).get_delta_weight("default").double()
        weight = model.get_base_model().get_submodule(name).get_base_weight().double()
        values = torch.linalg.svdvals(delta)
        assert by_name[name]["relative_norm"] == pytest.approx(float(delta.norm() / weight.norm()), rel=1e-4)
        assert by_name[name]["stable_rank"] == pytest.approx(
            float(values.square().sum() / values[0].square()), rel=1e-4
        )


def test_inspect_writes_its_figures_to_one_file_that_needs_no_network(trained, tmp_path):
    _, directory = trained("bert", "plain")
    assert run("inspect", directory, "--html", tmp_path / "page" / "adapter.html").exit_code == 0
    page = (tmp_path / "page" / "adapter.html").read_text()
    assert page.count("<figure") == 4
    assert "cdn" not in page.split("<figure")[0]
    assert '<script src="http' not in page


def test_convert_to_lora_prints_what_each_matrix_lost(trained, tmp_path):
    _, directory = trained("bert", "banded")
    result = run("convert", directory, "--to", "lora", "--rank", 2, "--output", tmp_path / "lora")
    assert result.exit_code == 0, result.output
    assert "Layer 0 · query" in result.output
    assert "of the energy ‖ΔW‖² of the whole adapter" in result.output
    actual = document("convert", directory, "--to", "lora", "--rank", 2, "--output", tmp_path / "again")
    error = sum(row["error"] ** 2 for row in actual["matrices"])
    energy = sum(row["update_norm"] ** 2 for row in actual["matrices"])
    assert actual["lost_share"] == pytest.approx(error / energy)
    assert 0 < actual["lost_share"] < 1


def test_a_lora_becomes_svft_and_what_is_outside_the_basis_counts_as_lost(bases, tmp_path):
    base = make_model("bert")
    config = LoraConfig(r=2, target_modules=["query", "intermediate.dense"], task_type="SEQ_CLS")
    model = get_peft_model(base, config)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name or "modules_to_save" in name:
                parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    model.peft_config["default"].base_model_name_or_path = bases["bert"]
    model.eval().save_pretrained(str(tmp_path / "lora"), save_embedding_layers=False)
    words = ("convert", tmp_path / "lora", "--to", "svft", "--pattern", "banded", "--size", 15)
    actual = document(*words, "--output", tmp_path / "svft")
    loaded = load("bert", bases["bert"], tmp_path / "svft")
    for row in actual["matrices"]:
        name = row["name"]
        lora, svft = (m.get_base_model().get_submodule(name) for m in (model, loaded))
        before, after = (m.get_delta_weight("default").detach().double() for m in (lora, svft))
        assert row["update_norm"] == pytest.approx(float(before.norm()), rel=1e-5)
        assert row["error"] == pytest.approx(float((after - before).norm()), rel=1e-3, abs=1e-5)
        square = row["out"] == row["in"]
        assert (row["lost_share"] < 1e-9) == square  # every place is open: only what is outside can be lost
    head = "base_model.model.classifier.modules_to_save.default.weight"
    assert torch.equal(loaded.state_dict()[head], model.state_dict()[head])


def test_a_whole_fine_tuned_model_becomes_svft(bases, tmp_path):
    model = make_model("llama")
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "self_attn.q_proj" in name:  # square: nothing of it is outside the basis
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    model.save_pretrained(tmp_path / "full")
    words = ("convert", tmp_path / "full", "--base", bases["llama"], "--to", "svft", "--pattern", "best", "--size", 15)
    actual = document(*words, "--output", tmp_path / "svft")
    assert actual["lost_share"] == pytest.approx(0, abs=1e-9)
    assert_same_logits("llama", model, load("llama", bases["llama"], tmp_path / "svft"))


def test_a_checkpoint_of_the_authors_is_converted_with_its_base_named(bases, tmp_path):
    authors = adapt(make_model(), "random", truncated=True)
    write_state(authors, tmp_path / "checkpoint" / "pytorch_model.bin")
    words = ("convert", tmp_path / "checkpoint", "--to", "svft", "--output", tmp_path / "svft")
    assert "does not name its base" in run(*words).output
    result = run(*words, "--base", bases["bert"])
    assert result.exit_code == 0, result.output
    assert "truncated" in result.output
    assert_same_logits("bert", authors, load("bert", bases["bert"], tmp_path / "svft"))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--to", "magic"], "no conversion to 'magic'"),
        (["--to", "lora"], "needs a rank"),
        (["--to", "lora", "--rank", "99"], "rank from 1 to 16"),
        (["--to", "svft"], "needs a pattern"),
        (["--to", "svft", "--pattern", "plain", "--size", "3"], "has one size only"),
    ],
)
def test_what_cannot_be_done_is_a_sentence(words, sentence, trained, tmp_path):
    _, directory = trained("bert", "plain")
    result = run("convert", directory, *words, "--output", tmp_path / "out")
    assert result.exit_code == 2
    assert sentence in result.output
    assert "Traceback" not in result.output
    assert not (tmp_path / "out").exists()


def test_nothing_is_written_over(trained, tmp_path):
    _, directory = trained("bert", "plain")
    before = (directory / "adapter_model.safetensors").read_bytes()
    result = run("convert", directory, "--to", "merged", "--output", directory)
    assert result.exit_code == 2
    assert "is not empty" in result.output
    assert (directory / "adapter_model.safetensors").read_bytes() == before


@pytest.mark.slow
def test_a_job_converts_in_a_process_of_its_own(trained, tmp_path):
    _, directory = trained("bert", "plain")
    job = Job(conversion_steps, directory, "lora", tmp_path / "l", rank=3)
    job.wait(300)
    assert job.complete, job.error
    assert len(job.results) == job.total == 12
    assert open_adapter(tmp_path / "l").method == "LoRA r=3"
    with pytest.raises(UserError, match="LoRA needs a rank: give one"):
        next(conversion_steps(directory, "lora", tmp_path / "n"))
