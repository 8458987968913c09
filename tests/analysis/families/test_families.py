"""Opening, comparing and converting models of any family; docs/families.md is the table of all of them."""

from __future__ import annotations

import pytest

from tests.analysis.families.check import ALL_STEPS, check
from tests.analysis.families.models import FAMILIES
from tests.analysis.families.table import DOCUMENT

# A head that is adapted, files with older names, fused experts, two towers, an encoder and a decoder of two families
# (with Conv1D beside linear layers), convolutions.
QUICK = ("roberta", "vit", "mixtral", "gemma3", "vision-encoder-decoder", "wav2vec2")


# The other families differ in how they name and nest their matrices. Each is opened and compared, and both kinds are
# converted, one to each kind of adapter, in turn; docs/families.md is made with all steps of all families.
IN_TURN = (
    {"LoRA": ("open", "compare", "to svft"), "full": ("open", "to lora")},
    {"LoRA": ("open", "to lora"), "full": ("open", "compare", "to svft")},
)
STEPS = {
    family: ALL_STEPS if family in QUICK else IN_TURN[number % len(IN_TURN)] for number, family in enumerate(FAMILIES)
}


@pytest.mark.parametrize(
    "family", [pytest.param(family, marks=() if family in QUICK else pytest.mark.slow) for family in FAMILIES]
)
def test_a_family_is_shown_compared_and_converted_as_peft_merges_it(tmp_path, family):
    outcomes = check(family, tmp_path, STEPS[family])
    document = DOCUMENT.read_text(encoding="utf-8")
    for kind, outcome in outcomes.items():
        for step, why in outcome.failed.items():
            assert f"- {family}, {kind}, {step}: " in document, why
        assert outcome.matrices


def test_the_table_has_every_family_and_says_that_45_pass():
    rows = [line for line in DOCUMENT.read_text(encoding="utf-8").splitlines() if line.startswith("| ")][1:]
    assert [row.split(" | ")[0].removeprefix("| ") for row in rows] == list(FAMILIES)
    assert sum("—" not in row for row in rows) >= 45
