"""The memory of a step taken without numbers is that of a step taken with them."""

from __future__ import annotations

import json

import pytest
import torch
from transformers import BertConfig, BertModel

from analysis.common.errors import ArchitectureError
from analysis.models.architecture import config_from_values, open_architecture, read_architecture
from analysis.models.loading import DEFAULT_BASE, block_linears, build_from_config, load_base
from analysis.planning.benchmark import contestant
from analysis.planning.budgets import budget_table
from analysis.planning.cost import peak_bytes
from analysis.planning.memory import TrainingMemory, _training_memory, memory_rows, training_memory
from analysis.planning.repeated_blocks import longest_run
from analysis.training.methods import METHODS
from analysis.training.relatives import LINEAR_ONLY
from analysis.training.specification import TrainingSpec
from tests.analysis.options import options_for
from tests.analysis.planning.test_budgets import FUSED, TINY

SHAPES = ((2, 24), (4, 64))


@pytest.fixture(scope="module")
def small_base(tmp_path_factory) -> str:
    """The directory of a BERT as the default base is one, of two blocks with n = 192."""
    directory = tmp_path_factory.mktemp("small-base")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = BertModel(
            BertConfig(hidden_size=192, intermediate_size=768, num_hidden_layers=2, num_attention_heads=6)
        )
    model.save_pretrained(directory)
    return str(directory)


def built(base: str, method: str, **size: int) -> torch.nn.Module:
    """Return a model as a method trains it."""
    model = load_base(base, ["a", "b", "c", "d", "e"])
    options = options_for(
        TrainingSpec("bbc_headlines", method, base=base, **size).resolved(), model, block_linears(model)
    )
    return METHODS[method].build(model, options, block_linears(model))


def agrees(base: str, method: str) -> None:
    architecture, model = open_architecture(base), built(base, method)
    for batch, length in SHAPES[:1] if method == "boft" else SHAPES:  # whose steps take ten times the others'
        measured = peak_bytes(contestant(method, model, batch, length, "float32"))
        estimate = training_memory(architecture, method, list(architecture.shapes), batch=batch, length=length)
        assert estimate.peak == pytest.approx(measured, rel=0.02)
        resident = estimate.peak - estimate.gradients - estimate.activations
        assert estimate.peak - resident == pytest.approx(measured - resident, rel=0.05)  # of the step alone


@pytest.mark.parametrize("method", [method for method in METHODS if method != "custom"])
@pytest.mark.slow
def test_the_estimate_is_what_is_measured(method, small_base):
    agrees(small_base, method)


@pytest.mark.parametrize("method", ["banded", "lora", "full"])
@pytest.mark.slow
def test_the_estimate_is_what_is_measured_on_the_default_base(method):
    agrees(DEFAULT_BASE, method)


FEW = [
    *((pattern, {"budget": 230}) for pattern in ("plain", "banded", "random", "top_k", "chosen")),
    ("random", {"budget": 690}),
    ("chosen", {"budget": 690}),
    ("block", {"size": 4}),
]


@pytest.mark.parametrize(("method", "size"), FEW)
@pytest.mark.slow
def test_the_estimate_of_few_entries_is_what_is_measured(method, size, small_base):
    architecture, model = open_architecture(small_base), built(small_base, method, **size)
    estimate = training_memory(architecture, method, list(architecture.shapes), batch=2, length=24, **size)
    assert estimate.peak == pytest.approx(peak_bytes(contestant(method, model, 2, 24, "float32")), rel=0.05)
    kept = sum(t.nbytes for name, t in model.named_buffers() if "svft_U" in name or "svft_V" in name)
    assert estimate.basis == pytest.approx(kept, rel=0.2)
    assert estimate.basis < 4 / 3 * sum(min(shape) * sum(shape) for shape in architecture.shapes.values())


def of_lora(name="LLaMA-3-8B", method="lora", targets=1, **options) -> TrainingMemory:
    model = open_architecture(name)
    return training_memory(model, method, list(model.shapes)[:targets], batch=1, length=64, **options)


def test_terms_are_what_they_say():
    actual = of_lora("SmolLM2-135M", "plain", targets=210)
    model = open_architecture("SmolLM2-135M")
    assert actual.basis == 4 * sum(min(shape) * sum(shape) for shape in model.shapes.values())
    assert actual.optimizer == 2 * 4 * sum(min(shape) for shape in model.shapes.values())
    assert actual.weights == pytest.approx(4 * model.parameters, rel=1e-3)
    assert of_lora("SmolLM2-135M").basis == 0


def test_weights_in_half_precision_take_half():
    single, half = (of_lora("SmolLM2-135M", dtype=dtype) for dtype in (torch.float32, torch.bfloat16))
    assert half.weights == pytest.approx(single.weights / 2, rel=1e-3)


