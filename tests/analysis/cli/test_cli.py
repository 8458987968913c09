import json
import re

import numpy as np
import pytest
from typer.testing import CliRunner

import svft
from analysis.adapters import shipped
from analysis.cli import app, compare
from analysis.cli.shipping import ship
from analysis.common.errors import UserError
from analysis.training.evaluation import read_evaluation
from analysis.training.session import TrainingSession
from analysis.training.specification import TrainingSpec
from svft import decomposition

TRAIN = ["train", "--task", "bbc_headlines", "--steps", "2", "--batch-size", "4", "--examples", "8"]


def run(*words: str):
    return CliRunner().invoke(app, list(words))


def test_choose_writes_the_entries_that_a_run_of_the_method_chosen_trains(tiny_base, tmp_path):
    options = {"base": tiny_base, "budget": 12, "examples": 8}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    result = run("choose", "--task", "bbc_headlines", *words, "--output", str(tmp_path / "entries.json"))
    assert result.exit_code == 0, result.output
    assert "12 entries in" in result.output
    entries = json.loads((tmp_path / "entries.json").read_text())
    config = svft.SvftConfig(pattern="custom", custom_indices=entries, target_modules=list(entries))
    assert sum(map(len, config.custom_indices.values())) == 12
    model = TrainingSession(TrainingSpec("bbc_headlines", "chosen", **options)).finish().model
    trained = model.peft_config["default"].custom_indices
    assert {name: list(map(list, pairs)) for name, pairs in trained.items()} == entries


def test_diagnose_prints_what_patterns_capture_beside_chance():
    result = run("diagnose", "--task", "digits", "--budgets", "154")
    assert result.exit_code == 0, result.output
    for words in ("chosen", "by chance", "of the squared gradient lies", "rank correlation"):
        assert words in result.output


@pytest.mark.enable_socket  # the scheduler and its workers, in processes of their own, speak TCP
def test_decompose_writes_with_two_workers_what_an_adapter_then_reads(tiny_base, tmp_path, monkeypatch):
    shared = tmp_path / "shared"
    result = run("decompose", tiny_base, "--output", str(shared), "--workers", "2")
    assert result.exit_code == 0, result.output
    assert "12 matrices" in result.output
    monkeypatch.setenv("SVFT_CACHE_DIR", str(tmp_path / "empty"))
    monkeypatch.setenv("SVFT_DECOMPOSITIONS", str(shared))
    monkeypatch.setattr(decomposition, "decompose", None)  # not needed again
    TrainingSession(TrainingSpec("bbc_headlines", "plain", base=tiny_base, examples=8))


def test_decompose_says_that_a_directory_holds_no_model(tmp_path):
    result = run("decompose", str(tmp_path), "--output", str(tmp_path / "shared"))
    assert result.exit_code == 2
    assert "config.json" in " ".join(result.output.split())
    assert not (tmp_path / "shared").exists()


def test_help_lists_the_commands():
    result = run("--help")
    assert result.exit_code == 0
    assert "train" in result.output
    assert "train-shipped" in result.output


def test_train_writes_an_adapter_with_its_card_and_evaluation(tiny_base, tmp_path, socket_disabled):
    output = tmp_path / "adapter"
    result = run(*TRAIN, "--method", "banded", "--size", "1", "--base", tiny_base, "--output", str(output))
    assert result.exit_code == 0, result.output
    assert "of 800 test examples right" in result.output
    assert {path.name for path in output.iterdir()} == {
        "README.md", "adapter_config.json", "adapter_model.safetensors", "evaluation.json",
    }  # fmt: skip
    measured = read_evaluation(output)
    assert measured.spec["method"] == "banded"
    assert (measured.steps, measured.n_test) == (2, 800)
    assert measured.low <= measured.accuracy <= measured.high
    card = (output / "README.md").read_text()
    assert "import svft\n" in card  # PEFT does not find the method by itself
    assert measured.command in card
    assert f"base_model: {tiny_base}" in card
    assert "95% interval" in card
    assert "Seed: 0" in card


def test_the_command_on_the_card_trains_the_same_adapter_again(tiny_base, tmp_path):
    first = tmp_path / "adapter"
    run(*TRAIN, "--method", "plain", "--base", tiny_base, "--output", str(first))
    weights = (first / "adapter_model.safetensors").read_bytes()
    command = read_evaluation(first).command.split()
    (first / "adapter_model.safetensors").unlink()
    assert run(*command[1:]).exit_code == 0
    assert (first / "adapter_model.safetensors").read_bytes() == weights


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--method", "magic"], "There is no method 'magic'"),
        (["--method", "plain", "--size", "3"], "has one size only"),
        (["--method", "plain", "--schedule", "magic"], "There is no schedule 'magic'"),
        (["--method", "plain", "--base", "/no/such/base"], "could not be loaded"),
        (["--method", "plain", "--target-modules", "nowhere"], "names 'nowhere'"),
    ],
)
def test_bad_input_gets_a_sentence_and_no_traceback(words, message, tiny_base, tmp_path):
    base = [] if "--base" in words else ["--base", tiny_base]
    result = run(*TRAIN, *words, *base, "--output", str(tmp_path / "adapter"))
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output
    assert not (tmp_path / "adapter").exists()


def test_shipping_writes_every_method_with_its_baselines_and_dial(tiny_base, tmp_path):
    methods = ("plain", "head_only", "lora_r8", "full")  # one of each sort is enough to see it
    ship.train_shipped(tmp_path, ["bbc_headlines"], methods, base=tiny_base, steps=1, batch_size=4, examples=8)
    assert {path.name for path in tmp_path.iterdir()} == {f"bbc_headlines-{m}" for m in methods}
    for method in methods:
        measured = read_evaluation(tmp_path / f"bbc_headlines-{method}")
        assert measured.seeds == [0, 1, 2]
        assert set(measured.accuracies) == {"head_only", "full", method}
        assert measured.accuracies[method][0] == pytest.approx(measured.accuracy)
        assert measured.command == "svft train-shipped"
        if method != "plain":
            assert measured.dial is None
        else:
            assert measured.dial["alpha"].iloc[[0, -1]].tolist() == [-1.0, 3.0]
            assert len(measured.dial) >= 17
            at_one = measured.dial.set_index("alpha")["accuracy"][1.0]
            assert at_one == pytest.approx(measured.accuracy, abs=1e-6)


def test_an_unexpected_error_is_an_id_whose_traceback_is_in_the_log_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("SVFT_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr(compare, "compare", lambda *_, **__: np.ones(2) + np.ones(3))
    plain = str(shipped.DIRECTORY / "bbc_headlines-plain")
    result = run("compare", plain, plain)
    assert result.exit_code == 1
    shown = re.match(r"An unexpected error occurred \(id (\w{8})\)\. The details are in the log\.\n", result.output)
    assert shown
    assert "Traceback" not in result.output
    assert "operands" not in result.output
    log = (tmp_path / "data" / "svft.log").read_text()
    assert f"{shown[1]} in svft compare" in log
    assert "ValueError: operands could not be broadcast together" in log


def test_an_error_for_people_is_its_sentence_in_every_command(tmp_path, monkeypatch):
    monkeypatch.setenv("SVFT_DATA_DIR", str(tmp_path / "data"))

    def refuse(*_, **__):
        raise UserError("The disk is full.")

    monkeypatch.setattr(ship, "train_shipped", refuse)
    result = run("train-shipped")
    assert (result.exit_code, result.output) == (2, "The disk is full.\n")
    assert not (tmp_path / "data").exists()
