"""Opening an adapter of another kind in the app: projected, marked as such, and only what a visitor may open."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from analysis.adapters.upload import with_base
from analysis.models.loading import DEFAULT_BASE, load_base
from tests.analysis.adapters.peft_models import adapt, make_model, save_adapter, save_base
from tests.app.explore_page import explore
from tests.app.jobs_here import compute_nothing


@pytest.fixture(autouse=True)
def before_anything_is_computed(monkeypatch):
    compute_nothing(monkeypatch)


@pytest.fixture(scope="module")
def lora(tmp_path_factory) -> Path:
    """A LoRA of the default base, on a square and a tall matrix of one layer."""
    directory = tmp_path_factory.mktemp("adapters") / "a-lora"
    torch.manual_seed(0)
    targets = [f"encoder.layer.2.{name}" for name in ("attention.self.value", "intermediate.dense")]
    config = LoraConfig(r=4, target_modules=targets, task_type="SEQ_CLS", init_lora_weights=False)
    get_peft_model(load_base(DEFAULT_BASE, ["a", "b"]), config).save_pretrained(
        str(directory), save_embedding_layers=False
    )
    return directory


def test_a_lora_is_shown_as_a_projection_with_its_share_inside_the_basis_first(lora):
    test = explore(adapter=str(lora), matrix="Layer 2 · MLP up")
    assert not test.exception
    assert not test.error
    assert any("LoRA r=4, projected" in header.value for header in test.header)
    words = " ".join(caption.value for caption in test.caption)
    assert re.search(r"of the update’s energy lies inside the basis, in M, .* in random directions \(2\d", words)
    assert "the diagonal covers" in words


def test_a_public_server_opens_nothing_outside_its_roots_and_the_visitor_s_uploads(lora, monkeypatch, tmp_path):
    monkeypatch.setenv("SVFT_PUBLIC", "1")
    test = explore(adapter=str(lora))
    assert not test.exception
    assert "This server does not open" in test.error[0].value
    monkeypatch.setenv("SVFT_ROOTS", str(lora.parent))
    assert not explore(adapter=str(lora)).error
    link = tmp_path / "link"  # a link does not lead out of the roots
    link.symlink_to(shutil.copytree(lora, tmp_path / "elsewhere"))
    monkeypatch.setenv("SVFT_ROOTS", str(tmp_path / "nothing"))
    assert "does not open" in explore(adapter=str(link)).error[0].value


def test_names_in_a_file_are_text_and_no_markup(lora, tmp_path):
    copy = Path(shutil.copytree(lora, tmp_path / "copy"))
    config = json.loads((copy / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = "<img src=x onerror=alert(1)>"
    (copy / "adapter_config.json").write_text(json.dumps(config))
    test = explore(adapter=str(copy))
    assert not test.exception
    assert "is not on this machine" in test.error[0].value  # st.error renders no HTML
    assert not any(np.any([element.allow_html]) for element in test.get("html") if "<img src=x" in str(element))


def test_the_picker_offers_to_open_one_and_keeps_what_is_open(lora):
    test = explore()
    test.button(key="open").click().run()
    assert not test.exception
    assert test.selectbox(key="adapter").value == "BBC headlines · plain"
    assert "open-path" not in test.session_state  # the dialog begins with the upload
    test.button_group(key="open-source").set_value("directory").run()
    test.text_input(key="open-path").set_value(str(lora)).run()
    test.button(key="open-directory").click().run()
    assert not test.exception
    assert test.selectbox(key="adapter").value == str(lora)


def test_a_whole_model_says_what_changed_outside_its_matrices(tmp_path):
    model = load_base(DEFAULT_BASE, ["a", "b"])
    with torch.no_grad():
        model.get_submodule("bert.encoder.layer.2.attention.self.value").weight.mul_(1.01)
        model.bert.embeddings.word_embeddings.weight.add_(0.001)
    model.save_pretrained(str(tmp_path / "tuned"))
    tuned = with_base(tmp_path / "tuned", DEFAULT_BASE, tmp_path / "named")
    test = explore(adapter=str(tuned), matrix="Layer 2 · value")
    assert not test.exception
    test.toggle(key="changed-parts").set_value(True).run()
    assert not test.exception
    [table] = [widget.value for widget in test.markdown if "| embeddings |" in widget.value]
    assert "| norms and biases | 0.00% |" in table


@pytest.fixture
def language_model(tmp_path) -> Path:
    """A LoRA on a tiny random language model."""
    base_model = make_model("llama")
    base = save_base(base_model, tmp_path / "base")
    words = Tokenizer(WordLevel({f"w{i}": i for i in range(50)}, unk_token="w0"))
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="w0").save_pretrained(base)
    return save_adapter(adapt(base_model, "LoRA", task_type="CAUSAL_LM"), tmp_path / "adapter")


def test_a_language_model_continues_a_text_without_its_adapter_and_with_it(language_model):
    test = explore(adapter=str(language_model), view="Edit")
    test.text_area(key="prompt").set_value("w3").run()
    test.button(key="write").click().run()
    assert not test.exception
    assert not test.warning
    without, with_adapter = (widget.value.split() for widget in test.text[-2:])
    assert len(without) == len(with_adapter) == 15  # the model reads 16 tokens
    assert without != with_adapter


def test_one_odd_and_one_damaged_module_hide_nothing_but_themselves(lora, tmp_path):
    path = tmp_path / "odd"
    shutil.copytree(lora, path)
    tensors = load_file(path / "adapter_model.safetensors")
    square = next(name for name in tensors if "value.lora_B" in name)
    tensors[square][0, 0] = np.nan
    other = square.replace("value", "key")
    tensors |= {other: torch.zeros(0), other.replace("lora_B", "lora_A"): torch.zeros(0)}
    save_file(tensors, path / "adapter_model.safetensors")
    test = explore(adapter=str(path), matrix="Layer 2 · MLP up")
    assert not test.exception
    assert not test.error
    (label,) = [widget.label.split(",")[0] for widget in test.expander if "left out" in widget.label]
    assert label in ("1 module is left out", "2 modules are left out")  # the damaged one once all are read
    words = " ".join(text.value for text in test.text)
    assert "encoder.layer.2.attention.self.key" in words
    assert "ZeRO-3" in words
    damaged = explore(adapter=str(path), matrix="Layer 2 · value")
    assert not damaged.exception
    assert all("NaN" in error.value for error in damaged.error)
    assert damaged.error
