"""Ranks of ΔW are those of the merged weight minus the pristine one, in dense float64, for every method."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from peft import get_peft_model
from torch import nn
from transformers.pytorch_utils import Conv1D

from analysis.adapters.opening import open_adapter
from analysis.measures.ranks import effective_rank, stable_rank
from analysis.models.loading import block_linears
from analysis.training import updates
from analysis.training.methods import METHODS
from analysis.training.relatives import CONFIGS
from analysis.training.session import train
from analysis.training.specification import TrainingSpec
from analysis.training.updates import update_measures
from svft.decomposition import decompose
from tests.analysis.options import options_for
from tests.svft.tiny import make_model

EPS = float(np.finfo(np.float32).eps)
DIFFERENCES = ("dora", "boft", "frod", "pissa", "olora", "full")  # there, rounding is that of W
INDICES = ((0, 0), (3, 1), (1, 7))


def specification(method, **options):
    if method == "custom":
        options["custom_indices"] = INDICES
    return TrainingSpec("bbc_headlines", method, **{"size": METHODS[method].size, **options})


def disturb(model, scale=0.1, seed=1):
    """Give a model values as if it had been trained."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += scale * torch.randn(parameter.shape, generator=generator)
    return model.eval()


def dense_matrix(module):
    weight = module.weight.detach().double().numpy()
    return weight.T if isinstance(module, Conv1D) else weight


def expected(after, before, method):
    """Return (rank, stable rank, effective rank, distance of the nearest value to the threshold) of after − before."""
    values = np.linalg.svd(after - before, compute_uv=False)
    largest = np.linalg.norm(before, 2) if method in DIFFERENCES else values[0]
    threshold = max(before.shape) * EPS * largest
    gap = np.abs(values / threshold - 1).min() if threshold else 1.0
    shown = values[values > 1e-12 * values[0]]  # the rest is float64's own rounding
    return int((values > threshold).sum()), stable_rank(shown), effective_rank(shown), gap


def merged_in_double(model):
    """Return the base with the adapter merged into it, in float64, and leave `model` as it is."""
    return copy.deepcopy(model).double().merge_and_unload()


# ---- against dense float64


@pytest.mark.parametrize("architecture", ["bert", "vit"])
@pytest.mark.parametrize("method", [name for name in METHODS if name not in ("head_only", "full")])
def test_ranks_are_those_of_the_merged_minus_the_pristine_weight(architecture, method, monkeypatch):
    base = make_model(architecture)
    targets = block_linears(base)
    spec = specification(method)
    model = disturb(METHODS[method].build(copy.deepcopy(base), options_for(spec, base, targets), targets))
    monkeypatch.setattr(updates, "load_base", lambda *_: base)
    table = update_measures(model, replace(spec, base="the tiny one")).matrices
    merged = merged_in_double(model)
    assert table["name"].tolist() == targets
    for row in table.itertuples():
        after, before = (dense_matrix(m.get_submodule(row.name)) for m in (merged, base))
        rank, stable, effective, _ = expected(after, before, method)
        assert row.rank == rank
        assert row.stable_rank == pytest.approx(stable, rel=1e-4)
        assert row.effective_rank == pytest.approx(effective, rel=1e-4)


@st.composite
def layers(draw):
    """Draw a linear layer, either kind, and a method with a size, with values as if trained."""
    method = draw(st.sampled_from(["plain", "banded", "random", "lora", "dora", "vera", "boft"]))
    out, in_ = draw(st.integers(2, 14)), draw(st.sampled_from([2, 4, 6, 8, 12]))
    torch.manual_seed(draw(st.integers(0, 1000)))
    base = nn.Sequential()
    conv1d = method != "boft" and draw(st.booleans())
    base.add_module("linear", Conv1D(out, in_) if conv1d else nn.Linear(in_, out))
    nn.init.normal_(base.linear.weight)
    spec = specification(method, size=None if method == "plain" else draw(st.sampled_from([1, 2, 3, 20])))
    assume(method != "boft" or in_ % spec.size == 0)
    model = get_peft_model(
        copy.deepcopy(base), METHODS[method].config(method, options_for(spec, base, ["linear"]), ["linear"])
    )
    return spec, base, disturb(model, scale=draw(st.sampled_from([1e-3, 0.1, 3.0])), seed=draw(st.integers(0, 1000)))


@given(layers())
@settings(max_examples=150)
@pytest.mark.filterwarnings("ignore:fan_in_fan_out")
def test_any_layer_of_any_shape_agrees_with_dense_linear_algebra(case):
    spec, base, model = case
    after, before = dense_matrix(merged_in_double(model).linear), dense_matrix(base.linear)
    rank, stable, effective, gap = expected(after, before, spec.method)
    assume(gap > 1e-2)
    row = update_measures(model, spec).matrices.iloc[0]
    assert row["rank"] == rank
    assert row["stable_rank"] == pytest.approx(stable, rel=1e-3)
    assert row["effective_rank"] == pytest.approx(effective, rel=1e-3)


# ---- trained models


