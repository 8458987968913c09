import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from peft import PeftModel

from analysis.adapters.shipped import shipped_adapters
from analysis.cli.train import train_to
from analysis.common.errors import AdapterError
from analysis.models.loading import load_base
from analysis.running.inference import correct, dial_curve, dialled, predict_logits
from analysis.running.predictor import load_predictor
from analysis.training.evaluation import wilson_interval
from analysis.training.session import train
from analysis.training.specification import TrainingSpec
from analysis.training.tasks import TASKS, Examples

TEXT = "Rate rise fears shake markets"


@pytest.fixture(scope="module")
def spec(tiny_base) -> TrainingSpec:
    # A large learning rate, so that M moves the predictions of this tiny model.
    return TrainingSpec(
        "bbc_headlines", "banded", base=tiny_base, steps=20, batch_size=8, examples=32, learning_rate=0.5
    )


@pytest.fixture(scope="module")
def run(spec):
    return train(spec)


@pytest.fixture(scope="module")
def directory(spec, tmp_path_factory):
    output = tmp_path_factory.mktemp("adapter")
    train_to(spec, output)
    return output


# ---- predictions of a model


def test_predictions_do_not_depend_on_order_and_batch(run):
    texts = list(TASKS["bbc_headlines"].load().test.inputs[:150])
    together = predict_logits(run.model, run.encode, texts)
    alone = np.concatenate([predict_logits(run.model, run.encode, [text]) for text in texts[:10]])
    assert together.shape == (150, 5)
    assert together[:10] == pytest.approx(alone, abs=1e-5)
    assert predict_logits(run.model, run.encode, texts[::-1]) == pytest.approx(together[::-1], abs=1e-5)


# ---- the dial


@pytest.mark.parametrize("alpha", [-1.0, 0.5, 3.0])
def test_the_dial_is_the_adapter_with_every_coefficient_scaled(run, directory, spec, alpha):
    scaled = PeftModel.from_pretrained(load_base(spec.base, TASKS[spec.task].labels), str(directory)).eval()
    with torch.no_grad():
        for name, parameter in scaled.named_parameters():
            if "svft_coefficients" in name:
                parameter.mul_(alpha)
    with dialled(run.model, alpha):
        turned = predict_logits(run.model, run.encode, [TEXT])
    assert turned == pytest.approx(predict_logits(scaled, run.encode, [TEXT]), abs=1e-4)


def test_the_dial_goes_back_even_after_an_error(run):
    before = predict_logits(run.model, run.encode, [TEXT])
    with pytest.raises(RuntimeError), dialled(run.model, 3.0):
        raise RuntimeError
    assert np.array_equal(predict_logits(run.model, run.encode, [TEXT]), before)


def test_the_curve_is_the_accuracy_at_each_alpha_with_its_interval(run):
    test = TASKS["bbc_headlines"].load().test
    few = Examples(test.inputs[:60], test.labels[:60])
    curve = dial_curve(run.model, run.encode, few, alphas=(0.0, 1.0))
    assert curve.columns.tolist() == ["alpha", "accuracy", "low", "high"]
    as_trained = curve.iloc[1]
    right = correct(run.model, run.encode, few)
    assert as_trained["accuracy"] == right.mean()
    assert (as_trained["low"], as_trained["high"]) == wilson_interval(int(right.sum()), 60)


# ---- the predictor


def test_a_predictor_gives_the_probability_of_each_label(directory, run):
    table = load_predictor(directory).predict(TEXT)
    assert table["label"].tolist() == list(TASKS["bbc_headlines"].labels)
    assert table["probability"].sum() == pytest.approx(1)
    logits = torch.from_numpy(predict_logits(run.model, run.encode, [TEXT])[0])
    assert table["probability"].to_numpy() == pytest.approx(logits.softmax(0).numpy(), abs=1e-4)


def test_turning_the_dial_changes_the_prediction_and_leaves_the_predictor_as_it_was(directory):
    predictor = load_predictor(directory)
    assert predictor.has_dial
    before = predictor.predict(TEXT)
    assert not np.allclose(predictor.predict(TEXT, alpha=-1)["probability"], before["probability"], atol=1e-3)
    assert predictor.predict(TEXT).equals(before)


def test_threads_that_share_a_predictor_do_not_see_each_others_dial(directory):
    predictor = load_predictor(directory)
    alphas = (-1.0, 0.0, 1.0, 3.0)
    expected = {alpha: predictor.predict(TEXT, alpha)["probability"].to_numpy() for alpha in alphas}
    wrong = []

    def ask(alpha: float) -> None:
        for _ in range(10):
            if not np.array_equal(predictor.predict(TEXT, alpha)["probability"], expected[alpha]):
                wrong.append(alpha)

    threads = [threading.Thread(target=ask, args=(alpha,)) for alpha in alphas]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_threads_that_share_a_predictor_are_told_the_same_of_a_text(directory):
    predictor = load_predictor(directory)
    texts = [TEXT, "word " * 2000, "Наука и техника", "word " * 700]
    expected = [predictor.unread(text) for text in texts]
    assert expected[1] != expected[3]

    def ask(number: int) -> list[str | None]:
        predictor.predict(TEXT, alpha=number)
        return [predictor.unread(text) for text in texts]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(8))) == 8 * [expected]


def test_head_only_has_no_dial(spec, tmp_path):
    train_to(replace(spec, method="head_only", learning_rate=None, steps=2), tmp_path)
    predictor = load_predictor(tmp_path)
    assert not predictor.has_dial
    assert predictor.predict(TEXT, alpha=3).equals(predictor.predict(TEXT))


def test_a_directory_without_evaluation_is_refused_with_a_sentence(tmp_path):
    with pytest.raises(AdapterError, match=r"no readable evaluation\.json"):
        load_predictor(tmp_path)


def test_a_damaged_adapter_is_refused_with_a_sentence(spec, tmp_path):
    train_to(replace(spec, steps=1), tmp_path)
    weights = tmp_path / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(AdapterError, match="cannot be loaded as a PEFT adapter"):
        load_predictor(tmp_path)


def test_a_public_server_applies_no_adapter_from_outside_its_roots(directory, monkeypatch):
    monkeypatch.setenv("SVFT_PUBLIC", "1")
    with pytest.raises(AdapterError, match="does not run uploaded adapters"):
        load_predictor(directory)
    monkeypatch.setenv("SVFT_ROOTS", str(directory.parent))
    assert load_predictor(directory).predict(TEXT)["probability"].sum() == pytest.approx(1)


# ---- what is not read


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (TEXT, None),
        ("", None),
        ("12 %", None),
        ("Überraschung: Zinsängste erschüttern Märkte", None),
        ("利率上升的恐惧震撼市场", "another script"),
        ("Опасения роста ставок", "another script"),
        ("rate " * 600, "cut off"),
        ("\U0001f9ff \U0001faac " * 4, "vocabulary"),
    ],
)
def test_a_text_that_the_model_does_not_read_is_said_to_be_one(text, part):
    unread = load_predictor(shipped_adapters()["BBC headlines · plain"]).unread(text)
    assert unread is None if part is None else part in unread
