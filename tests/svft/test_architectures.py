"""Default target modules by family, and adapters that are loaded in a fresh process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
import torch
from peft import get_peft_model
from peft.tuners.tuners_utils import check_target_module_exists
from peft.utils.constants import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING
from safetensors.torch import save_file
from torch import nn
from transformers import CONFIG_MAPPING, AutoConfig, AutoModel
from transformers.pytorch_utils import Conv1D

import svft
from svft.targets import TARGET_MODULES
from tests.svft.tiny import ARCHITECTURES, config_for, logits, make_inputs, make_model, svft_layers, train_by_hand

# Hybrids of several kinds of block, for which no one list of names is right.
WITHOUT_DEFAULTS = {"gemma4", "nemotron_h"}
NAMED_IN_THE_README = (
    "bert", "roberta", "deberta-v2", "distilbert", "gpt2", "llama", "mistral", "qwen2", "gemma", "phi", "t5", "vit",
)  # fmt: skip


def linear_layers_inside_blocks(model: nn.Module) -> set[str]:
    """Return the names of the linear layers below a list of blocks, routers of experts apart."""
    blocks = tuple(f"{name}." for name, module in model.named_modules() if isinstance(module, nn.ModuleList))
    return {
        name
        for name, module in model.named_modules()
        if isinstance(module, (nn.Linear, Conv1D)) and name.startswith(blocks) and not name.endswith(".router")
    }


@pytest.mark.parametrize("family", TARGET_MODULES)
def test_the_default_targets_are_the_linear_layers_inside_the_blocks(family):
    with torch.device("meta"):
        model = AutoModel.from_config(AutoConfig.for_model(family))
    config = svft.SvftConfig(target_modules=TARGET_MODULES[family])
    chosen = {name for name, _ in model.named_modules() if check_target_module_exists(config, name)}
    assert chosen
    assert chosen == linear_layers_inside_blocks(model)


def test_every_family_that_peft_knows_and_transformers_ships_has_defaults():
    types = set(TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING) & set(CONFIG_MAPPING)
    assert types - WITHOUT_DEFAULTS <= set(TARGET_MODULES)


def test_a_family_without_defaults_is_told_to_name_its_modules():
    with pytest.raises(ValueError, match="target_modules"):
        get_peft_model(nn.Sequential(nn.Linear(3, 3)), svft.SvftConfig())


@pytest.mark.parametrize("family", NAMED_IN_THE_README)
def test_the_defaults_adapt_train_and_start_as_the_base(family):
    size = {"d_model": 16, "d_kv": 8, "d_ff": 40, "num_layers": 2, "num_heads": 2}
    if family != "t5":
        size = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 40}
    if family in ("llama", "mistral", "qwen2", "gemma", "phi"):
        size["num_key_value_heads"] = 2
    if family == "vit":
        inputs = {"pixel_values": torch.randn(1, 3, 32, 32)}
        size |= {"image_size": 32, "patch_size": 16}
    else:
        inputs = {"input_ids": torch.tensor([[5, 6, 7]])}
        size["vocab_size"] = 50
    if family == "t5":
        inputs["decoder_input_ids"] = torch.tensor([[5, 6]])
    base = AutoModel.from_config(AutoConfig.for_model(family, bos_token_id=0, eos_token_id=1, **size)).eval()
    expected_names = linear_layers_inside_blocks(base)
    expected = base(**inputs).last_hidden_state
    model = get_peft_model(base, config_for("plain"))
    assert set(model.base_model.targeted_module_names) == expected_names
    out = model(**inputs).last_hidden_state
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-4)
    out.square().sum().backward()
    for name, layer in svft_layers(model).items():
        assert layer.svft_coefficients["default"].grad is not None, name


# -- a fresh process

PATTERNS = ("plain", "banded", "random", "top_k", "custom")
DTYPES = ("float32", "bfloat16", "float16")
CUSTOM_TARGETS = {"bert": ["query", "dense"], "gpt2": ["c_attn"], "llama": ["q_proj", "k_proj"], "vit": ["fc1"]}

LOAD_ALL = """
import json, sys
import torch
from peft import PeftModel
from safetensors.torch import load_file
from tests.svft.tiny import logits, make_inputs, make_model
import svft

torch.set_num_threads(1)
failures = []
for case in json.load(open(sys.argv[1])):
    dtype = getattr(torch, case["dtype"])
    expected = load_file(case["directory"] + "/expected.safetensors")["logits"]
    model = PeftModel.from_pretrained(make_model(case["architecture"], dtype), case["directory"])
    found = logits(model, make_inputs(case["architecture"], dtype))
    worst = (found.float() - expected.float()).abs().max().item()
    if found.dtype != dtype or not worst <= case["tolerance"] * expected.float().abs().max().item():
        failures.append([case["directory"], worst])
print(json.dumps(failures))
"""


@pytest.mark.slow
def test_every_pattern_type_and_architecture_gives_equal_logits_in_a_fresh_process(tmp_path):
    cases = []
    for place, (architecture, pattern) in enumerate(product(ARCHITECTURES, PATTERNS)):
        dtype = DTYPES[place % len(DTYPES)]  # each architecture and each pattern meets every type
        options = {"target_modules": CUSTOM_TARGETS[architecture]} if pattern == "custom" else {}
        base = make_model(architecture, getattr(torch, dtype))
        model = train_by_hand(get_peft_model(base, config_for(pattern, **options)))
        directory = tmp_path / f"{architecture}-{dtype}-{pattern}"
        model.save_pretrained(str(directory), save_embedding_layers=False)
        expected = logits(model, make_inputs(architecture, getattr(torch, dtype)))
        save_file({"logits": expected.contiguous()}, directory / "expected.safetensors")
        cases.append(
            {
                "directory": str(directory), "architecture": architecture, "dtype": dtype,
                "tolerance": 1e-5 if dtype == "float32" else 0,
            }
        )  # fmt: skip
    (tmp_path / "cases.json").write_text(json.dumps(cases))
    fresh = {**os.environ, "SVFT_CACHE_DIR": str(tmp_path / "another-cache")}  # decomposes again
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", LOAD_ALL, str(tmp_path / "cases.json")],
        env=fresh, cwd=root, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == []
