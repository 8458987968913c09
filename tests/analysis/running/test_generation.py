"""Continuing a text with an adapter and without: the same as transformers' own greedy generation."""

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

from analysis.adapters.opening import open_adapter
from analysis.adapters.recognise import is_causal
from analysis.common.errors import AdapterError
from analysis.models.loading import block_linears
from analysis.running.generation import load_writer, writing_speed
from svft import SvftConfig
from tests.analysis.adapters.peft_models import FAMILIES
from tests.analysis.causal import save_causal

PROMPT = "w3 w14 w15"


@pytest.fixture(params=["gpt2", "llama"])
def base(request, tmp_path):
    """A tiny random language model with its tokenizer, saved as its users save them."""
    return save_causal(tmp_path / "base", request.param)


def save_tuned(base, directory, kind):
    model = AutoModelForCausalLM.from_pretrained(base)
    targets = block_linears(model)
    torch.manual_seed(1)
    if kind == "full":
        with torch.no_grad():
            for name in targets:
                weight = model.get_submodule(name).weight
                weight.add_(0.3 * torch.randn_like(weight))
        model.config._name_or_path = str(base)
        model.save_pretrained(directory)
        return directory
    if kind in ("LoRA", "PiSSA"):
        start = "pissa" if kind == "PiSSA" else False
        config = LoraConfig(
            r=3, target_modules=targets, task_type="CAUSAL_LM", init_lora_weights=start, fan_in_fan_out=False
        )
    else:
        config = SvftConfig(target_modules=targets, pattern="banded", off_diag=2, task_type="CAUSAL_LM")
    adapted = get_peft_model(model, config)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "svft_coefficients" in name or (kind == "PiSSA" and "lora_B" in name):
                parameter.normal_(std=0.5)
    adapted.peft_config["default"].base_model_name_or_path = str(base)
    adapted.save_pretrained(directory)
    return directory


def greedy(model, tokens):
    ids = torch.tensor([[3, 14, 15]])
    written = model.generate(ids, max_new_tokens=tokens, do_sample=False, pad_token_id=0)
    return " ".join(f"w{i}" for i in written[0, 3:].tolist())


@pytest.mark.parametrize("kind", ["LoRA", "PiSSA", "SVFT", "full"])
def test_both_texts_are_those_of_greedy_generation(base, tmp_path, kind):
    directory = save_tuned(base, tmp_path / "adapter", kind)
    adapter = open_adapter(directory, base=str(base))
    assert is_causal(adapter)
    writer = load_writer(adapter)
    *_, (without, with_adapter) = writer.write(PROMPT, tokens=8)
    original = AutoModelForCausalLM.from_pretrained(base)
    assert without == greedy(original, 8)
    adapted = (
        AutoModelForCausalLM.from_pretrained(directory)
        if kind == "full"
        else PeftModel.from_pretrained(original, str(directory)).eval()  # which changes it, if its start is PiSSA's
    )
    assert with_adapter == greedy(adapted, 8)
    assert without != with_adapter


@pytest.mark.parametrize("kind", ["LoRA", "PiSSA", "SVFT"])
def test_without_the_adapter_the_base_itself_answers(base, tmp_path, kind):
    writer = load_writer(open_adapter(save_tuned(base, tmp_path / "adapter", kind), base=str(base)))
    ids = torch.tensor([[3, 14, 15]])
    with torch.no_grad(), writer._as(adapted=False, alpha=1.0) as model:
        logits = model(ids).logits
        torch.testing.assert_close(logits, AutoModelForCausalLM.from_pretrained(base)(ids).logits, atol=0, rtol=0)


def test_the_texts_grow_token_by_token_and_end_where_the_model_reads_no_more(base, tmp_path):
    writer = load_writer(open_adapter(save_tuned(base, tmp_path / "adapter", "LoRA")))
    lengths = [[len(text.split()) for text in texts] for texts in writer.write(PROMPT, tokens=100)]
    assert lengths == [[n, n] for n in range(1, 16 - 3 + 1)]  # the model reads 16 tokens


def test_at_zero_the_dial_takes_the_adapter_away(base, tmp_path):
    writer = load_writer(open_adapter(save_tuned(base, tmp_path / "adapter", "SVFT")))
    assert all(without == with_adapter for without, with_adapter in writer.write(PROMPT, alpha=0.0, tokens=8))


def test_the_text_without_the_adapter_is_computed_once_for_all_places_of_the_dial(base, tmp_path):
    writer = load_writer(open_adapter(save_tuned(base, tmp_path / "adapter", "SVFT")))
    first, again, at_zero = (list(writer.write(PROMPT, alpha=alpha, tokens=8)) for alpha in (1.0, 1.0, 0.0))
    assert first == again
    assert [without for without, _ in first] == [without for without, _ in at_zero]
    assert list(writer.write("w4", tokens=8)) == list(
        load_writer(open_adapter(tmp_path / "adapter")).write("w4", tokens=8)
    )


def test_speeds_are_of_each_text_and_of_both(base, tmp_path):
    writer = load_writer(open_adapter(save_tuned(base, tmp_path / "adapter", "SVFT")))
    speed = writing_speed(writer, PROMPT, tokens=8)
    assert list(speed["what"]) == ["without the adapter", "with the adapter", "both, side by side"]
    assert (speed[["first_token", "tokens_per_second"]] > 0).all(axis=None)


@pytest.mark.parametrize("prompt", ["", " ".join(["w1"] * 16)])
def test_a_text_that_cannot_be_continued_is_a_sentence(base, tmp_path, prompt):
    writer = load_writer(open_adapter(save_tuned(base, tmp_path / "adapter", "LoRA")))
    with pytest.raises(AdapterError, match="give one of 1 to 15 tokens"):
        next(writer.write(prompt))


def test_a_message_is_answered_where_the_chat_template_begins_the_answer(tmp_path):
    base = save_causal(tmp_path / "base", chat=True)
    writer = load_writer(open_adapter(save_tuned(base, tmp_path / "adapter", "SVFT")))
    *_, (without, _) = writer.write("w14 w15", tokens=6)
    ids = torch.tensor([[1, 14, 15, 2, 3]])
    written = AutoModelForCausalLM.from_pretrained(base).generate(
        ids, max_new_tokens=6, do_sample=False, pad_token_id=0
    )
    assert without == " ".join(f"w{i}" for i in written[0, 5:].tolist())


def test_a_public_server_runs_no_uploaded_model(base, tmp_path, monkeypatch):
    adapter = open_adapter(save_tuned(base, tmp_path / "adapter", "LoRA"))
    monkeypatch.setenv("SVFT_PUBLIC", "1")
    with pytest.raises(AdapterError, match="does not run uploaded adapters"):
        load_writer(adapter)


def test_a_classifier_writes_nothing(tmp_path):
    model = get_peft_model(FAMILIES["bert"](), LoraConfig(target_modules=["query"], task_type="SEQ_CLS"))
    FAMILIES["bert"]().save_pretrained(tmp_path / "base")
    model.peft_config["default"].base_model_name_or_path = str(tmp_path / "base")
    model.save_pretrained(tmp_path / "adapter")
    assert not is_causal(open_adapter(tmp_path / "adapter"))
