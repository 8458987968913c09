"""Counts, files and ranks on paper are those of models that are really built."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from scipy.sparse import coo_array
from scipy.sparse.csgraph import structural_rank

from analysis.models.architecture import (
    Architecture,
    open_architecture,
    read_architecture,
)
from analysis.models.loading import build_from_config, linear_shapes
from analysis.models.packages import DEFAULT_BASE
from analysis.planning.budgets import (
    budget_table,
    drawn_rank_share,
    entries_of,
    file_bytes,
    planned_methods,
    reachable_rank,
    size_curves,
)
from analysis.planning.sizing import count_parameters
from analysis.training.methods import METHODS
from analysis.training.relatives import CHANGED_STARTS, CONFIGS, LINEAR_ONLY, most_numbers
from analysis.training.specification import TrainingSpec
from svft.patterns import PATTERNS
from tests.analysis.options import options_for

_SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 40,
          "vocab_size": 50, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 0}  # fmt: skip
_GROUPED = _SIZES | {"num_key_value_heads": 1, "head_dim": 8}
TINY = {
    **dict.fromkeys(("bert", "roberta", "deberta-v2", "distilbert", "gpt2", "phi"), _SIZES),
    "distilbert": {"vocab_size": 50, "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 40},
    **dict.fromkeys(("llama", "gemma", "qwen3", "mistral", "olmo2"), _GROUPED),
    "vit": {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 40,
            "image_size": 8, "patch_size": 4},
    "t5": {"d_model": 16, "d_kv": 8, "d_ff": 40, "num_layers": 2, "num_heads": 2, "vocab_size": 50},
    "modernbert": _SIZES | {"intermediate_size": 24, "cls_token_id": 1, "sep_token_id": 2},
}  # fmt: skip

_EXPERTS = _GROUPED | {"moe_intermediate_size": 12, "num_experts_per_tok": 2}
_LATENT = {"q_lora_rank": 8, "kv_lora_rank": 8, "qk_rope_head_dim": 4, "qk_nope_head_dim": 4, "v_head_dim": 4,
           "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1, "num_key_value_heads": 2,
           "head_dim": 4}  # fmt: skip
FUSED = {
    "qwen3_moe": _EXPERTS | {"num_experts": 4},
    "mixtral": _EXPERTS | {"num_local_experts": 4},
    "gpt_oss": _EXPERTS | {"num_local_experts": 4},
    "deepseek_v3": _EXPERTS | _LATENT | {"n_routed_experts": 4, "n_shared_experts": 1},
}
# Each expert a module of its own
MOE = FUSED | {"switch_transformers": TINY["t5"] | {"num_experts": 4, "num_sparse_encoder_layers": 1}}


def tiny(family: str) -> Architecture:
    return read_architecture(json.dumps({"model_type": family, **(TINY | MOE)[family]}), family)


def built(family: str):
    """Return a model with numbers."""
    from analysis.models.architecture import config_from_values

    model = build_from_config(config_from_values({"model_type": family, **(TINY | MOE)[family]}))
    model.to_empty(device="cpu")
    for parameter in model.parameters():
        parameter.data.normal_()
    return model


def adapted(model, method, size, targets):
    spec = TrainingSpec("bbc_headlines", method, size=size)
    return get_peft_model(model, METHODS[method].config(method, options_for(spec, model, targets), targets))


def legal_size(draw, method, shapes):
    if METHODS[method].size_name is None:
        return None
    if method == "boft":
        divisors = [b for b in range(2, 17) if all(in_ % b == 0 for _, in_ in shapes)]
        assume(divisors)
        return draw(st.sampled_from(divisors))
    smallest = min(map(min, shapes))
    if method == "frod":
        return draw(st.integers(1, 1000))
    if method == "tinylora":
        return draw(st.integers(1, most_numbers(smallest)))
    if method in CONFIGS and method not in ("lora", "dora", "vera"):
        return draw(st.integers(2 if method == "psoft" else 1, smallest))
    return draw(st.integers(0 if METHODS[method].size_name == "off_diag" else 1, 20))


def test_there_are_more_than_ten_architectures():
    assert len(TINY) >= 10


@st.composite
def cases(draw):
    """Draw an architecture, some kinds of its weights, and a method with a size."""
    family = draw(st.sampled_from([*TINY, *MOE]))
    model = tiny(family)
    kinds = draw(st.lists(st.sampled_from(list(model.kinds)), min_size=1, unique=True))
    method = draw(st.sampled_from(planned_methods()))
    assume(not (family == "gpt2" and method in LINEAR_ONLY))  # PEFT has none for Conv1D
    # PEFT takes the names of DeepSeek's dense MLPs for those of its experts, and adapts these instead.
    of_lora = ("lora", "dora", "mica", *CHANGED_STARTS)
    assume(not (family == "deepseek_v3" and method in of_lora and any("MLP" in kind for kind in kinds)))
    shapes = [shape for group in model.of_kinds(kinds).values() for shape in group]
    return family, model, kinds, method, legal_size(draw, method, shapes)


@given(cases())
@settings(max_examples=40)
def test_counts_by_kind_are_those_of_the_model_that_peft_builds(case):
    family, architecture, kinds, method, size = case
    model = built(family)
    assert {name: architecture.shapes[name] for name in architecture.shapes} == linear_shapes(model)
    targets = [name for kind in kinds for name in architecture.kinds[kind]]
    model = adapted(model, method, size, targets)
    for kind in kinds:
        if method == "tinylora":  # whose numbers PEFT files under the first layer
            own = sum(p.numel() for key, p in model.named_parameters() if ".tinylora_v." in key)
            assert own == sum(
                entries_of(method, architecture.of_kinds(kinds)[k], size)[0] * len(architecture.kinds[k])
                for k in kinds
            )
            return
        named = {
            name: sum(p.numel() for key, p in model.named_parameters() if p.requires_grad and f".{name}." in f".{key}")
            for name in architecture.kinds[kind]
        }
        assert entries_of(method, architecture.of_kinds([kind])[kind], size) == list(named.values())


@pytest.mark.parametrize("method", planned_methods())
@pytest.mark.parametrize("family", ["bert", "llama"])
def test_files_are_as_large_as_those_that_peft_writes(family, method, tmp_path):
    architecture = tiny(family)
    size = {"off_diag": 2, "r": 3, "u": 9, "per mille": 30, "block size": 4}.get(METHODS[method].size_name)
    model = adapted(built(family), method, size, list(architecture.shapes))
    model.save_pretrained(str(tmp_path), save_embedding_layers=False)
    entries = dict(zip(architecture.shapes, entries_of(method, list(architecture.shapes.values()), size), strict=True))
    written = (tmp_path / "adapter_model.safetensors").stat().st_size
    assert file_bytes(method, architecture.shapes, entries, size) == pytest.approx(
        written,
        abs=64 if method != "adamss" else 512,  # whose clusters and biases are not known before
    )


@pytest.mark.parametrize("degree", [0.2, 1, 2, 3, 5, 12])
def test_the_rank_of_a_drawn_pattern_is_what_random_graphs_have(degree):
    n = 1500
    flat = PATTERNS["random"].function(n, round(degree * n), seed=3, U=None, V=None).numpy()
    drawn = structural_rank(coo_array((np.ones(len(flat)), (flat // n, flat % n)), shape=(n, n)).tocsr())
    assert n * drawn_rank_share(degree) == pytest.approx(drawn, abs=0.015 * n)


def test_the_default_base_has_about_211_ranks_of_384_at_one_entry_a_row():
    assert reachable_rank("random", (384, 384), 384) == pytest.approx(211, abs=3)


@pytest.mark.parametrize(
    ("method", "entries", "size", "rank"),
    [("plain", 16, None, 16), ("banded", 70, 2, 16), ("top_k", 5, 2, 5), ("lora", 96, 3, 3), ("dora", 1, 3, 16)],
)
def test_ranks_that_follow_from_the_method(method, entries, size, rank):
    assert reachable_rank(method, (16, 16), entries, size) == rank


def test_the_table_has_each_method_nearest_to_the_budget_and_says_why_one_is_missing():
    model = open_architecture(DEFAULT_BASE)
    shapes = list(model.shapes.values())
    budget = count_parameters("lora", shapes, 8)
    table = budget_table(model, None, budget).set_index("method")
    assert list(table.index) == planned_methods()
    assert (table.at["lora", "label"], table.at["lora", "count"]) == ("LoRA r=8", budget)
    assert (table.at["banded", "label"], table.at["plain", "count"]) == ("SVFT banded d=12", 13_824)
    assert table.at["random", "count"] == budget
    assert table.at["lora", "share"] == budget / model.parameters
    assert "largest size has 34,560" in table.at["vera", "note"]
    sized = table[table["note"] == ""]
    assert (sized[list(model.kinds)].sum(axis=1) == sized["count"]).all()


def test_only_the_chosen_kinds_are_counted():
    table = budget_table(open_architecture(DEFAULT_BASE), ["query", "value"], 10_000).set_index("method")
    assert table.at["plain", "count"] == 2 * 6 * 384
    assert "key" not in table


def test_curves_rise_with_the_size():
    curves = size_curves(open_architecture(DEFAULT_BASE), None)
    assert set(curves["method"]) == set(planned_methods()) - {"boft", "frod"}
    for _, curve in curves.groupby("method"):
        assert curve["count"].is_monotonic_increasing


# ---- experts


def test_experts_are_kinds_of_their_own():
    model = tiny("qwen3_moe")
    assert model.fused_kinds == {
        "expert gate, up (fused)": [f"model.layers.{layer}.mlp.experts.gate_up_proj" for layer in (0, 1)],
        "expert down (fused)": [f"model.layers.{layer}.mlp.experts.down_proj" for layer in (0, 1)],
    }
    assert model.of_kinds(["expert down (fused)"]) == {"expert down (fused)": [(16, 12)] * 8}
    assert not any(kind.startswith("expert") for kind in model.of_kinds(None))
    modules = tiny("switch_transformers").kinds
    assert {kind for kind in modules if kind.startswith("expert")} == {
        f"expert {kind} ({half})" for kind in ("up", "down") for half in ("encoder.1", "decoder.2")
    } or any(kind.startswith("expert up") for kind in modules)


@pytest.mark.parametrize("family", FUSED)
def test_lora_of_fused_experts_is_counted_as_peft_builds_it_and_writes_it(family, tmp_path):
    architecture = tiny(family)
    linear = [kind for kind in architecture.kinds if "MLP" not in kind]  # see `cases`
    kinds = [*linear, *architecture.fused_kinds]
    r = 3
    targets = [name for kind in linear for name in architecture.kinds[kind]]
    config = LoraConfig(r=r, target_modules=targets, target_parameters=list(architecture.fused))
    model = get_peft_model(built(family), config)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    shapes = [shape for group in architecture.of_kinds(kinds).values() for shape in group]
    assert count_parameters("lora", shapes, r) == trained
    row = budget_table(architecture, kinds, trained).set_index("method").loc["lora"]
    assert (row["size"], row[list(kinds)].sum()) == (r, trained)
    model.save_pretrained(str(tmp_path), save_embedding_layers=False)
    assert row["file_bytes"] == pytest.approx((tmp_path / "adapter_model.safetensors").stat().st_size, abs=64)


@pytest.mark.parametrize("method", ["dora", "vera", "boft", "plain"])
def test_what_cannot_adapt_fused_experts_leaves_them_out_and_says_so(method):
    architecture = tiny("mixtral")
    fused = list(architecture.fused_kinds)
    table = budget_table(architecture, [*architecture.kinds, *fused], 2000).set_index("method")
    assert table.at[method, "left_out"] == ", ".join(fused)
    alone = budget_table(architecture, fused, 2000).set_index("method")
    assert "3-D tensor" in alone.at[method, "note"]


@pytest.mark.parametrize(
    ("name", "total", "active"),
    [
        ("Qwen3-30B-A3B", 30.5, 3.35),
        ("Mixtral-8x7B", 46.7, 12.9),
        ("gpt-oss-20b", 20.9, 4.19),
        ("DeepSeek-V3", 671, 37.6),
    ],
)
def test_totals_and_active_parameters_are_those_that_are_published(name, total, active):
    # gpt-oss's published 3.6B leave out one of its two embeddings.
    model = open_architecture(name)
    assert (model.parameters / 1e9, model.active / 1e9) == (
        pytest.approx(total, rel=3e-3),
        pytest.approx(active, rel=3e-3),
    )
