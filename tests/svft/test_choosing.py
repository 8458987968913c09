"""The pattern that is chosen from data, against the gradient of the loss by M in dense float64."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft import get_peft_model
from torch.func import functional_call
from transformers.pytorch_utils import Conv1D

import svft
from svft.cache import decompose
from svft.choosing import _spread
from tests.svft.tiny import ARCHITECTURES, make_inputs, make_model, svft_layers


def batches_for(architecture: str, count: int = 3, dtype=torch.float64) -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(3)
    inputs = make_inputs(architecture, dtype)
    batches = []
    for _ in range(count):
        batch = {
            name: torch.randn(t.shape, generator=generator).to(t)
            if t.is_floating_point()
            else torch.randint(50, t.shape, generator=generator)
            for name, t in inputs.items()
        }
        labels = (
            batch["input_ids"] if architecture in ("gpt2", "llama") else torch.randint(3, (2,), generator=generator)
        )
        batches.append({**batch, "labels": labels})
    return batches


def gradients_by_m(model, modules, batches) -> dict[str, torch.Tensor]:
    """Return the gradient of each batch's loss by M at M = 0, (batches, n, n), through the adapted weights."""
    bases = {}
    for name in modules:
        module = model.get_submodule(name)
        W = module.weight.detach()
        bases[name] = decompose(W.T if isinstance(module, Conv1D) else W)

    def loss(coefficients, batch):
        weights = {}
        for name, M in coefficients.items():
            module, basis = model.get_submodule(name), bases[name]
            update = basis.U @ M @ basis.V.T
            weights[f"{name}.weight"] = module.weight.detach() + (update.T if isinstance(module, Conv1D) else update)
        return functional_call(model, weights, kwargs=batch).loss

    zeros = {name: torch.zeros(len(basis.sigma), len(basis.sigma)).double() for name, basis in bases.items()}
    gradients = [torch.func.grad(loss)(zeros, batch) for batch in batches]
    return {name: torch.stack([gradient[name].detach() for gradient in gradients]) for name in modules}


def greedy(scores: dict[str, torch.Tensor], budget: int, spread: int | None) -> dict[str, set[tuple[int, int]]]:
    """Return the chosen entries by the definition: one ranking, entry after entry."""
    ranking = sorted(
        ((-float(score), name, i, j) for name, S in scores.items() for (i, j), score in np.ndenumerate(S.numpy())),
    )
    rows, cols, chosen = {}, {}, {name: set() for name in scores}
    for _, name, i, j in ranking:
        free = spread is None or (rows.get((name, i), 0) < spread and cols.get((name, j), 0) < spread)
        if free and sum(map(len, chosen.values())) < budget:
            chosen[name].add((i, j))
            rows[name, i] = rows.get((name, i), 0) + 1
            cols[name, j] = cols.get((name, j), 0) + 1
    return chosen


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(("score", "spread"), [("mean", 1), ("square", 2), ("mean", None)])
def test_the_choice_is_the_ranking_of_the_dense_gradient(architecture, score, spread):
    model, batches = make_model(architecture, torch.float64), batches_for(architecture)
    pattern = svft.choose_pattern(model, batches, budget=40, score=score, spread=spread)
    gradients = gradients_by_m(model, [matrix.name for matrix in pattern.matrices], batches)
    scores = {name: G.mean(0).abs() if score == "mean" else G.square().mean(0) for name, G in gradients.items()}
    chosen = {name: set(pairs) for name, pairs in pattern.custom_indices.items()}
    assert pattern.budget == 40
    assert chosen == {name: pairs for name, pairs in greedy(scores, 40, spread).items() if pairs}
    for matrix in pattern.matrices:
        expected = scores[matrix.name][matrix.rows, matrix.cols]
        torch.testing.assert_close(matrix.scores, expected.float(), rtol=1e-5, atol=0)
        mean = gradients[matrix.name].mean(0).square()
        assert matrix.energy == pytest.approx(float(mean.sum()), rel=1e-9)
        assert matrix.captured == pytest.approx(float(mean[matrix.rows, matrix.cols].sum()), rel=1e-9, abs=1e-30)


