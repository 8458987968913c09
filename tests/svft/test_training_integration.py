"""Training: what users run around an adapted model."""

from __future__ import annotations

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from peft import PeftModel, get_peft_model
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import Dataset
from transformers import Trainer, TrainingArguments

from tests.svft.tiny import config_for, full_basis, logits, make_inputs, make_model, svft_layers, train_by_hand

PATTERNS = ("plain", "banded", "random", "custom")
every_pattern = pytest.mark.parametrize("pattern", PATTERNS)


@pytest.fixture(autouse=True)
def accelerate_anew():
    """Keep the precision of one test's training, which Accelerate shares within a process, from the next."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def gradients(model) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def loss_of(model, inputs) -> torch.Tensor:
    return model(**inputs).logits.float().square().mean()


@every_pattern
def test_gradients_are_those_of_the_dense_updated_weights(pattern):
    """By the chain rule: dL/dM_ij = uᵢᵀ (dL/dW) vⱼ, with dL/dW from the merged model."""
    model, inputs = train_by_hand(get_peft_model(make_model(), config_for(pattern))), make_inputs()
    loss_of(model, inputs).backward()
    layers = svft_layers(model)
    actual = {name: layer.svft_coefficients["default"].grad.double() for name, layer in layers.items()}
    expected = {name: (*full_basis(layer), *layer.coefficient_positions("default")) for name, layer in layers.items()}
    merged = model.merge_and_unload()
    merged.requires_grad_(True)
    loss_of(merged, inputs).backward()
    for name, (U, V, rows, cols) in expected.items():
        dense = merged.get_submodule(name.removeprefix("base_model.model.")).weight.grad.double()
        projected = (U.double().T @ dense @ V.double())[rows, cols]
        assert (actual[name] - projected).norm() < 1e-4 * projected.norm()


@every_pattern
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiling_gives_the_same_outputs_and_gradients(pattern, backend):
    torch._dynamo.reset()
    model, inputs = train_by_hand(get_peft_model(make_model(), config_for(pattern))), make_inputs()
    layer = model.base_model.model.bert.encoder.layer[0].attention.self.query
    x = torch.randn(2, 5, 16, requires_grad=True)
    eager = layer(x)
    eager.square().sum().backward()
    expected, expected_x = gradients(layer), x.grad.clone()
    layer.zero_grad()
    x.grad = None
    compiled = torch.compile(layer, backend=backend, fullgraph=True)(x)
    compiled.square().sum().backward()
    torch.testing.assert_close(compiled, eager)
    torch.testing.assert_close(x.grad, expected_x)
    for name, gradient in gradients(layer).items():
        torch.testing.assert_close(gradient, expected[name])
    assert logits(model, inputs).isfinite().all()


def test_a_whole_model_compiles_before_its_first_use_and_follows_set_adapter():
    torch._dynamo.reset()
    base = nn.Sequential(nn.Linear(16, 24), nn.ReLU(), nn.Linear(24, 16))
    x = torch.randn(3, 16)
    expected = base(x).detach()
    model = get_peft_model(base, config_for("banded", target_modules=["0", "2"]))
    model.add_adapter("second", config_for("random", target_modules=["0", "2"]))
    train_by_hand(model)
    train_by_hand(model, "second")
    compiled = torch.compile(model, backend="eager")
    for adapter in ("default", "second"):
        model.set_adapter(adapter)
        torch.testing.assert_close(compiled(x), model(x))
    with model.disable_adapter():
        assert torch.equal(compiled(x), expected)


@every_pattern
def test_autocast(pattern):
    model, inputs = train_by_hand(get_peft_model(make_model(), config_for(pattern))), make_inputs()
    exact = logits(model, inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = model(**inputs).logits
        loss = out.float().square().mean()
    loss.backward()
    assert (out.detach().float() - exact).norm() < 5e-2 * exact.norm()
    for name, gradient in gradients(model).items():
        assert gradient.dtype == torch.float32, name
        assert gradient.isfinite().all(), name


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_model_in_half_precision_trains_float32_coefficients(dtype):
    model = get_peft_model(make_model(dtype=dtype), config_for("banded"))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    losses = []
    for _ in range(5):
        loss = loss_of(model, make_inputs())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert all(p.dtype == torch.float32 for p in model.parameters() if p.requires_grad)


class _Sentences(Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, index):
        return {"input_ids": torch.arange(7) + index, "labels": index % 3}


def trainer_for(model, directory, **options) -> Trainer:
    arguments = TrainingArguments(
        output_dir=str(directory), max_steps=2, per_device_train_batch_size=4, learning_rate=1e-2, report_to=[],
        use_cpu=True, save_strategy="steps", save_steps=1, logging_steps=1, **options,
    )  # fmt: skip
    return Trainer(model=model, args=arguments, train_dataset=_Sentences())


@pytest.mark.parametrize("options", [{}, {"gradient_checkpointing": True, "bf16": True}], ids=["plain", "lean"])
def test_the_trainer_of_transformers(tmp_path, options):
    model = get_peft_model(make_model(), config_for("random", modules_to_save=["classifier"]))
    trainer = trainer_for(model, tmp_path, **options)
    trainer.train()
    assert all(layer.svft_coefficients["default"].abs().sum() > 0 for layer in svft_layers(model).values())
    assert {p.name for p in tmp_path.iterdir()} == {"checkpoint-1", "checkpoint-2"}
    loaded = svft_layers(PeftModel.from_pretrained(make_model(), str(tmp_path / "checkpoint-2")))
    for name, layer in svft_layers(model).items():
        assert torch.equal(loaded[name].svft_coefficients["default"], layer.svft_coefficients["default"])


def test_the_trainer_resumes_from_a_checkpoint(tmp_path):
    trainer_for(get_peft_model(make_model(), config_for("random")), tmp_path).train()
    expected = load_file(tmp_path / "checkpoint-2" / "adapter_model.safetensors")
    model = get_peft_model(make_model(), config_for("random"))
    trainer_for(model, tmp_path).train(resume_from_checkpoint=str(tmp_path / "checkpoint-1"))
    resumed = load_file(tmp_path / "checkpoint-2" / "adapter_model.safetensors")
    assert resumed.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(resumed[name], tensor)


def test_accelerate(tmp_path):
    accelerator = Accelerator(cpu=True)
    model = get_peft_model(make_model(), config_for("banded"))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    model, optimizer = accelerator.prepare(model, optimizer)
    before = loss_of(model, make_inputs())
    accelerator.backward(before)
    optimizer.step()
    accelerator.save_state(str(tmp_path))
    trained = logits(model, make_inputs())
    accelerator.unwrap_model(model).save_pretrained(str(tmp_path / "adapter"), save_embedding_layers=False)
    with torch.no_grad():
        train_by_hand(model)
    accelerator.load_state(str(tmp_path))
    torch.testing.assert_close(logits(model, make_inputs()), trained)
    loaded = PeftModel.from_pretrained(make_model(), str(tmp_path / "adapter"))
    torch.testing.assert_close(logits(loaded, make_inputs()), trained, rtol=1e-4, atol=1e-4)
    assert loss_of(loaded, make_inputs()) < before
