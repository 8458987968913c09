"""A fine-tuned checkpoint beside its base: single or sharded, in any precision; what changed outside its matrices."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch

from analysis.adapters.checkpoint import changed_parts
from analysis.adapters.opening import open_adapter
from analysis.adapters.saved_projection import save_projection
from analysis.common.errors import AdapterError
from analysis.measures.comparison import compare_adapters
from analysis.models.loading import block_linears
from tests.analysis.adapters.peft_models import FAMILIES, make_model, save_base
from tests.analysis.adapters.test_kinds import assert_reproduces


def fine_tune(model, scale=0.01):
    """Return a copy with noise on everything, as if it had been trained."""
    tuned = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(5)
    for parameter in tuned.parameters():
        parameter.data += (scale * torch.randn(parameter.shape, generator=generator)).to(parameter.dtype)
    return tuned


@pytest.mark.parametrize("family", FAMILIES)
def test_a_checkpoint_of_every_family_opens_beside_its_base(tmp_path, family):
    base = make_model(family)
    save_base(base, tmp_path / "base")
    save_base(fine_tune(base), tmp_path / "tuned")
    adapter = open_adapter(tmp_path / "tuned", base=str(tmp_path / "base"))
    assert adapter.kind == "full fine-tuning"
    assert set(adapter.names) >= set(block_linears(base))
    for name in adapter.names[:4]:
        assert_reproduces(adapter, name)


def test_shards_are_read_one_tensor_at_a_time_and_give_the_same(tmp_path):
    base = make_model("llama")
    tuned = fine_tune(base)
    save_base(base, tmp_path / "base", max_shard_size="8KB")
    save_base(tuned, tmp_path / "tuned", max_shard_size="6KB")
    save_base(base, tmp_path / "whole-base")
    save_base(tuned, tmp_path / "whole")
    assert len(list((tmp_path / "tuned").glob("model-*-of-*.safetensors"))) > 1
    sharded = open_adapter(tmp_path / "tuned", base=str(tmp_path / "base"))
    whole = open_adapter(tmp_path / "whole", base=str(tmp_path / "whole-base"))
    assert sharded.names == whole.names
    for name in whole.names:
        np.testing.assert_array_equal(sharded.matrix(name).values, whole.matrix(name).values)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_read_as_it_is_and_its_rounding_is_no_rank(tmp_path, dtype):
    base = make_model("qwen2").to(dtype)
    save_base(base, tmp_path / "base")
    rounded = copy.deepcopy(base)
    generator = torch.Generator().manual_seed(5)
    for name in block_linears(rounded):  # a change of one direction, and the rounding of the sum
        weight = rounded.get_submodule(name).weight
        direction = [torch.randn(side, generator=generator) for side in weight.shape]
        weight.data = (weight.float() + 0.3 * torch.outer(*direction)).to(dtype)
    save_base(rounded, tmp_path / "tuned")
    adapter = open_adapter(tmp_path / "tuned", base=str(tmp_path / "base"))
    for name in adapter.names:
        matrix = adapter.matrix(name)
        assert (matrix.update_singular_values > matrix.rounding).sum() == 1


def test_what_changed_outside_the_matrices_is_a_share_of_all(tmp_path):
    base = make_model("bert")
    tuned = fine_tune(base)
    save_base(base, tmp_path / "base")
    save_base(tuned, tmp_path / "tuned")
    adapter = open_adapter(tmp_path / "tuned", base=str(tmp_path / "base"))
    parts = changed_parts(adapter).set_index("part")
    energies = {"matrices": 0.0, "embeddings": 0.0, "norms and biases": 0.0, "other": 0.0}
    inside = {f"{name}.weight" for name in block_linears(base)}
    for (name, before), after in zip(base.named_parameters(), tuned.parameters(), strict=True):
        part = "matrices" if name in inside else "embeddings" if "embeddings" in name and before.ndim == 2 else "other"
        part = "norms and biases" if before.ndim == 1 and part == "other" else part
        energies[part] += (after - before).detach().double().square().sum().item()
    # Norms within the embeddings are counted with the embeddings: they belong to them.
    norms = [n for n in dict(base.named_parameters()) if "embeddings.LayerNorm" in n]
    moved = sum(
        (dict(tuned.named_parameters())[n] - dict(base.named_parameters())[n]).detach().double().square().sum().item()
        for n in norms
    )
    energies["embeddings"] += moved
    energies["norms and biases"] -= moved
    for part, energy in energies.items():
        assert parts.at[part, "energy"] == pytest.approx(energy, rel=1e-6)
        assert parts.at[part, "share"] == pytest.approx(energy / sum(energies.values()), rel=1e-6)


def test_an_unchanged_checkpoint_has_an_update_of_zero(tmp_path):
    save_base(make_model("bert"), tmp_path / "base")
    save_base(make_model("bert"), tmp_path / "same")
    adapter = open_adapter(tmp_path / "same", base=str(tmp_path / "base"))
    matrix = adapter.matrix(adapter.names[0])
    assert matrix.update_norm == 0
    assert matrix.inside_share == 0


def test_a_base_that_is_unknown_or_another_gets_a_sentence(tmp_path):
    save_base(make_model("bert"), tmp_path / "tuned")
    save_base(make_model("llama"), tmp_path / "base")
    with pytest.raises(AdapterError, match="names no base model"):
        open_adapter(tmp_path / "tuned")
    with pytest.raises(AdapterError, match="has no weight for"):
        open_adapter(tmp_path / "tuned", base=str(tmp_path / "base"))
    with pytest.raises(AdapterError, match="is not on this machine"):
        open_adapter(tmp_path / "tuned", base="no/where")


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd", "weights.bin"])
def test_an_index_that_names_files_elsewhere_is_refused(tmp_path, name):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a.0.b.weight": name}}))
    with pytest.raises(AdapterError, match="file beside it"):
        open_adapter(tmp_path, base=str(tmp_path))


def test_a_saved_projection_says_the_same_without_base_or_checkpoint(tmp_path):
    base = make_model("bert")
    save_base(base, tmp_path / "base")
    save_base(fine_tune(base), tmp_path / "tuned")
    adapter = open_adapter(tmp_path / "tuned", base=str(tmp_path / "base"))
    names = [name for name in adapter.names if "layer.1" in name]
    save_projection(tmp_path / "saved", adapter, names)
    saved = open_adapter(tmp_path / "saved")
    assert (saved.kind, saved.projected, saved.names) == ("full fine-tuning", True, names)
    for name in names:
        before, after = adapter.matrix(name), saved.matrix(name)
        assert after.shape == before.shape
        assert np.linalg.norm(after.values - before.values) < 1e-3 * before.update_norm
        assert after.update_norm == pytest.approx(before.update_norm, rel=1e-3)
        assert after.inside_share == pytest.approx(before.inside_share, abs=1e-3)
        np.testing.assert_allclose(
            after.update_singular_values, before.update_singular_values, atol=1e-3 * before.update_norm
        )
        np.testing.assert_array_equal(saved.signature(name), adapter.signature(name))
    compared = compare_adapters(adapter, saved).set_index("name")
    assert compared.index.tolist() == names
    square = [name for name in names if adapter.matrix(name).outside is None]
    assert (compared.loc[square, "cosine"] > 0.999).all()
    assert compared.drop(square)["cosine"].isna().all()  # what leaves the basis is kept up to a rotation only


@pytest.mark.parametrize("missing", ["trained", "rank_bound", "floor"])
def test_a_saved_projection_whose_description_lacks_a_number_is_a_sentence(tmp_path, missing):
    base = make_model("bert")
    save_base(base, tmp_path / "base")
    save_base(fine_tune(base), tmp_path / "tuned")
    adapter = open_adapter(tmp_path / "tuned", base=str(tmp_path / "base"))
    save_projection(tmp_path / "saved", adapter, adapter.names[:1])
    file = tmp_path / "saved" / "projection.json"
    config = json.loads(file.read_text())
    del config["matrices"][adapter.names[0]][missing]
    file.write_text(json.dumps(config))
    with pytest.raises(AdapterError, match="does not describe its matrices"):
        open_adapter(tmp_path / "saved")
