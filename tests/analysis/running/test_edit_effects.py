"""The effect of an edit on accuracy, and edited adapters as new ones."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from analysis.adapters import shipped
from analysis.adapters.opening import open_adapter
from analysis.cli.train import train_to
from analysis.common.errors import AdapterError, UserError
from analysis.measures.edits import OFF, Edit, cards
from analysis.running.edit_effects import (
    Accuracy,
    answers,
    edit_answers,
    edited,
    effect,
    effect_curve,
    kept,
    save_edited,
    why_not,
)
from analysis.running.inference import predict_logits
from analysis.running.loading import load_model
from analysis.running.predictor import load_predictor
from analysis.training.evaluation import read_evaluation, wilson_interval
from analysis.training.specification import TrainingSpec
from tests.svft.tiny import full_basis

TEXTS = ["Rate rise fears shake markets", "Striker out for a month", "New phone sells out", "Minister resigns"]


@pytest.fixture(scope="module")
def directory(tiny_base, tmp_path_factory):
    """An adapter of a tiny base, trained at a rate at which M moves its predictions."""
    output = tmp_path_factory.mktemp("adapter")
    spec = TrainingSpec(
        "bbc_headlines", "banded", base=tiny_base, steps=10, batch_size=8, examples=32, learning_rate=0.5
    )
    train_to(spec, output)
    return output


@pytest.fixture
def adapter(directory):
    return open_adapter(directory)


# ---- accuracy


def test_the_effect_is_the_paired_difference_with_an_interval_about_it():
    rng = np.random.default_rng(0)
    before = rng.random(800) < 0.8
    after = before & (rng.random(800) < 0.9)
    actual = effect(before, after)
    assert actual.difference == pytest.approx(after.mean() - before.mean())
    assert actual.low < actual.difference < actual.high < 0
    assert actual.clear
    # Examples answered alike add nothing to it: the interval is narrower than that of independent answers.
    independent = np.sqrt(sum(x.mean() * (1 - x.mean()) for x in (before, after)) / 800)
    assert actual.high - actual.low < 2 * 1.96 * independent
    expected = 1.96 * (after.astype(float) - before).std() / np.sqrt(800)
    assert (actual.high - actual.low) / 2 == pytest.approx(expected, rel=0.1)


def test_equal_answers_have_no_effect_to_the_last_bit():
    right = np.random.default_rng(0).random(100) < 0.5
    actual = effect(right, right)
    assert (actual.difference, actual.low, actual.high, actual.clear) == (0, 0, 0, False)


@given(st.lists(st.booleans(), min_size=1, max_size=50))
def test_an_accuracy_has_wilsons_interval(right):
    actual = Accuracy.of(np.array(right))
    assert (actual.low, actual.high) == wilson_interval(sum(right), len(right))


def test_answers_that_do_not_pair_are_refused():
    with pytest.raises(ValueError, match="do not pair"):
        effect(np.ones(3, bool), np.ones(4, bool))


def test_a_curve_is_sorted_by_its_amount():
    curve = effect_curve([0.5, 0.1], [np.array([True, True]), np.array([True, False])])
    assert curve["amount"].tolist() == [0.1, 0.5]
    assert curve["accuracy"].tolist() == [0.5, 1.0]


# ---- evaluation


def test_the_unedited_adapter_has_the_accuracy_that_its_evaluation_says(adapter):
    before, same, off = answers(adapter, [None, Edit("scaled", {"alpha": 1.0}), OFF])
    assert before.mean() == pytest.approx(read_evaluation(adapter.path).accuracy)
    np.testing.assert_array_equal(before, same)
    assert not np.array_equal(before, off)


@pytest.mark.parametrize(
    "edit", [card.title for card in cards(open_adapter(shipped.DIRECTORY / "bbc_headlines-plain"))]
)
def test_an_edited_model_computes_with_the_edited_coefficients(adapter, edit):
    edit = next(card.edit for card in cards(adapter) if card.title == edit)
    model, encode = load_model(adapter.path)
    trained = predict_logits(model, encode, TEXTS)
    with edited(model, adapter, edit):
        actual = predict_logits(model, encode, TEXTS)
    assert predict_logits(model, encode, TEXTS) == pytest.approx(trained, abs=1e-6)  # and its own again
    # The same with W + U M' Vᵀ, built by hand.
    with torch.no_grad():
        layers = {name: module for name, module in model.get_base_model().named_modules() if name in adapter.names}
        for name, layer in layers.items():
            U, V = (basis.double() for basis in full_basis(layer))
            M = torch.from_numpy(edit.apply(adapter.matrix(name)).coefficients())
            layer.get_base_layer().weight += (U @ M @ V.T).float()
        with model.disable_adapter():
            # Disabling takes the trained head away too: it is applied by hand.
            hidden = {}
            hook = model.base_model.model.classifier.register_forward_pre_hook(
                lambda module, inputs: hidden.update(x=inputs[0])
            )
            batch = encode(TEXTS)
            model(**batch)
            hook.remove()
        head = model.base_model.model.classifier.modules_to_save["default"]
        expected = head(hidden["x"]).numpy()
    assert actual == pytest.approx(expected, abs=1e-4)
    assert np.abs(actual - trained).max() > 1e-3


def test_a_job_evaluates_edits_one_after_another(adapter):
    lines = ["", OFF.to_json()]
    total, *results = edit_answers(str(adapter.path), *lines)
    assert total == 2
    assert [edit for edit, _ in results] == lines
    assert results[0][1].mean() == pytest.approx(read_evaluation(adapter.path).accuracy)


def test_an_evaluation_says_in_a_sentence_why_it_cannot(adapter, tmp_path):
    path = shutil.copytree(adapter.path, tmp_path / "moved")
    values = json.loads((path / "evaluation.json").read_text())
    values["spec"]["task"] = "someone_elses"
    (path / "evaluation.json").write_text(json.dumps(values))
    assert "There is no task 'someone_elses'" in why_not(open_adapter(path))
    with pytest.raises(UserError, match="There is no task 'someone_elses'"):
        list(edit_answers(str(path), ""))


def test_an_adapter_without_an_evaluation_or_without_m_cannot_be_edited(adapter, tmp_path):
    assert why_not(adapter) is None
    path = shutil.copytree(adapter.path, tmp_path / "bare")
    (path / "evaluation.json").unlink()
    assert "no readable evaluation.json" in why_not(open_adapter(path))
    with pytest.raises(AdapterError, match=r"no readable evaluation\.json"):
        next(answers(open_adapter(path), [None]))
    assert "writes texts: turn its dial" in why_not(open_adapter(shipped.DIRECTORY / "pirate-banded"))
    assert "has none: it is head only" in why_not(open_adapter(shipped.DIRECTORY / "bbc_headlines-head_only"))


def test_what_an_edit_keeps_is_counted_over_the_whole_adapter(adapter):
    entries, energy = kept(adapter, Edit("largest_only", {"share": 0.3}))
    assert entries == pytest.approx(0.3, abs=0.02)
    assert 0.3 < energy < 1
    assert kept(adapter, OFF) == (0, 0)
    assert kept(adapter, Edit("shuffled")) == pytest.approx((1, 1))


# ---- a new adapter


def test_what_is_saved_opens_again_and_computes_what_was_evaluated(adapter, tmp_path):
    edit = Edit("largest_only", {"share": 0.3})
    model, encode = load_model(adapter.path)
    with edited(model, adapter, edit):
        expected = predict_logits(model, encode, TEXTS)
    (right,) = answers(adapter, [edit])
    path = save_edited(adapter, edit, "largest 30% only", right, tmp_path / "new")
    again = open_adapter(path)
    for name in adapter.names:
        np.testing.assert_array_equal(again.matrix(name).values, edit.apply(adapter.matrix(name)).values)
    assert predict_logits(*load_model(path), TEXTS) == pytest.approx(expected, abs=1e-6)
    (measured,) = answers(again, [None])
    np.testing.assert_array_equal(measured, right)


def test_the_new_adapter_says_what_was_done_and_nothing_of_the_old_ones_accuracy(adapter, tmp_path):
    right = np.arange(800) < 200
    path = save_edited(adapter, OFF, "M off", right, tmp_path / "new")
    recorded = read_evaluation(path)
    assert (recorded.accuracy, recorded.n_test) == (0.25, 800)
    assert (recorded.dial, recorded.recovered, recorded.accuracies) == (None, None, {})
    card = (path / "README.md").read_text()
    assert "Edited after training: M off." in card
    assert OFF.to_json() in card
    assert "25.0%" in card


def test_the_try_it_box_follows_an_edit(adapter):
    predictor = load_predictor(adapter.path)
    off = predictor.predict(TEXTS[0], edit=(adapter, OFF))
    np.testing.assert_allclose(off["probability"], predictor.predict(TEXTS[0], alpha=0.0)["probability"], atol=1e-6)
    assert not np.allclose(off["probability"], predictor.predict(TEXTS[0])["probability"], atol=1e-3)


def test_an_edit_acts_on_the_files_own_signs(adapter, tmp_path):
    """A file written where singular vectors came out with other signs: its edit is an edit of that file."""
    path = shutil.copytree(adapter.path, tmp_path / "flipped")
    file = path / "adapter_model.safetensors"
    tensors = load_file(file)
    rng = np.random.default_rng(0)
    for name in adapter.names:
        matrix = adapter.matrix(name)
        signs = np.where(rng.random((2, matrix.m)) < 0.5, -1, 1)
        stem = f"base_model.model.{name}.svft_"
        tensors[stem + "signature"] = (tensors[stem + "signature"] * signs[..., None]).astype(np.float16)
        flips = signs[0, matrix.rows] * signs[1, matrix.cols]
        tensors[stem + "coefficients"] = (tensors[stem + "coefficients"] * flips).astype(np.float32)
    save_file(tensors, file, metadata={"format": "pt"})
    edit = Edit("largest_only", {"share": 0.3})
    logits = []
    for opened in (adapter, open_adapter(path)):
        model, encode = load_model(opened.path)
        with edited(model, opened, edit):
            logits.append(predict_logits(model, encode, TEXTS))
    assert logits[1] == pytest.approx(logits[0], abs=1e-5)
