"""What every PEFT method must do, for every pattern and on every kind of model.

What changes weights, or builds or reads an adapter, runs for every pattern on every model; the rest for pairs in which
each pattern meets two models.
"""

from __future__ import annotations

import pytest
import torch
from peft import PeftModel, convert_to_lora, get_peft_model, set_peft_model_state_dict
from peft.tuners.lora import LoraConfig
from peft.tuners.tuners_utils import BaseTunerLayer

import svft
from svft.patterns import PATTERNS
from tests.svft.tiny import SOME_MODULES, config_for, logits, make_inputs, make_model, svft_layers, train_by_hand

NAMES, MODELS = [*PATTERNS, "custom"], list(SOME_MODULES)
EVERY = [(model, name) for model in MODELS for name in NAMES]
PAIRS = [(MODELS[(i + shift) % len(MODELS)], name) for shift in (0, 2) for i, name in enumerate(NAMES)]
every_pair = pytest.mark.parametrize(("architecture", "pattern"), EVERY)
pairs = pytest.mark.parametrize(("architecture", "pattern"), PAIRS)


def in_turn(pairs, *names, values):
    """Parametrise by pairs and one of two values, such that every pattern and every model meets both."""
    places = [(NAMES.index(pattern) + place // len(NAMES)) % 2 for place, (_, pattern) in enumerate(pairs)]
    return pytest.mark.parametrize(
        ("architecture", "pattern", *names), [(*pair, *values[place]) for pair, place in zip(pairs, places)]
    )


HEADS = {"gpt2": ["ln_f"], "llama": ["norm"]}  # trained beside the adapter; `classifier` on the others


def config(architecture: str, pattern: str, **options) -> svft.SvftConfig:
    return config_for(pattern, **{"target_modules": SOME_MODULES[architecture], **options})


def adapted(architecture: str, pattern: str, dtype: torch.dtype = torch.float32, **options) -> PeftModel:
    model = get_peft_model(make_model(architecture, dtype), config(architecture, pattern, **options))
    return train_by_hand(model).eval()


def with_second(architecture: str, pattern: str, dtype: torch.dtype = torch.float32) -> PeftModel:
    model = adapted(architecture, pattern, dtype)
    model.add_adapter("second", config(architecture, pattern))
    return train_by_hand(model, "second", seed=7).eval()


def outputs(model: PeftModel, inputs: dict[str, torch.Tensor], *adapters: str) -> list[torch.Tensor]:
    """Return the logits with each adapter; the first one is active afterwards."""
    actual = []
    for adapter in adapters:
        model.set_adapter(adapter)
        actual.append(logits(model, inputs))
    model.set_adapter(adapters[0])
    return actual


def save(model: PeftModel, directory) -> str:
    model.save_pretrained(str(directory), save_embedding_layers=False)
    return str(directory)


def close(a: torch.Tensor, b: torch.Tensor, tolerance: float = 1e-4) -> bool:
    return torch.allclose(a, b, rtol=tolerance, atol=tolerance)


@every_pair
def test_it_starts_as_the_base_and_a_step_changes_the_adapter_alone(architecture, pattern):
    base, inputs = make_model(architecture), make_inputs(architecture)
    expected = logits(base, inputs)
    model = get_peft_model(base, config(architecture, pattern))
    assert close(logits(model, inputs), expected)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    output = model(**inputs)
    (output if isinstance(output, torch.Tensor) else output.logits).square().sum().backward()
    optimizer.step()
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {name for name in before if ".svft_coefficients." in name}
    assert len(changed) == len(svft_layers(model))


@in_turn(EVERY, "low_cpu_mem_usage", values=[(False,), (True,)])
def test_save_and_load(tmp_path, architecture, pattern, low_cpu_mem_usage):
    inputs, model = make_inputs(architecture), adapted(architecture, pattern)
    directory = save(model, tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"adapter_config.json", "adapter_model.safetensors", "README.md"}
    loaded = PeftModel.from_pretrained(make_model(architecture), directory, low_cpu_mem_usage=low_cpu_mem_usage)
    assert close(logits(loaded, inputs), logits(model, inputs), 1e-6)
    assert not any(p.requires_grad for p in loaded.parameters())
    assert all(p.device.type == "cpu" for p in (*loaded.parameters(), *loaded.buffers()))


@every_pair
def test_disable_merge_unmerge_and_unload(architecture, pattern):
    inputs, model = make_inputs(architecture), adapted(architecture, pattern)
    base, expected = logits(make_model(architecture), inputs), logits(model, inputs)
    assert not close(expected, base)
    with model.disable_adapter():
        assert torch.equal(logits(model, inputs), base)
    assert torch.equal(logits(model, inputs), expected)
    model.merge_adapter(safe_merge=True)
    assert close(logits(model, inputs), expected)
    with model.disable_adapter():
        assert close(logits(model, inputs), base)
    model.unmerge_adapter()
    assert close(logits(model, inputs), expected)
    merged = model.merge_and_unload()
    assert not any(isinstance(module, BaseTunerLayer) for module in merged.modules())
    assert type(merged) is type(make_model(architecture))
    assert close(logits(merged, inputs), expected)
    unloaded = adapted(architecture, pattern).unload()
    assert torch.equal(logits(unloaded, inputs), base)


@in_turn(PAIRS, "dtype", "tolerance", values=[(torch.bfloat16, 0.2), (torch.float64, 1e-10)])
def test_other_types(tmp_path, architecture, pattern, dtype, tolerance):
    inputs, model = make_inputs(architecture, dtype), adapted(architecture, pattern, dtype)
    expected = logits(model, inputs)
    assert expected.dtype == dtype
    assert all(p.dtype == torch.float32 for p in model.parameters() if p.requires_grad)
    loaded = PeftModel.from_pretrained(make_model(architecture, dtype), save(model, tmp_path))
    # The last bit of a product can depend on where its factors lie in memory.
    assert close(logits(loaded, inputs), expected, tolerance / 100)
    assert close(logits(model.merge_and_unload(), inputs), expected, tolerance)


@in_turn(PAIRS, "low_cpu_mem_usage", values=[(False,), (True,)])
def test_coefficients_have_the_type_of_the_base_if_asked(tmp_path, architecture, pattern, low_cpu_mem_usage):
    options, wanted = {"autocast_adapter_dtype": False}, torch.bfloat16
    model = get_peft_model(make_model(architecture, wanted), config(architecture, pattern), **options)
    model.add_adapter("second", config(architecture, pattern), **options)
    assert {p.dtype for name, p in model.named_parameters() if "svft_" in name} == {wanted}
    directory = save(model, tmp_path)
    options["low_cpu_mem_usage"] = low_cpu_mem_usage
    loaded = PeftModel.from_pretrained(make_model(architecture, wanted), directory, **options)
    loaded.load_adapter(str(tmp_path / "second"), "second", **options)
    assert {p.dtype for name, p in loaded.named_parameters() if "svft_" in name} == {wanted}


@pytest.mark.parametrize(
    ("architecture", "pattern"),
    [pair for pair in PAIRS if pair[0] not in ("mlp", "conv1d")],  # which have none: it is transformers'
)
def test_gradient_checkpointing_gives_the_same_gradients(architecture, pattern):
    inputs, actual = make_inputs(architecture), []
    for checkpointing in ({}, {"use_reentrant": False}, {"use_reentrant": True}):
        model = get_peft_model(make_model(architecture), config(architecture, pattern)).train()
        train_by_hand(model)
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        if checkpointing:
            model.gradient_checkpointing_enable(checkpointing)
            model.enable_input_require_grads()
        model(**inputs).logits.square().sum().backward()
        actual.append({name: p.grad for name, p in model.named_parameters() if p.requires_grad})
    for checkpointed in actual[1:]:
        for name, gradient in actual[0].items():
            torch.testing.assert_close(checkpointed[name], gradient, rtol=1e-4, atol=1e-4)


@every_pair
def test_several_adapters_are_added_set_summed_and_deleted(architecture, pattern):
    inputs, model = make_inputs(architecture), with_second(architecture, pattern)
    first, second = outputs(model, inputs, "default", "second")
    assert not close(first, second)
    model.base_model.set_adapter(["default", "second"])
    both = logits(model, inputs)
    model.merge_adapter()
    assert close(logits(model, inputs), both)
    model.unmerge_adapter()
    model.set_adapter("default")
    model.base_model.add_weighted_adapter(["default", "second"], [1.0, 1.0], "sum")
    assert close(outputs(model, inputs, "sum")[0], both)
    model.set_adapter("default")
    for name in ("second", "sum"):
        model.delete_adapter(name)
    assert close(logits(model, inputs), first)
    for layer in svft_layers(model).values():
        for held in (*layer.adapter_layer_names, *layer.other_param_names):
            assert set(getattr(layer, held).keys()) <= {"default"}


@in_turn(PAIRS, "dtype", values=[(torch.float32,), (torch.float64,)])  # folded, additive
def test_a_mixed_batch_gives_each_example_its_adapter(architecture, pattern, dtype):
    model = with_second(architecture, pattern, dtype)
    names = ["second", "__base__", "default", "second"]
    inputs = {name: torch.cat([tensor, tensor]) for name, tensor in make_inputs(architecture, dtype).items()}
    first, second = outputs(model, inputs, "default", "second")
    with model.disable_adapter():
        base = logits(model, inputs)
    expected = torch.stack([{"default": first, "second": second, "__base__": base}[n][i] for i, n in enumerate(names)])
    assert close(logits(model, {**inputs, "adapter_names": names}), expected, 1e-4 if dtype == torch.float32 else 1e-9)


@pairs
def test_modules_to_save_are_trained_saved_and_loaded(tmp_path, architecture, pattern):
    inputs, saved = make_inputs(architecture), HEADS.get(architecture, ["classifier"])
    model = adapted(architecture, pattern, modules_to_save=saved)
    heads = [p for name, p in model.named_parameters() if p.requires_grad and ".modules_to_save." in name]
    assert heads
    for parameter in heads:
        parameter.data.add_(0.1)
    loaded = PeftModel.from_pretrained(make_model(architecture), save(model, tmp_path))
    assert close(logits(loaded, inputs), logits(model, inputs), 1e-6)
    assert not close(logits(loaded, inputs), logits(adapted(architecture, pattern), inputs), 1e-6)


@every_pair
def test_conversion_to_lora_of_full_rank_is_exact(architecture, pattern):
    inputs, model = make_inputs(architecture), adapted(architecture, pattern)
    lora_config, state = convert_to_lora(model, rank=16)
    assert isinstance(lora_config, LoraConfig)
    converted = get_peft_model(make_model(architecture), lora_config).eval()
    assert not set_peft_model_state_dict(converted, state).unexpected_keys
    small = {name for name, layer in svft_layers(model).items() if min(layer.out_features, layer.in_features) <= 16}
    for name, layer in svft_layers(model).items():
        if name in small:
            delta = converted.get_submodule(name).get_delta_weight("default")
            torch.testing.assert_close(delta, layer.get_delta_weight("default"), rtol=1e-4, atol=1e-5)
    if len(small) == len(svft_layers(model)):
        assert close(logits(converted, inputs), logits(model, inputs), 1e-3)


@pairs
def test_hot_swap_of_values_in_place(tmp_path, architecture, pattern):
    inputs, other = make_inputs(architecture), adapted(architecture, pattern)
    directory = save(train_by_hand(other, seed=9), tmp_path)
    model = adapted(architecture, pattern)
    before = {name: (p, p.data_ptr()) for name, p in model.named_parameters()}
    svft.hotswap_adapter(model, directory, "default")
    assert close(logits(model, inputs), logits(other, inputs), 1e-6)
    assert all(p is before[name][0] and p.data_ptr() == before[name][1] for name, p in model.named_parameters())


@pairs
def test_the_scale_of_an_adapter_for_a_while(architecture, pattern):
    inputs, model = make_inputs(architecture), adapted(architecture, pattern)
    expected = logits(model, inputs)
    model.base_model.add_weighted_adapter(["default"], [0.5], "halved")
    half = outputs(model, inputs, "default", "halved")[1]
    with svft.rescale_adapter_scale(model, 0.5):
        assert close(logits(model, inputs), half)
    assert torch.equal(logits(model, inputs), expected)