def test_the_inside_share_is_that_of_the_mean_gradient_of_w():
    model, batches = make_model("bert", torch.float64), batches_for("bert")
    pattern = svft.choose_pattern(model, batches, budget=10)
    reference = copy.deepcopy(model)
    for batch in batches:
        (reference(**batch).loss / len(batches)).backward()
    for matrix in pattern.matrices:
        weight = reference.get_submodule(matrix.name).weight
        basis = decompose(weight.detach())
        inside = (basis.U.T @ weight.grad @ basis.V).square().sum() / weight.grad.square().sum()
        assert matrix.inside == pytest.approx(float(inside), rel=1e-9)


def test_groups_of_matrices_give_the_same_choice_as_all_at_once():
    model, batches = make_model("bert", torch.float64), batches_for("bert")
    whole = svft.choose_pattern(model, batches, budget=60)
    streamed = svft.choose_pattern(model, batches, budget=60, memory=1)
    assert whole.custom_indices == streamed.custom_indices


def test_the_model_is_left_as_it_was():
    model, batches = make_model("bert", torch.float64).train(), batches_for("bert")
    model.classifier.weight.requires_grad_(False)
    model.classifier.bias.grad = torch.ones_like(model.classifier.bias)
    before = copy.deepcopy(model.state_dict())
    first = svft.choose_pattern(model, batches, budget=20)
    assert model.training
    assert not model.classifier.weight.requires_grad
    assert model.classifier.bias.grad.eq(1).all()
    assert model.bert.encoder.layer[0].attention.self.query.weight.grad is None
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert svft.choose_pattern(model, batches, budget=20).custom_indices == first.custom_indices


def test_a_chosen_pattern_trains_exactly_its_entries():
    model, batches = make_model("bert"), batches_for("bert", dtype=torch.float32)
    pattern = svft.choose_pattern(model, batches, budget=25)
    adapted = get_peft_model(model, pattern.config(task_type="SEQ_CLS"))
    layers = {name.removeprefix("base_model.model."): layer for name, layer in svft_layers(adapted).items()}
    assert set(layers) == set(pattern.custom_indices)
    assert sum(layer.svft_coefficients["default"].numel() for layer in layers.values()) == 25
    adapted(**batches[0]).loss.backward()
    assert all(layer.svft_coefficients["default"].grad is not None for layer in layers.values())


@given(n=st.integers(2, 9), limit=st.integers(1, 3), count=st.integers(1, 60), seed=st.integers(0, 99))
def test_no_row_or_column_has_more_than_the_limit(n, limit, count, seed):
    scores = torch.rand(n, n, generator=torch.Generator().manual_seed(seed))
    flat = _spread(scores, count, limit)
    rows, cols = flat // n, flat % n
    assert torch.bincount(rows).max() <= limit
    assert torch.bincount(cols).max() <= limit
    assert len(set(flat.tolist())) == len(flat) <= min(count, limit * n)
    values = scores.flatten()[flat]
    assert values.equal(values.sort(descending=True).values)
    expected = greedy({"": scores}, count, limit)[""]
    assert {divmod(index, n) for index in flat.tolist()} == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budget": 0}, "must lie between 1 and"),
        ({"budget": 10**6}, "at most 1 entries per row and column"),
        ({"budget": 5, "score": "best"}, "allowed are mean, square"),
        ({"budget": 5, "spread": 0}, "must be at least 1"),
        ({"budget": 5, "target_modules": ["nothing"]}, "matches no linear layer"),
        ({"budget": 5, "target_modules": ["pooler.dense"], "loss": lambda m, b: m.classifier.bias.sum()}, "does not"),
    ],
)
def test_what_cannot_be_chosen_is_said(options, message):
    with pytest.raises((ValueError, RuntimeError), match=message):
        svft.choose_pattern(make_model("bert"), batches_for("bert", dtype=torch.float32), **options)


def test_batches_that_can_be_read_only_once_are_refused_if_they_are_needed_again():
    model, batches = make_model("bert"), batches_for("bert", dtype=torch.float32)
    assert svft.choose_pattern(model, iter(batches), budget=5).budget == 5
    with pytest.raises(ValueError, match="can be read only once"):
        svft.choose_pattern(model, iter(batches), budget=5, memory=1)
    with pytest.raises(ValueError, match="batches is empty"):
        svft.choose_pattern(model, [], budget=5)
