"""The tab Budgets of the page Race, without a browser."""

import json
from types import SimpleNamespace

import pytest
import torch

from analysis.models.architecture import open_architecture
from analysis.models.packages import DEFAULT_BASE
from analysis.planning.memory_steps import memory_steps
from app.views.budgets import advice, memory
from svft.patterns import PATTERNS, register_pattern

pytestmark = pytest.mark.usefixtures("no_workers")

TINY = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 16, "intermediate_size": 40,
        "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 50}  # fmt: skip
OWN = "A configuration of your own"


@pytest.fixture
def budgets(race):
    """Open the tab. What is imported to build a model is there before the page's time runs."""
    open_architecture(DEFAULT_BASE)
    return lambda: race(tab="Budgets")


def table(test):
    return test.dataframe[0].value.set_index("label")


def captions(test):
    return " ".join(caption.value for caption in test.caption)


def test_the_tab_shows_the_default_model_at_once(budgets):
    test = budgets()
    assert not test.exception
    assert test.title[0].value == "What would it cost on your model?"
    assert "22,713,216 parameters, 36 linear layers" in captions(test)
    assert table(test).at["LoRA r=8", "count"] == 331_776
    assert table(test).at["SVFT plain", "count"] == 13_824
    assert table(test).at["SVFT block r=96 (LoRA-XS)", "count"] == 331_776
    assert "nearest to it is SVFT banded d=12, 339,984 parameters" in captions(test)
    assert "VeRA's largest size" in captions(test)


def test_the_race_is_the_first_tab(race):
    assert "race" in race().title[0].value


def test_a_preset_its_weights_and_a_width_are_chosen(budgets):
    test = budgets()
    test.selectbox(key="budgets-model").set_value("Gemma-2B").run()
    test.segmented_control(key="budgets-way").set_value("SVFT off_diag d").run()
    (width,) = [element for element in test.number_input if element.label == "d"]
    width.set_value(16).run()
    assert not test.exception
    assert table(test).at["SVFT banded d=16", "count"] == 6_352_416
    (pills,) = test.pills
    pills.set_value(["query", "value"]).run()
    assert table(test).at["SVFT plain", "count"] == 18 * (2048 + 256)


def test_a_pasted_configuration_is_built_and_a_bad_one_is_a_sentence(budgets):
    test = budgets()
    test.selectbox(key="budgets-model").set_value(OWN).run()
    assert "Paste a config.json" in captions(test)
    test.text_area(key="budgets-config").set_value(json.dumps(TINY)).run()
    assert not test.exception
    assert table(test).at["SVFT plain", "count"] == 2 * (5 * 16 + 2 * 8)
    test.text_area(key="budgets-config").set_value("{}").run()
    assert "config.json is expected" in test.error[0].value
    test.text_area(key="budgets-config").set_value(json.dumps(TINY | {"num_hidden_layers": 10**9})).run()
    assert "too large" in test.error[0].value


def test_the_papers_counts_are_set_beside_ours(budgets):
    test = budgets()
    shown = test.dataframe[-1].value
    assert "8 of 11 published counts follow" in captions(test)
    assert shown.loc[shown["published"] == "13.5M", "explanation"].item().startswith("is the count of DoRA r=16")


def test_a_budget_goes_to_the_race(budgets):
    test = budgets()
    (rank,) = [element for element in test.number_input if element.label == "r"]
    rank.set_value(2).run()
    test.button(key="budgets-race").click().run()
    assert not test.exception
    assert "tab" not in test.query_params
    assert test.session_state["plan-budget"] == 82_944
    assert not test.error


def test_sizes_of_another_model_race_on_the_small_one(budgets):
    test = budgets()
    test.selectbox(key="budgets-model").set_value("SmolLM2-135M").run()
    assert "on a small model" in test.button(key="budgets-race").label
    test.button(key="budgets-race").click().run()
    assert not test.exception
    assert not test.error
    study = test.session_state["plan"]
    assert study.sizes["lora"] == (8,)
    assert study.sizes["random"] == study.sizes["banded"]


def test_memory_is_counted_in_a_process_and_shown_by_term(budgets, monkeypatch):
    rows = list(memory_steps("tiny", json.dumps(TINY), ["query"], 64, 2, 8, "float32"))
    assert rows[0] == len(rows) - 1
    monkeypatch.setattr(
        memory,
        "Job",
        lambda *_: SimpleNamespace(results=rows[1:], total=rows[0], running=False, complete=True, stop=None),
    )
    monkeypatch.setattr("analysis.planning.svd_speed.measure_svd_speed", lambda: None)
    monkeypatch.setattr("analysis.planning.svd_speed.svd_seconds", lambda shapes, speed: 7200.0)
    test = budgets()
    test.button(key="budgets-count").click().run()
    assert not test.exception
    assert "36 matrices are decomposed once: about 2.0 h" in captions(test)
    assert "needs the least memory" in captions(test)
    test.number_input(key="budgets-batch").set_value(4).run()
    assert "needs the least memory" not in captions(test)  # counted for other settings


def test_a_registered_pattern_is_in_the_table(budgets):
    @register_pattern("corner", "The leading rows.")
    def corner(n, k, *, seed, U, V):
        return torch.arange(k)

    try:
        assert table(budgets()).at["SVFT corner, 331,776 entries", "count"] == 331_776
    finally:
        del PATTERNS["corner"]


def test_a_second_pasted_configuration_has_its_own_kinds(budgets):
    test = budgets()
    test.selectbox(key="budgets-model").set_value(OWN).run()
    test.text_area(key="budgets-config").set_value(json.dumps(TINY)).run()
    (pills,) = test.pills
    pills.set_value(["query"]).run()
    gpt = {"model_type": "gpt2", "n_embd": 16, "n_layer": 2, "n_head": 2, "vocab_size": 50}
    test.text_area(key="budgets-config").set_value(json.dumps(gpt)).run()
    assert not test.exception
    assert set(test.pills[0].value) == {"query, key, value", "attention out", "MLP up", "MLP down"}
    test.text_area(key="budgets-config").set_value(json.dumps(TINY | {"num_hidden_layers": 3})).run()
    assert len(test.pills[0].value) == 7


def test_a_small_share_has_its_digits(budgets):
    test = budgets()
    test.selectbox(key="budgets-model").set_value("Qwen3-30B-A3B").run()
    assert not test.exception
    assert table(test).at["SVFT plain", "share"] == "0.0008%"
    assert "3,353,032,704 active" in captions(test)
    assert "Experts hold 28,991,029,248" in captions(test)


def test_one_method_is_recommended_with_numbers(budgets, monkeypatch):
    rows = [
        {"method": "lora", "label": "LoRA r=8", "peak": 5e9, "count": 331_776, "on": "", "note": ""},
        {"method": "plain", "label": "SVFT plain", "peak": 50e9, "count": 13_824, "on": "", "note": ""},
    ]
    done = SimpleNamespace(results=rows, total=2, running=False, complete=True, stop=None)
    monkeypatch.setattr(advice, "Job", lambda *_: done)
    test = budgets()
    test.button(key="budgets-advise").click().run()
    assert not test.exception
    assert "**LoRA r=8**, with the base in bfloat16" in test.success[0].value
    assert "5.0 GB" in test.success[0].value
    test.number_input(key="budgets-memory-gb").set_value(2.0).run()
    assert "Nothing fits" in test.warning[0].value
