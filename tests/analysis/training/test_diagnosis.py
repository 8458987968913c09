"""What patterns can follow of the gradient, against the dense gradient of the adapted weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from analysis.common.errors import TaskError
from analysis.models.loading import block_linears, load_base, load_encoder
from analysis.training.choosing import _batches, _epoch, _train_head
from analysis.training.diagnosis import choice_steps, diagnose, drawn_entries
from analysis.training.session import TrainingSession
from analysis.training.specification import TrainingSpec, choose_examples
from analysis.training.tasks import TASKS
from svft.layer import layers_of

BUDGETS = (48, 192)


@pytest.fixture(scope="module")
def spec(tiny_base):
    return TrainingSpec("bbc_headlines", "head_only", base=tiny_base, examples=24, batch_size=8, seed=1)


@pytest.fixture(scope="module")
def tables(spec):
    return diagnose(spec, BUDGETS)


@pytest.fixture(scope="module")
def dense(spec):
    """Mean gradient of each W in float64 after the head was trained, by plain backward passes."""
    torch.manual_seed(spec.seed)
    resolved = spec.resolved()
    model = load_base(spec.base, TASKS[spec.task].labels)
    examples, encode = choose_examples(resolved), load_encoder(spec.base)
    head = [p for name, p in model.named_parameters() if "classifier" in name]
    _train_head(model, head, _batches(resolved, examples, encode, 30))
    model = model.double().eval().requires_grad_(True)
    for batch in (batches := list(_epoch(resolved, examples, encode))):
        model(**batch).loss.backward()
    weights = {name: model.get_submodule(name).weight for name in block_linears(model)}
    return {name: (W.detach().numpy(), W.grad.numpy() / len(batches)) for name, W in weights.items()}


def squared_in_basis(W, G):
    U, _, Vt = np.linalg.svd(W, full_matrices=False)
    return np.square(U.T @ G @ Vt.T)


def test_what_a_pattern_captures_is_its_share_of_the_dense_gradient(tables, dense):
    capture, _ = tables
    total = sum(np.square(G).sum() for _, G in dense.values())
    plain = sum(np.trace(squared_in_basis(*pair)[:4, :4]) for pair in dense.values())  # 48 entries: 4 in each of 12
    drawn = sum(4 * squared_in_basis(*pair).mean() for pair in dense.values())
    chance = sum(4 * np.square(G).sum() / G.size for _, G in dense.values())
    rows = capture[capture["budget"] == 48].set_index("pattern")
    assert rows.loc["plain", "captured"] == pytest.approx(plain / total, rel=1e-3)
    assert rows.loc["random", "captured"] == pytest.approx(drawn / total, rel=1e-3)
    assert rows.loc["random", "chance"] == pytest.approx(chance / total, rel=1e-3)


def test_no_pattern_captures_more_than_the_chosen_one(tables):
    capture, _ = tables
    for _, rows in capture.groupby("budget"):
        assert rows.set_index("pattern")["captured"].idxmax() == "chosen"


def test_the_table_of_matrices_adds_up(tables, dense):
    _, matrices = tables
    for budget, rows in matrices.groupby("budget"):
        assert rows["entries"].sum() == rows["proportional"].sum() == budget
        assert rows["share"].sum() == pytest.approx(1)
    for row in matrices.itertuples():
        W, G = dense[row.name]
        assert row.inside == pytest.approx(squared_in_basis(W, G).sum() / np.square(G).sum(), rel=1e-3)


def test_a_pattern_without_a_size_near_the_budget_is_left_out(tables):
    capture, _ = tables
    assert (abs(capture["entries"] - capture["budget"]) <= 0.1 * capture["budget"]).all()
    assert "custom" not in set(capture["pattern"])


@pytest.mark.parametrize("pattern", ["plain", "banded", "random", "top_k"])
def test_entries_are_those_that_a_run_trains(spec, pattern):
    session = TrainingSession(TrainingSpec(**(spec.to_dict() | {"method": pattern, "budget": 192})))
    base = load_base(spec.base, TASKS[spec.task].labels)
    before = {name: value.clone() for name, value in base.state_dict().items()}
    entries = drawn_entries(base, pattern, 192, list(block_linears(base)), spec.seed)
    layers = layers_of(session.model, "default")
    assert len(layers) == len(entries)
    for name, layer in layers.items():
        rows, cols = layer.coefficient_positions("default")
        i, j = entries[name.removeprefix("base_model.model.")]
        assert torch.equal(rows, i)
        assert torch.equal(cols, j)
    assert all(torch.equal(value, before[name]) for name, value in base.state_dict().items())


def test_a_budget_that_does_not_fit_is_refused(spec):
    with pytest.raises(TaskError, match="budget=3 does not fit"):
        diagnose(spec, [3])


def test_the_choice_of_a_run_is_measured_again(spec):
    run = TrainingSpec(**(spec.to_dict() | {"method": "chosen", "budget": 40}))
    steps = choice_steps(run)
    next(steps)
    matrices, entries, shares = next(steps)
    trained = {
        (name.removeprefix("base_model.model."), int(i), int(j))
        for name, layer in layers_of(TrainingSession(run).model, "default").items()
        for i, j in zip(*layer.coefficient_positions("default"), strict=True)
    }
    assert set(entries[["name", "i", "j"]].itertuples(index=False, name=None)) == trained
    assert matrices["entries"].sum() == len(entries) == 40
    assert entries["score"].is_monotonic_decreasing
    assert shares["captured"] > shares["random"] > 0
