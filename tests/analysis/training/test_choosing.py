"""The method chosen: its pattern comes from its own training examples."""

from __future__ import annotations

import torch

from analysis.training.session import TrainingSession, train
from analysis.training.specification import TrainingSpec
from svft.layer import SvftLayer


def spec(tiny_base, method="chosen", **options):
    values = {"budget": 40, "steps": 4, "examples": 24, "base": tiny_base, "batch_size": 8, "seed": 1} | options
    return TrainingSpec("bbc_headlines", method, **values)


def entries(session):
    return {
        name: layer.coefficient_positions("default")
        for name, layer in session.model.named_modules()
        if isinstance(layer, SvftLayer)
    }


def test_it_trains_exactly_its_budget(tiny_base):
    run = train(spec(tiny_base))
    assert run.budget == 40
    assert all(torch.isfinite(torch.tensor(run.losses)))


def test_a_size_is_the_number_of_entries_of_a_band_of_that_width(tiny_base):
    session = TrainingSession(spec(tiny_base, budget=None, size=0))
    assert session.finish().budget == 12 * 16


def test_equal_seeds_choose_equal_entries_and_other_seeds_others(tiny_base):
    first, again, other = (TrainingSession(spec(tiny_base, seed=seed)) for seed in (1, 1, 2))
    assert str(entries(first)) == str(entries(again))
    assert str(entries(first)) != str(entries(other))


def test_it_starts_from_the_head_and_the_draws_of_the_other_methods(tiny_base):
    chosen, drawn = TrainingSession(spec(tiny_base)), TrainingSession(spec(tiny_base, "random"))
    heads = [
        {
            name.split("base_model.model.")[-1]: p
            for name, p in session.model.named_parameters()
            if "classifier" in name
        }
        for session in (chosen, drawn)
    ]
    assert heads[0].keys() == heads[1].keys()
    assert all(torch.equal(heads[0][name], heads[1][name]) for name in heads[0])
    assert torch.equal(chosen._random_state, drawn._random_state)


def test_a_session_that_goes_on_elsewhere_keeps_its_entries(tiny_base, monkeypatch):
    whole, first = TrainingSession(spec(tiny_base)), TrainingSession(spec(tiny_base))
    first.train_step()
    state = first.state()
    monkeypatch.setattr("analysis.training.session.choose_entries", None)  # not chosen again
    second = TrainingSession(spec(tiny_base), state)
    while not whole.done:
        whole.train_step()
    while not second.done:
        second.train_step()
    assert second.losses == whole.losses
    assert all(torch.equal(a, b) for a, b in zip(whole.model.parameters(), second.model.parameters(), strict=True))
