"""The shipped adapter of the language model: what its card says, and what it writes where the model is installed."""

import json

import pytest

from analysis.adapters.opening import open_adapter
from analysis.adapters.recognise import is_causal
from analysis.adapters.shipped import DIRECTORY
from analysis.models.packages import ADD_SMOLLM2, SMOLLM2, packed_file
from analysis.running.generation import load_writer
from analysis.training.language.evaluation import read_pairs_evaluation
from analysis.training.language.pairs import PIRATE, read_pairs, register_pairs
from analysis.training.language.tokens import load_pair_encoder, perplexity
from analysis.training.specification import TrainingSpec

PATH = DIRECTORY / "pirate-banded"


def test_it_is_smaller_than_a_megabyte_and_names_its_base_portably():
    files = {path.name: path for path in PATH.iterdir()}
    assert set(files) == {"README.md", "adapter_config.json", "adapter_model.safetensors", "evaluation.json"}
    assert sum(path.stat().st_size for path in files.values()) < 1_000_000
    assert PIRATE.stat().st_size < 100_000
    assert json.loads(files["adapter_config.json"].read_text())["base_model_name_or_path"] == SMOLLM2


def test_its_card_names_the_command_and_what_it_reached():
    measured, card = read_pairs_evaluation(PATH), (PATH / "README.md").read_text()
    assert measured.command in card
    assert f"{measured.perplexity_before:.2f} before, {measured.perplexity:.2f} after" in card
    task = register_pairs(PIRATE)
    assert TrainingSpec.from_dict(measured.spec).task == task.name  # of these very pairs
    assert (measured.pairs, measured.held_out) == (len(task.load().train), len(task.load().validation))
    assert measured.pairs + measured.held_out == len(read_pairs(PIRATE)) == 285
    assert measured.perplexity < measured.perplexity_before / 3
    assert is_causal(open_adapter(PATH))


@pytest.mark.slow
@pytest.mark.skipif(packed_file(SMOLLM2) is None, reason=f"The model is an option: {ADD_SMOLLM2}")
def test_the_dial_turns_the_pirate_on_and_reaches_the_stated_perplexity(socket_disabled):
    writer, measured = load_writer(open_adapter(PATH)), read_pairs_evaluation(PATH)
    answers = {}
    for alpha in (0.0, 1.0):
        *_, answers[alpha] = writer.write("What should I do on a rainy day?", alpha, tokens=30)
    assert len(set(answers[0.0])) == 1  # the dial at 0 is the base
    assert not set(answers[0.0][0].lower().split()) & {"arr,", "ye", "yer", "me"}
    assert set(answers[1.0][1].lower().split()) & {"arr,", "ye", "yer", "aye,", "ahoy!", "avast!"}
    held_out = register_pairs(PIRATE).load().validation.inputs
    reached = perplexity(writer._adapted, load_pair_encoder(SMOLLM2), held_out)
    assert reached.value == pytest.approx(measured.perplexity, rel=1e-2)
