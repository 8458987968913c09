"""Training a language model on pairs, by the command: its loss, what it writes, and what it says."""

import json

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM
from typer.testing import CliRunner

from analysis.adapters.opening import open_adapter
from analysis.adapters.recognise import is_causal
from analysis.cli import app
from analysis.common.errors import BaseModelError, UserError
from analysis.models.loading import load_causal
from analysis.running.generation import load_writer
from analysis.training.evaluation import read_evaluation
from analysis.training.language.evaluation import read_pairs_evaluation
from analysis.training.language.pairs import register_pairs
from analysis.training.language.tokens import NOT_LEARNED, load_pair_encoder, perplexity
from analysis.training.session import TrainingSession
from analysis.training.specification import TrainingSpec
from tests.analysis.causal import save_causal

STEPS = 40


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def base(request, tmp_path_factory) -> str:
    return str(save_causal(tmp_path_factory.mktemp("base"), request.param, ends=True))


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Answers that a model can learn: the word after the question's."""
    path = tmp_path_factory.mktemp("pairs") / "next.jsonl"
    pairs = [{"prompt": f"w{i} w{j}", "completion": f"w{j + 1} w7"} for i in range(1, 12) for j in range(1, 8)]
    path.write_text("\n".join(map(json.dumps, pairs)))
    return path


def train(*words):
    return CliRunner().invoke(app, ["train", *map(str, words)])


def test_a_step_descends_the_loss_of_transformers_with_prompts_masked(base, file):
    task = register_pairs(file)
    session = TrainingSession(TrainingSpec(task.name, "plain", base=base, steps=3, batch_size=4))
    inputs = session.encode(task.load().train.inputs[:4])
    model = AutoModelForCausalLM.from_pretrained(base).eval()
    logits = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits
    by_hand = torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), inputs["labels"][:, 1:].flatten(), ignore_index=NOT_LEARNED
    )
    with torch.no_grad():
        assert session.model(**inputs).loss.item() == pytest.approx(by_hand.item(), rel=1e-5)
    assert session.train_step().loss > 0


@pytest.mark.parametrize("method", ["banded", "chosen", "lora", "full"])
def test_the_command_lowers_perplexity_and_writes_what_loads_again(base, file, method, tmp_path, socket_disabled):
    output = tmp_path / "adapter"
    rate = {"full": "3e-3", "lora": "5e-2"}.get(method, "2e-1")
    options = ("--steps", STEPS, "--learning-rate", rate, "--method", method, "--base", base, "--output", output)
    result = train("--pairs", file, *options)
    assert result.exit_code == 0, result.output
    measured = read_pairs_evaluation(output)
    assert str(measured) in " ".join(result.output.split())
    assert measured.held_out == 11
    assert (measured.steps, measured.cut) == (STEPS, 0)
    assert measured.perplexity < 0.9 * measured.perplexity_before
    assert read_evaluation(output) is None  # of a classifier there is none

    adapter = open_adapter(output)
    assert is_causal(adapter)
    held_out, encode = register_pairs(file).load().validation.inputs, load_pair_encoder(base)
    whole = AutoModelForCausalLM.from_pretrained(base)
    assert perplexity(whole.eval(), encode, held_out).value == pytest.approx(measured.perplexity_before, rel=1e-4)
    loaded = (
        AutoModelForCausalLM.from_pretrained(output) if method == "full" else PeftModel.from_pretrained(whole, output)
    )
    assert perplexity(loaded.eval(), encode, held_out).value == pytest.approx(measured.perplexity, rel=1e-4)
    assert next(load_writer(adapter).write("w3 w4"))


def test_the_card_and_its_command_say_how_it_was_trained(base, file, tmp_path):
    output = tmp_path / "adapter"
    train("--pairs", file, "--method", "plain", "--base", base, "--steps", 2, "--output", output)
    measured, card = read_pairs_evaluation(output), (output / "README.md").read_text()
    for words in (measured.command, "pipeline_tag: text-generation", "import svft\n", "before,"):
        assert words in card
    weights = (output / "adapter_model.safetensors").read_bytes()
    (output / "adapter_model.safetensors").unlink()
    assert train(*measured.command.split()[2:]).exit_code == 0
    assert (output / "adapter_model.safetensors").read_bytes() == weights


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "Name a task (--task), or a file"),
        (("--task", "digits", "--pairs", "FILE"), "Name a task (--task), or a file"),
        (("--pairs", "FILE", "--base", "BERT"), "is not a causal language model"),
        (("--pairs", "no.jsonl"), "no.jsonl cannot be read"),
    ],
)
def test_bad_input_gets_a_sentence(words, message, file, tiny_base, tmp_path):
    places = {"FILE": str(file), "BERT": tiny_base}
    result = train("--method", "plain", "--output", tmp_path / "o", *(places.get(word, word) for word in words))
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())
    assert not (tmp_path / "o").exists()


def test_a_language_model_has_no_head_to_train_alone(base, file):
    spec = TrainingSpec(register_pairs(file).name, "head_only", base=base)
    with pytest.raises(UserError, match="no new head"):
        TrainingSession(spec)


def test_a_session_goes_on_from_its_state(base, file):
    spec = TrainingSpec(register_pairs(file).name, "banded", base=base, steps=6)
    whole, first = TrainingSession(spec), TrainingSession(spec)
    losses = [whole.train_step().loss for _ in range(6)]
    for _ in range(3):
        first.train_step()
    second = TrainingSession(spec, first.state())
    assert [second.train_step().loss for _ in range(3)] == losses[3:]


def test_another_kind_of_model_is_refused(tiny_base):
    with pytest.raises(BaseModelError, match="not a causal language model"):
        load_causal(tiny_base)
