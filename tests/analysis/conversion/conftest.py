"""Tiny base models on disk, and SVFT adapters of them as if trained."""

from __future__ import annotations

import pytest
import torch
from peft import get_peft_model
from transformers import AutoModelForCausalLM, AutoModelForImageClassification, AutoModelForSequenceClassification

from tests.svft.tiny import ARCHITECTURES, config_for, logits, make_inputs, make_model, train_by_hand

AUTO = {
    "bert": AutoModelForSequenceClassification,
    "gpt2": AutoModelForCausalLM,
    "llama": AutoModelForCausalLM,
    "vit": AutoModelForImageClassification,
}
TASKS = {"bert": "SEQ_CLS", "gpt2": "CAUSAL_LM", "llama": "CAUSAL_LM", "vit": None}
# One module name each, for the custom pattern.
CUSTOM = {"bert": "query", "gpt2": "c_attn", "llama": "q_proj", "vit": "fc1"}


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def bases(tmp_path_factory) -> dict[str, str]:
    """Directories of the tiny models, by architecture."""
    actual = {}
    for architecture in ARCHITECTURES:
        actual[architecture] = str(tmp_path_factory.mktemp("bases") / architecture)
        make_model(architecture).save_pretrained(actual[architecture])
    return actual


@pytest.fixture
def trained(bases, tmp_path):
    """Make an SVFT adapter with its head, as if trained: (model, directory)."""

    def make(architecture="bert", pattern="banded", dtype=torch.float32, **options):
        base = make_model(architecture, dtype)
        if pattern == "custom":
            options.setdefault("target_modules", [CUSTOM[architecture]])
        if architecture == "vit":
            options["modules_to_save"] = ["classifier"]
        model = get_peft_model(base, config_for(pattern, task_type=TASKS[architecture], **options))
        train_by_hand(model, scale=0.3)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "modules_to_save" in name:
                    parameter += 0.2
        model.peft_config["default"].base_model_name_or_path = bases[architecture]
        directory = tmp_path / "adapter"
        model.save_pretrained(str(directory), save_embedding_layers=False)
        return model.eval(), directory

    return make


def assert_same_logits(architecture, expected, actual, atol=2e-5, dtype=torch.float32):
    """Logits are equal relative to the largest of them."""
    inputs = make_inputs(architecture, dtype)
    reference = logits(expected, inputs).float()
    scale = reference.abs().max()
    torch.testing.assert_close(logits(actual, inputs).float() / scale, reference / scale, rtol=0, atol=atol)