# Their forward pass looks at numbers (relative positions, the place of the last token), which a meta tensor has not.
NEED_NUMBERS = ("deberta-v2", "t5")


@pytest.mark.parametrize("family", [family for family in TINY if family not in ("modernbert", *NEED_NUMBERS)])
def test_an_architecture_takes_a_step_without_numbers(family):
    model = read_architecture(json.dumps({"model_type": family, **TINY[family]}), family)
    for method in ("random", "lora"):
        actual = training_memory(model, method, list(model.shapes), batch=2, length=8)
        assert actual.activations > 0
        assert actual.gradients >= 0  # none yet, where the forward pass is the peak


@pytest.mark.parametrize("family", NEED_NUMBERS)
def test_an_architecture_that_needs_numbers_is_refused_with_a_sentence(family):
    model = read_architecture(json.dumps({"model_type": family, **TINY[family]}), family)
    with pytest.raises(ArchitectureError, match="cannot be taken without numbers"):
        training_memory(model, "random", list(model.shapes), batch=2, length=8)


def test_rows_have_every_method_with_a_size_and_full_fine_tuning():
    model = read_architecture(json.dumps({"model_type": "bert", **TINY["bert"]}), "bert")
    table = budget_table(model, ["query"], 64)
    rows = list(memory_rows(model, ["query"], table, 2, 8, torch.float32))
    assert [row["method"] for row in rows] == [*table.loc[table["note"] == "", "method"], "full"]
    assert all(row["peak"] > row["weights"] > 0 for row in rows)


def test_a_step_that_needs_numbers_is_refused_with_a_sentence(monkeypatch):
    def forward(self, *args, **kwargs):
        return bool(next(self.parameters()).sum())

    monkeypatch.setattr("transformers.LlamaModel.forward", forward)
    with pytest.raises(ArchitectureError, match="cannot be taken without numbers, so its memory is not known"):
        of_lora("SmolLM2-135M")


# ---- blocks that repeat

MANY = {
    "llama": TINY["llama"] | {"num_hidden_layers": 9, "architectures": ["LlamaForCausalLM"]},
    "gpt2": TINY["gpt2"] | {"num_hidden_layers": 7, "architectures": ["GPT2LMHeadModel"]},
    "bert": TINY["bert"] | {"num_hidden_layers": 6},
    "vit": TINY["vit"] | {"num_hidden_layers": 6},
    "gpt_oss": FUSED["gpt_oss"] | {"num_hidden_layers": 12, "head_dim": 8},  # two that take turns
    "deepseek_v3": FUSED["deepseek_v3"] | {"num_hidden_layers": 7},  # the first is another
}


# Every family with three methods, every method with a family at least.
REPEATED = ("banded", "random", "lora", "vera", "tinylora", "adamss", "frod", "full")
REPEATS = [(family, REPEATED[(3 * i + shift) % 8]) for i, family in enumerate(MANY) for shift in range(3)]


@pytest.mark.parametrize(("family", "method"), REPEATS)
def test_a_step_of_four_repeats_says_what_a_step_of_all_blocks_takes(family, method):
    architecture = read_architecture(json.dumps({"model_type": family, **MANY[family]}), family)
    targets = [name for name in architecture.shapes if family != "deepseek_v3" or "mlp" not in name]
    size = {"off_diag": 1, "r": 2, "u": 3, "per mille": 5}.get(METHODS[method].size_name)
    if method in LINEAR_ONLY and family == "gpt2":
        pytest.skip("it has Conv1D, which PEFT does not adapt so")
    spec = TrainingSpec("bbc_headlines", method, size=size)
    short, whole = (
        _training_memory(architecture, spec, targets, 2, 8, torch.float32, shortened) for shortened in (True, False)
    )
    assert short == whole


def test_blocks_that_differ_are_not_shortened():
    config = {"model_type": "llama", **TINY["llama"], "num_hidden_layers": 5}
    model = build_from_config(config_from_values(config))
    assert longest_run(model).number == 5
    model.model.layers[2].mlp.down_proj = torch.nn.Linear(3, 4)
    assert longest_run(model) is None


def test_fused_experts_are_part_of_a_step():
    model = read_architecture(json.dumps({"model_type": "mixtral", **FUSED["mixtral"]}), "mixtral")
    without, with_them = (
        training_memory(model, "lora", targets, size=1, batch=1, length=4)
        for targets in (list(model.shapes), [*model.shapes, *model.fused])
    )
    added = 4 * sum(experts * (out + in_) for experts, out, in_ in model.fused.values())
    assert with_them.adapter - without.adapter == added
    assert with_them.activations > without.activations