def test_full_fine_tuning_is_measured_against_the_pristine_base(tiny_base):
    spec = TrainingSpec("bbc_headlines", "full", base=tiny_base, steps=3, batch_size=4, examples=16)
    run = train(spec)
    pristine = updates.load_base(tiny_base, ["a"])
    table = update_measures(run.model, run.spec).matrices
    assert table["name"].tolist() == block_linears(pristine)
    for row in table.itertuples():
        after, before = (dense_matrix(m.get_submodule(row.name)) for m in (run.model, pristine))
        assert (row.rank, row.stable_rank, row.effective_rank) == pytest.approx(expected(after, before, "full")[:3])


def test_full_fine_tuning_of_some_matrices_asked_for_is_measured_there(tiny_base):
    spec = TrainingSpec("bbc_headlines", "full", base=tiny_base, steps=1, batch_size=2, examples=4)
    run = train(replace(spec, target_modules=("query",)))
    names = update_measures(run.model, run.spec).matrices["name"]
    assert names.str.endswith("query").all()
    assert len(names) == 2


def test_rank_means_what_it_says(tiny_base):
    spec = TrainingSpec("bbc_headlines", "lora", size=3, base=tiny_base, steps=5, batch_size=4, examples=16)
    lora, plain, custom, head_only = (
        update_measures((run := train(name)).model, run.spec)
        for name in (
            spec,
            replace(spec, method="plain", size=None),
            replace(spec, method="custom", size=None, custom_indices=INDICES),
            replace(spec, method="head_only", size=None),
        )
    )
    assert lora.matrices["rank"].tolist() == [3] * 12
    assert plain.matrices["rank"].tolist() == [16] * 12
    assert custom.matrices["rank"].tolist() == [3] * 12
    assert head_only.matrices[["rank", "stable_rank", "effective_rank"]].to_numpy().tolist() == [[0, 0, 0]] * 12
    for measures in (lora, plain, custom):
        assert measures.rank == measures.matrices["rank"].mean()
        assert 1 <= measures.stable_rank == measures.matrices["stable_rank"].mean() <= measures.rank
        assert 1 <= measures.effective_rank == measures.matrices["effective_rank"].mean() <= measures.rank


@pytest.mark.parametrize("method", [*CONFIGS, "block", "chosen"])
def test_what_was_trained_opens_with_the_update_that_it_has(method, tiny_base, tmp_path):
    size = 2 if METHODS[method].size_name == "block size" else METHODS[method].size
    spec = TrainingSpec("bbc_headlines", method, size=size, base=tiny_base, steps=3, batch_size=4, examples=16)
    run = train(spec)
    run.save(tmp_path)
    adapter = open_adapter(tmp_path)
    pristine, merged = updates.load_base(tiny_base, ["a"]), merged_in_double(run.model)
    for name in adapter.names:
        after, before = (dense_matrix(model.get_submodule(name)) for model in (merged, pristine))
        expected_update = after - before
        np.testing.assert_allclose(dense_update(adapter, name, before), expected_update, atol=2e-6)
        assert np.abs(expected_update).max() > 1e-5


def dense_update(adapter, name, weight):
    """Return ΔW of an adapter; of SVFT's from M and the singular vectors of the weight."""
    if adapter.projected:
        return adapter.dense_update(name)
    basis = decompose(torch.from_numpy(weight).float(), name=name)
    M = adapter.matrix(name).coefficients()
    return basis.U.double().numpy()[:, : len(M)] @ M @ basis.V.double().numpy()[:, : len(M)].T


# ---- edges


@pytest.mark.parametrize("method", METHODS)
def test_an_untrained_model_has_an_update_of_rank_zero(method, monkeypatch):
    monkeypatch.setattr(updates, "load_base", lambda base, labels: make_model("bert"))
    base = make_model("bert")
    model = METHODS[method].build(
        base, options_for(specification(method), base, block_linears(base)), block_linears(base)
    )
    measures = update_measures(model, specification(method, base="the tiny one"))
    assert len(measures.matrices) == 12
    assert (measures.rank, measures.stable_rank, measures.effective_rank) == (0, 0, 0)


@pytest.mark.parametrize("method", METHODS)
def test_measuring_leaves_the_model_and_the_random_generator_as_they_are(method, tiny_base):
    base = updates.load_base(tiny_base, ["a", "b"])
    spec = specification(method, base=tiny_base)
    model = disturb(METHODS[method].build(base, options_for(spec, base, block_linears(base)), block_linears(base)))
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    update_measures(model, spec)
    assert torch.equal(torch.get_rng_state(), state)
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("method", ["banded", "lora", "dora", "vera", "boft", "full"])
def test_a_training_that_diverged_has_no_ranks(method, monkeypatch):
    monkeypatch.setattr(updates, "load_base", lambda base, labels: make_model("bert"))
    base = make_model("bert")
    model = METHODS[method].build(
        base, options_for(specification(method), base, block_linears(base)), block_linears(base)
    )
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.fill_(torch.nan)
    measures = update_measures(model, specification(method, base="the tiny one"))
    assert np.isnan([measures.rank, measures.stable_rank, measures.effective_rank]).all()


def test_a_merged_adapter_is_refused_with_the_name_of_its_matrix():
    base = make_model("bert")
    model = METHODS["dora"].build(base, specification("dora"), block_linears(base))
    model.merge_adapter()
    with pytest.raises(ValueError, match=r"layer\.0\.attention\.self\.query.*unmerge"):
        update_measures(model, specification("dora"))
