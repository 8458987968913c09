"""What users of LoRA know: mixed batches, sums of adapters, hot-swapping, warnings and names."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn

import svft
from tests.svft.tiny import config_for, logits, make_inputs, make_model, svft_layers, train_by_hand


class OneLayer(nn.Module):
    """A layer below a model, which passes on what it does not know."""

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.layer = layer

    def forward(self, x, **kwargs):
        return self.layer(x, **kwargs)


def one_layer(pattern: str = "plain", **options) -> PeftModel:
    torch.manual_seed(0)
    config = config_for(pattern, target_modules=["layer"], init_weights=False, **options)
    return get_peft_model(OneLayer(nn.Linear(12, 20)), config).eval()


def layer_of(model: PeftModel) -> svft.SvftLayer:
    return svft_layers(model)["base_model.model.layer"]


def add(model: PeftModel, name: str, pattern: str, **options) -> None:
    options.setdefault("target_modules", ["layer"])
    model.add_adapter(name, config_for(pattern, init_weights=False, **options))
    model.eval()


X = torch.randn(4, 12, generator=torch.Generator().manual_seed(1))

# -- mixed batches


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["default"], "Length of `adapter_names` should be the same as the number of inputs, but got 1 and 4"),
        (["default", "who", "default", "what"], r"Trying to infer with non-existing adapter\(s\): what, who"),
    ],
)
def test_names_that_fit_nothing_are_refused_as_by_lora(names, message):
    model = one_layer()
    for each in (get_peft_model(OneLayer(nn.Linear(12, 20)), LoraConfig(target_modules=["layer"])).eval(), model):
        with pytest.raises(ValueError, match=message):
            each(X, adapter_names=names)
    model(X)  # no hook was left behind


def test_a_mixed_batch_is_refused_while_training_or_merged():
    model = one_layer()
    with pytest.raises(ValueError, match="in training mode"):
        model.train()(X, adapter_names=["default"] * 4)
    model.eval().merge_adapter()
    with pytest.raises(ValueError, match="when there are merged adapters, please call `unmerge_adapter` first"):
        model(X, adapter_names=["default"] * 4)


@pytest.mark.parametrize("arguments", [{"temperature": 1.0}, {"alora_offsets": [1] * 4}])
def test_no_argument_is_ignored(arguments):
    with pytest.raises((TypeError, ValueError), match=next(iter(arguments))):
        one_layer()(X, **arguments)


@pytest.mark.parametrize("num_beams", [1, 3])
@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_generation_of_a_mixed_batch(architecture, num_beams):
    model = train_by_hand(get_peft_model(make_model(architecture), config_for("banded")))
    model.add_adapter("second", config_for("random"))
    train_by_hand(model, "second", scale=0.5, seed=5).eval()
    prompt = make_inputs(architecture)["input_ids"][:1].repeat(3, 1)
    options = {
        "max_new_tokens": 5,
        "do_sample": False,
        "num_beams": num_beams,
        "pad_token_id": 0,
        "eos_token_id": None,
    }
    actual = model.generate(input_ids=prompt, adapter_names=["second", "__base__", "default"], **options)
    alone = []
    for adapter in ("second", "default"):
        model.set_adapter(adapter)
        alone.append(model.generate(input_ids=prompt[:1], **options)[0])
    with model.disable_adapter():
        alone.insert(1, model.generate(input_ids=prompt[:1], **options)[0])
    assert torch.equal(actual, torch.stack(alone))
    assert len({tuple(row.tolist()) for row in actual}) > 1


# -- sums


def test_a_sum_of_different_omegas_is_exact_on_their_union_and_is_saved(tmp_path):
    model = one_layer("plain")
    add(model, "random", "random")
    add(model, "other", "random", seed=5)
    model.base_model.add_weighted_adapter(["default", "random", "other"], [0.5, -2.0, 1.0], "sum")
    layer = layer_of(model)
    expected = sum(w * layer._delta(a) for a, w in (("default", 0.5), ("random", -2.0), ("other", 1.0)))
    torch.testing.assert_close(layer._delta("sum"), expected)
    pairs = [set(zip(*(t.tolist() for t in layer.coefficient_positions(a)))) for a in ("default", "random", "other")]
    assert set(zip(*(t.tolist() for t in layer.coefficient_positions("sum")))) == set.union(*pairs)
    model.save_pretrained(str(tmp_path), selected_adapters=["sum"])
    torch.manual_seed(0)
    loaded = PeftModel.from_pretrained(OneLayer(nn.Linear(12, 20)), str(tmp_path / "sum"))
    torch.testing.assert_close(layer_of(loaded)._delta("default"), expected)


def test_a_sum_within_one_omega_keeps_the_pattern():
    model = one_layer("banded")
    add(model, "narrow", "plain")
    model.base_model.add_weighted_adapter(["narrow", "default"], [1.0, 1.0], "sum", combination_type="svd")
    assert model.peft_config["sum"].pattern == "banded"
    assert not layer_of(model).svft_coefficients["sum"].requires_grad


def test_a_sum_of_adapters_of_different_modules():
    model = train_by_hand(get_peft_model(make_model(), config_for("plain", target_modules=["query"])))
    model.add_adapter("second", config_for("banded", target_modules=["value"]))
    train_by_hand(model, "second")
    model.base_model.set_adapter(["default", "second"])
    both = logits(model, make_inputs())
    model.base_model.add_weighted_adapter(["default", "second"], [1.0, 1.0], "sum")
    model.set_adapter("sum")
    torch.testing.assert_close(logits(model, make_inputs()), both)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((["default"], [1.0], "sum", "ties"), "Invalid combination_type: ties.*linear, svd, cat"),
        ((["default", "who"], [1.0, 1.0], "sum"), "Adapter who does not exist"),
        ((["default"], [1.0, 1.0], "sum"), "1 adapters need as many weights, but got 2"),
        ((["default"], [1.0], "default"), "Adapter default exists already"),
    ],
)
def test_a_sum_that_means_nothing_is_refused(arguments, message):
    model = one_layer()
    with pytest.raises(ValueError, match=message):
        model.base_model.add_weighted_adapter(*arguments)
    assert list(model.peft_config) == ["default"]


def test_coefficients_of_different_bases_are_not_added(tmp_path):
    torch.manual_seed(3)
    config = config_for("plain", target_modules=["layer"], init_weights=False, embed_basis=True)
    get_peft_model(OneLayer(nn.Linear(12, 20)), config).save_pretrained(str(tmp_path))
    model = one_layer()
    model.load_adapter(str(tmp_path), "foreign")
    with pytest.raises(ValueError, match="different singular vectors on layer"):
        model.base_model.add_weighted_adapter(["default", "foreign"], [1.0, 1.0], "sum")
    model.base_model.add_weighted_adapter(["foreign"], [2.0], "twice")
    layer = layer_of(model)
    torch.testing.assert_close(layer._delta("twice"), 2 * layer._delta("foreign"))


# -- hot-swapping


def test_another_omega_or_a_merged_adapter_is_not_hot_swapped(tmp_path):
    one_layer("random", seed=4).save_pretrained(str(tmp_path))
    model = one_layer("random")
    before = model(X)
    with pytest.raises(RuntimeError, match="another Ω in layer"):
        svft.hotswap_adapter(model, str(tmp_path), "default")
    assert torch.equal(model(X), before)
    model.merge_adapter()
    with pytest.raises(ValueError, match="unmerge it first"):
        svft.hotswap_adapter(model, str(tmp_path), "default")


def test_matrices_that_the_new_adapter_lacks_have_no_update_and_further_ones_are_refused(tmp_path):
    few = train_by_hand(get_peft_model(make_model(), config_for("plain", target_modules=["query"])))
    many = train_by_hand(get_peft_model(make_model(), config_for("plain", target_modules=["query", "value"])))
    expected = logits(few, make_inputs())
    few.save_pretrained(str(tmp_path / "few"), save_embedding_layers=False)
    many.save_pretrained(str(tmp_path / "many"), save_embedding_layers=False)
    svft.hotswap_adapter(many, str(tmp_path / "few"), "default")
    torch.testing.assert_close(logits(many, make_inputs()), expected)
    with pytest.raises(RuntimeError, match=r"unexpected keys found: .*value"):
        svft.hotswap_adapter(few, str(tmp_path / "many"), "default")


def test_the_scale_of_a_merged_adapter_is_not_changed():
    model = one_layer()
    model.merge_adapter()
    with pytest.raises(ValueError, match="unmerge it before"), svft.rescale_adapter_scale(model, 2.0):
        pass
    with pytest.raises(ValueError, match="only supported for models with"), svft.rescale_adapter_scale(nn.ReLU(), 2.0):
        pass


# -- starting, names, warnings


def test_two_adapters_of_one_config_start_differently_from_noise():
    model = one_layer("random")
    add(model, "second", "random")
    values = layer_of(model).svft_coefficients
    assert not torch.equal(values["default"], values["second"])


def test_what_is_made_in_inference_mode_can_be_trained():
    base = OneLayer(nn.Linear(12, 20))
    with torch.inference_mode():
        model = get_peft_model(base, config_for("banded", target_modules=["layer"]))
        model(X)
    model(X).sum().backward()
    assert layer_of(model).svft_coefficients["default"].grad is not None


def test_an_empty_layers_pattern_is_none():
    assert svft.SvftConfig(layers_pattern=[]).layers_pattern == []
    with pytest.raises(ValueError, match="When `layers_pattern` is specified, `layers_to_transform` must also"):
        svft.SvftConfig(layers_pattern=["layers"])


@pytest.mark.parametrize("name", ["half", "written"])
def test_a_name_that_modules_use_themselves_is_refused(name):
    model = one_layer()
    with pytest.raises(ValueError, match=f"{name} is an attribute of modules: give the adapter another name"):
        model.add_adapter(name, config_for("plain", target_modules=["layer"]))
    assert model(X).shape == (4, 20)


def test_a_custom_pattern_goes_by_the_longest_name_that_fits():
    model = nn.ModuleDict({"layer": nn.Linear(6, 6), "below": nn.ModuleDict({"layer": nn.Linear(6, 6)})})
    entries = {"layer": [(0, 0)], "below.layer": [(1, 1), (2, 2)]}
    adapted = get_peft_model(
        model, svft.SvftConfig(pattern="custom", custom_indices=entries, target_modules=["layer"])
    )
    assert [len(la.svft_coefficients["default"]) for la in svft_layers(adapted).values()] == [1, 2]


@pytest.mark.parametrize("kind", [svft.SvftConfig, LoraConfig])
def test_a_tied_head_warns_as_lora_does_when_it_is_adapted_and_when_it_is_merged(kind):
    with pytest.warns(UserWarning, match="tied layer is part of the adapter"):
        model = get_peft_model(make_model("gpt2"), kind(target_modules=["c_attn", "lm_head"]))
    with pytest.warns(UserWarning, match=r"tied_target_modules=.*lm_head"):
        model.merge_and_unload()


# -- an adapter that is found by somebody


def test_a_saved_adapter_tells_how_it_is_loaded(tmp_path):
    model = one_layer()
    add(model, "second", "plain")
    for _ in range(2):
        model.save_pretrained(str(tmp_path))
        for directory in (tmp_path, tmp_path / "second"):
            text = (directory / "README.md").read_text(encoding="utf-8")
            assert text.count("import svft\nmodel = PeftModel.from_pretrained(") == 1
            assert "`svft-explorer`" in text
    svft.SvftConfig().save_pretrained(str(tmp_path / "config only"))
    assert [file.name for file in (tmp_path / "config only").iterdir()] == ["adapter_config.json"]


@pytest.mark.slow
def test_without_the_import_peft_says_what_the_readme_says(tmp_path):
    one_layer().save_pretrained(str(tmp_path))
    code = f"import torch; from peft import PeftModel; PeftModel.from_pretrained(torch.nn.Module(), {str(tmp_path)!r})"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    (sentence,) = [line for line in ran.stderr.splitlines() if line.startswith("KeyError")]
    assert f"`{sentence}`" in (tmp_path / "README.md").read_text(encoding="utf-8")
