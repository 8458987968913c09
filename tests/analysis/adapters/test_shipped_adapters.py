"""What ships is what its cards say."""

import json

import pytest

from analysis.adapters.opening import open_adapter
from analysis.adapters.shipped import DIRECTORY
from analysis.cli.shipping.ship import SEEDS, SHIPPED, SHIPPED_METHODS
from analysis.models.loading import DEFAULT_BASE
from analysis.running.inference import correct
from analysis.running.predictor import load_predictor
from analysis.training.evaluation import read_evaluation, wilson_interval
from analysis.training.specification import TrainingSpec
from analysis.training.tasks import Examples, get_task

CONTRASTS = ("lora_r1", "lora_r8", "full")  # other methods, to be seen beside SVFT
ADAPTERS = [f"{task}-{method}" for task, of in SHIPPED.items() for method in of if method not in CONTRASTS]
OF_CONTRASTS = [f"{task}-{method}" for task, of in SHIPPED.items() for method in of if method in CONTRASTS]
WITH_M = [name for name in ADAPTERS if not name.endswith("head_only")]

every_adapter = pytest.mark.parametrize("name", ADAPTERS)


def test_nothing_else_ships():
    directories = {file.parent.name for file in DIRECTORY.glob("*/*") if file.suffix == ".json"}
    assert directories == {*ADAPTERS, *OF_CONTRASTS, "pirate-banded"}


@pytest.mark.parametrize("name", OF_CONTRASTS)
def test_a_contrast_is_a_projection_smaller_than_a_megabyte(name):
    task, method = name.split("-")
    assert sum(path.stat().st_size for path in (DIRECTORY / name).iterdir()) < 1_000_000
    adapter, measured = open_adapter(DIRECTORY / name), read_evaluation(DIRECTORY / name)
    assert adapter.projected
    assert adapter.base == DEFAULT_BASE
    assert SHIPPED_METHODS[method].items() <= measured.spec.items()
    assert measured.spec["task"] == task
    assert len(adapter.names) == (2 if method == "full" else 36)
    if method == "full":  # it moves its matrices far less than SVFT does, and in few directions
        plain = open_adapter(DIRECTORY / f"{task}-plain")
        for matrix in map(adapter.matrix, adapter.names):
            assert plain.matrix(matrix.name).update_norm > 5 * matrix.update_norm


@every_adapter
def test_each_is_smaller_than_a_megabyte_and_names_its_base_portably(name):
    files = {path.name: path for path in (DIRECTORY / name).iterdir()}
    assert set(files) == {"README.md", "adapter_config.json", "adapter_model.safetensors", "evaluation.json"}
    assert sum(path.stat().st_size for path in files.values()) < 1_000_000
    config = json.loads(files["adapter_config.json"].read_text())
    assert config["base_model_name_or_path"] == get_task(name.split("-")[0]).base


@every_adapter
def test_each_is_trained_with_the_defaults_that_the_command_uses(name):
    task, method = name.split("-")
    measured = read_evaluation(DIRECTORY / name)
    assert (
        TrainingSpec.from_dict(measured.spec)
        == TrainingSpec(task, seed=SEEDS[0], **SHIPPED_METHODS[method]).resolved()
    )
    assert measured.labels == list(get_task(task).labels)
    assert measured.command in (DIRECTORY / name / "README.md").read_text()


@every_adapter
def test_the_stated_interval_is_that_of_the_stated_accuracy(name):
    measured = read_evaluation(DIRECTORY / name)
    right = round(measured.accuracy * measured.n_test)
    assert (measured.low, measured.high) == pytest.approx(wilson_interval(right, measured.n_test))
    assert measured.n_test == len(get_task(name.split("-")[0]).load().test)


@pytest.mark.parametrize("name", WITH_M)
def test_the_dial_runs_from_minus_1_to_3_through_the_stated_accuracy(name):
    measured = read_evaluation(DIRECTORY / name)
    alphas = measured.dial["alpha"].tolist()
    assert len(alphas) >= 17
    assert (alphas[0], alphas[-1]) == (-1, 3)
    assert measured.dial.set_index("alpha")["accuracy"][1.0] == pytest.approx(measured.accuracy, abs=1e-6)


@pytest.mark.parametrize("task", ["bbc_headlines", "airline_tweets"])
def test_plain_is_far_above_head_only_and_about_level_with_full_fine_tuning(task):
    measured = read_evaluation(DIRECTORY / f"{task}-plain")
    assert measured.recovered_low > 0.5
    assert abs(measured.mean_accuracy("plain") - measured.mean_accuracy("full")) < 0.04


def test_a_shipped_adapter_reaches_its_stated_accuracy(socket_disabled):
    name = "bbc_headlines-plain"
    predictor = load_predictor(DIRECTORY / name)
    test = get_task("bbc_headlines").load().test
    few = Examples(test.inputs[:200], test.labels[:200])
    right = correct(predictor._model, predictor._encode, few).mean()
    assert right == pytest.approx(read_evaluation(DIRECTORY / name).accuracy, abs=0.06)


@pytest.mark.parametrize("name", ["airline_tweets-top_k", "airline_tweets-head_only"])
def test_shipped_adapters_predict_without_a_network(name, socket_disabled):
    table = load_predictor(DIRECTORY / name).predict("thank you for the great flight")
    assert table.set_index("label")["probability"].idxmax() == "positive"
