"""The vision task: its images, its base model, and the command that made it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import ViTForImageClassification
from typer.testing import CliRunner

from analysis.cli import app
from analysis.cli.shipping.pretrain import pretrain_digits, upright_accuracy
from analysis.cli.train import train_to
from analysis.common.errors import AdapterError
from analysis.measures.overview import base_parameters
from analysis.models.loading import block_linears, load_base, load_encoder
from analysis.models.naming import KINDS, places
from analysis.models.packages import DIGITS_BASE, package_directory, resolve_base
from analysis.running.inference import predict_logits
from analysis.running.predictor import load_predictor
from analysis.training.data.digits import N_PRETRAINING, other_digits, pretraining_digits, turn
from analysis.training.methods import METHODS
from analysis.training.session import train
from analysis.training.specification import TrainingSpec
from analysis.training.tasks import get_task

SCIKIT_LEARN = package_directory("sklearn")
MODEL = Path(resolve_base(DIGITS_BASE))


def pixels(images) -> set[bytes]:
    return {image.tobytes() for image in images}


# ---- the images


def test_pretraining_and_other_images_are_all_of_scikit_learns_digits():
    from sklearn.datasets import load_digits

    first, other = pretraining_digits(SCIKIT_LEARN), other_digits(SCIKIT_LEARN)
    assert (len(first[0]), len(other[0])) == (N_PRETRAINING, 1797 - N_PRETRAINING)
    expected = load_digits()
    actual = {(image.tobytes(), digit) for images, digits in (first, other) for image, digit in zip(images, digits)}
    assert actual == {(i.astype(np.uint8).tobytes(), d) for i, d in zip(expected.images, expected.target)}


def test_no_image_of_the_task_was_seen_in_pretraining():
    seen = pixels(pretraining_digits(SCIKIT_LEARN)[0])
    splits = get_task("digits").load()
    for split in (splits.train, splits.validation, splits.test):
        assert not pixels(np.rot90(image, -1) for image in split.inputs) & seen


def test_the_task_has_all_other_images_turned_by_90_degrees_with_their_digits():
    images, digits = other_digits(SCIKIT_LEARN)
    upright = {image.tobytes(): digit for image, digit in zip(images, digits)}
    splits = get_task("digits").load()
    actual = {
        np.rot90(image, -1).tobytes(): label
        for split in (splits.train, splits.validation, splits.test)
        for image, label in zip(split.inputs, split.labels)
    }
    assert actual == upright


def test_an_image_is_turned_counterclockwise():
    image = np.zeros((8, 8), np.uint8)
    image[0, 7] = 1  # top right
    assert turn(image)[0, 0] == 1


# ---- the model


def test_the_shipped_model_reads_upright_digits_that_it_has_not_seen_and_fails_on_turned_ones():
    model = ViTForImageClassification.from_pretrained(MODEL).eval()
    encode = load_encoder(DIGITS_BASE)
    images, digits = other_digits(SCIKIT_LEARN)
    accuracy = upright_accuracy(model, encode, images, digits)
    assert accuracy > 0.95
    assert f"{accuracy:.1%}" in (MODEL / "README.md").read_text(encoding="utf-8")
    assert upright_accuracy(model, encode, np.rot90(images, axes=(1, 2)), digits) < 0.5


def test_the_shipped_model_is_small_and_names_no_path_of_a_machine():
    assert (MODEL / "model.safetensors").stat().st_size < 900_000
    assert "_name_or_path" not in (MODEL / "config.json").read_text(encoding="utf-8")


def test_its_blocks_have_six_matrices_with_names_for_people():
    actual = places(block_linears(load_base(DIGITS_BASE, ["a", "b"])))
    kinds = [kind for kind in KINDS if kind != "MLP gate"]
    assert [place.label for place in actual] == [f"Layer {layer} · {kind}" for layer in range(4) for kind in kinds]


def test_pretraining_gives_the_same_model_every_time_and_leaves_threads_and_generator(tmp_path):
    torch.manual_seed(3)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    accuracies = [pretrain_digits(tmp_path / name, epochs=1) for name in "ab"]
    assert accuracies[0] == accuracies[1]
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in "ab"]
    assert weights[0] == weights[1]
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_the_command_pretrains_and_says_how_well(tmp_path, monkeypatch):
    monkeypatch.setattr("analysis.cli.shipping.pretrain.pretrain_digits", lambda output: 0.975)
    result = CliRunner().invoke(app, ["pretrain-digits", "--output", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "97.5% of the held-out upright digits right" in result.output


# ---- fine-tuning on it


def spec(method: str, **options) -> TrainingSpec:
    return TrainingSpec("digits", method, **{"steps": 2, "batch_size": 4, **options})


@pytest.mark.parametrize("method", ["head_only", "banded", "chosen", "lora"])  # one of each sort: see test_session
def test_adapters_record_the_portable_id_and_load_again_with_equal_predictions(method, tmp_path, socket_disabled):
    run = train(spec(method))
    run.save(tmp_path)
    assert json.loads((tmp_path / "adapter_config.json").read_text())["base_model_name_or_path"] == DIGITS_BASE
    images = get_task("digits").load().test.inputs[:5]
    loaded = PeftModel.from_pretrained(load_base(DIGITS_BASE, get_task("digits").labels), str(tmp_path)).eval()
    expected = predict_logits(run.model, run.encode, images)
    assert predict_logits(loaded, run.encode, images) == pytest.approx(expected, abs=1e-5)


def test_images_are_predicted_in_their_order():
    run = train(spec("plain"))
    images = get_task("digits").load().test.inputs[:150]  # more than two batches
    together = predict_logits(run.model, run.encode, images)
    assert together == pytest.approx(
        np.concatenate([predict_logits(run.model, run.encode, [i]) for i in images]), abs=1e-5
    )


def test_rates_that_the_task_names_are_used_where_a_specification_names_none():
    task = get_task("digits")
    assert (
        spec("lora", size=1).resolved().learning_rate == task.learning_rates["lora"] != METHODS["lora"].learning_rate
    )
    assert spec("lora", learning_rate=1e-5).resolved().learning_rate == 1e-5
    assert spec("boft").resolved().learning_rate == METHODS["boft"].learning_rate
    assert spec("head_only").resolved().learning_rate is None


def test_the_model_without_its_head_is_counted_as_full_fine_tuning_trains_it():
    assert train(spec("full")).budget == base_parameters(DIGITS_BASE)


def test_full_fine_tuning_learns_what_a_head_alone_cannot():
    right = {}
    test = get_task("digits").load().test
    for method in ("head_only", "full"):
        run = train(TrainingSpec("digits", method))
        right[method] = (predict_logits(run.model, run.encode, test.inputs).argmax(axis=1) == test.labels).mean()
    assert right["full"] > 0.75
    assert right["full"] - right["head_only"] > 0.1


def test_an_adapter_of_digits_has_a_card_and_no_prediction_for_a_text(tmp_path):
    measured = train_to(spec("plain"), tmp_path)
    assert measured.n_test == 500
    assert "pipeline_tag: image-classification" in (tmp_path / "README.md").read_text(encoding="utf-8")
    with pytest.raises(AdapterError, match="classifies images"):
        load_predictor(tmp_path)
