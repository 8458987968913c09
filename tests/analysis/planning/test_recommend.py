"""One answer from memory and parameters, each reason with a number."""

from __future__ import annotations

import pandas as pd
import pytest

from analysis.models.architecture import open_architecture
from analysis.planning.recommend import BFLOAT16, FOUR_BIT, four_bit_sentence, options_table, recommend

MODEL = open_architecture("LLaMA-3-8B")
ROWS = [
    {"method": "plain", "label": "SVFT plain", "peak": 36e9, "count": 720_896, "on": ""},
    {"method": "banded", "label": "SVFT banded d=1", "peak": 36.2e9, "count": 2_162_240, "on": ""},
    {"method": "lora", "label": "LoRA r=1", "peak": 17e9, "count": 2_621_440, "on": ""},
    {"method": "boft", "label": "BOFT b=2", "peak": None, "count": 1, "on": "", "note": "not known"},
]


def advice(gigabytes: float, **recovered: tuple[float, float, float]):
    recovery = pd.DataFrame(
        [(method, *values, 3) for method, values in recovered.items()],
        columns=["method", "recovered", "low", "high", "tasks"],
    )
    return recommend(options_table(MODEL, ROWS, recovery, gigabytes * 1e9), gigabytes * 1e9)


EQUAL = {"plain": (0.9, 0.8, 1.0), "lora": (0.85, 0.7, 1.0)}


def test_what_cannot_be_told_apart_is_decided_by_memory():
    actual = advice(80, **EQUAL)
    assert (actual.best["label"], actual.best["base"]) == ("LoRA r=1", BFLOAT16)
    assert any("SVFT plain recovered 90% (80% to 100%), which cannot be told apart" in item for item in actual.reasons)


def test_what_is_clearly_better_is_taken_if_it_fits():
    better = EQUAL | {"plain": (0.95, 0.9, 1.0), "lora": (0.5, 0.4, 0.6)}
    assert advice(80, **better).best["label"] == "SVFT plain"
    small = advice(24, **better)
    assert small.best["label"] == "LoRA r=1"
    assert any("SVFT plain needs 36.0 GB" in item for item in small.reasons)


def test_four_bit_comes_after_bfloat16_and_is_not_for_svft():
    actual = advice(12, **EQUAL)
    assert (actual.best["method"], actual.best["base"]) == ("lora", FOUR_BIT)
    assert any("SVFT decomposes the weights" in item for item in actual.reasons)
    assert set(actual.options.loc[actual.options["base"] == FOUR_BIT, "method"]) == {"lora"}


def test_linear_layers_in_the_blocks_are_in_four_bits_and_the_rest_is_not():
    options = advice(24, **EQUAL).options.set_index(["method", "base"])
    layers = sum(out * in_ for out, in_ in MODEL.shapes.values())
    saved = (2 - 0.5625) * layers - 2 * 14336 * 4096
    assert options.at[("lora", FOUR_BIT), "peak"] == pytest.approx(17e9 - saved)


def test_where_nothing_fits_the_least_is_named():
    actual = advice(4, **EQUAL)
    assert actual.best is None
    assert actual.reasons[0].startswith("Nothing fits: the least is LoRA r=1 with the base in 4-bit")


def test_a_method_without_a_study_is_taken_only_if_no_other_fits():
    assert advice(80, plain=EQUAL["plain"]).best["label"] == "SVFT plain"
    assert "no study" in " ".join(advice(24, plain=EQUAL["plain"]).reasons)


def test_each_alternative_says_why_it_is_not_taken():
    def verdicts(gigabytes: float, **recovered) -> dict[tuple[str, str], str]:
        return advice(gigabytes, **recovered).options.set_index(["label", "base"])["verdict"].to_dict()

    equal = verdicts(80, **EQUAL)
    assert equal[("LoRA r=1", BFLOAT16)] == "taken"
    assert equal[("SVFT plain", BFLOAT16)] == "fits; not clearly better, 19.0 GB more"
    assert equal[("SVFT banded d=1", BFLOAT16)] == "fits; not studied near this budget"
    assert equal[("LoRA r=1", FOUR_BIT)] == "fits, and so does bfloat16"
    assert next(iter(equal.values())) == "taken"
    assert list(equal.values()).count("taken") == 1
    worse = verdicts(80, plain=(0.95, 0.9, 1.0), lora=(0.5, 0.4, 0.6))
    assert worse[("LoRA r=1", BFLOAT16)] == "fits; recovered clearly less"
    small = verdicts(24, **EQUAL)
    assert small[("SVFT plain", BFLOAT16)] == "14.4 GB too much"  # of 24, 2.4 stay free
    assert "taken" not in verdicts(4, **EQUAL).values()


def test_experts_stay_in_bfloat16_and_that_is_said():
    assert four_bit_sentence(MODEL) == ""
    mixture = open_architecture("Mixtral-8x7B")
    held = 2 * 8 * 3 * 4096 * 14336 * 32 / 1e9
    assert f"{held:.1f} GB of fused experts stay in bfloat16" in four_bit_sentence(mixture)
