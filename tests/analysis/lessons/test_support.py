"""What the table of the family says is what the code does."""

from __future__ import annotations

import copy
import json
from contextlib import suppress

import numpy as np
import pytest

from analysis.adapters.opening import open_adapter
from analysis.adapters.paths import CONFIG_FILE
from analysis.common.errors import AdapterError, SizeError
from analysis.conversion.targets import conversion_steps
from analysis.lessons.family import support
from analysis.lessons.family.members import MEMBERS
from analysis.models.loading import block_linears
from analysis.planning.budgets import planned_methods
from analysis.planning.sizing import choose_size, count_parameters
from analysis.training.methods import METHODS
from tests.analysis.adapters.peft_models import KINDS, adapt, make_model, save_adapter, save_base
from tests.analysis.planning.test_sizing import DEFAULT_SHAPES

DIGITS_SHAPES = ([(64, 64)] * 4 + [(256, 64), (64, 256)]) * 4
TABLE = support.family_support().set_index("member")
OPENED = sorted({MEMBERS[name].kind for name in TABLE.index[TABLE["opened"]]} - {"SVFT"})
REFUSED_STARTS = {"corda": "corda", "lora_ga": "lora_ga"}  # member -> what its config says


def test_the_page_has_the_table_as_it_is():
    page = support.PAGE.read_text(encoding="utf-8")
    assert page == support.written(page), "python -m analysis.lessons.family.support"


def test_what_is_not_ticked_says_why():
    ticks = TABLE[["opened", "shown", "counted", "raced", "converted"]].all(axis=1)
    assert (ticks == (TABLE["why"] == "")).all()


def test_at_least_twelve_members_are_raced_and_every_race_has_a_member():
    raced = set(TABLE.index[TABLE["raced"]])
    assert len(raced) >= 12
    assert set(METHODS) - raced == {"custom", "dora", "vera", "boft", "head_only", "full"}


@pytest.mark.parametrize("shapes", [DEFAULT_SHAPES, DIGITS_SHAPES], ids=["default", "digits"])
def test_twelve_members_meet_one_budget(shapes):
    """At that of LoRA's smallest size, but for plain, which has its one size."""
    budget = count_parameters("lora", shapes, 1)
    sizes = {}
    for name in TABLE.index[TABLE["raced"]]:
        with suppress(SizeError):
            sizes[name] = choose_size(name, budget, shapes).count
    assert len(sizes) >= 12
    assert sizes.pop("plain") < budget
    assert all(abs(count - budget) <= 0.1 * budget for count in sizes.values())


@pytest.mark.parametrize("name", TABLE.index[TABLE["raced"]])
def test_what_is_counted_is_planned(name):
    assert TABLE.at[name, "counted"] == (name in planned_methods())


@pytest.mark.parametrize("kind", OPENED)
def test_what_is_ticked_opens_is_shown_and_converts_both_ways(kind, tmp_path):
    pristine = make_model("bert")
    save_base(pristine, tmp_path / "base")
    path = save_adapter(adapt(copy.deepcopy(pristine), kind), tmp_path / "adapter")
    adapter = open_adapter(path)
    assert adapter.kind == kind
    name = block_linears(pristine)[0]
    assert np.abs(adapter.matrix(name).coefficients()).max() > 0
    update = adapter.dense_update(name)
    for to, options in (("lora", {"rank": 16}), ("svft", {"pattern": "plain"})):
        list(conversion_steps(path, to, tmp_path / to, **options))
        converted = open_adapter(tmp_path / to)
        assert set(converted.names) == set(adapter.names)
        if to == "lora":
            np.testing.assert_allclose(converted.dense_update(name), update, atol=1e-5)
        else:
            np.testing.assert_allclose(
                np.diag(converted.matrix(name).coefficients()), np.diag(adapter.matrix(name).coefficients()), atol=1e-5
            )


def test_every_kind_that_is_opened_is_one_that_tests_build():
    assert set(OPENED) <= set(KINDS)


@pytest.mark.parametrize("name", REFUSED_STARTS)
def test_a_start_that_is_not_ticked_is_refused(name, tmp_path):
    assert not TABLE.at[name, "opened"]
    pristine = make_model("bert")
    save_base(pristine, tmp_path / "base")
    path = save_adapter(adapt(pristine, "LoRA"), tmp_path / "adapter")
    config = json.loads((path / CONFIG_FILE).read_text())
    (path / CONFIG_FILE).write_text(json.dumps(config | {"init_lora_weights": REFUSED_STARTS[name]}))
    with pytest.raises(AdapterError, match="path_initial_model_for_weight_conversion"):
        open_adapter(path)


def test_a_lora_that_started_from_eva_opens_as_a_lora(tmp_path):
    pristine = make_model("bert")
    save_base(pristine, tmp_path / "base")
    path = save_adapter(adapt(pristine, "LoRA"), tmp_path / "adapter")
    config = json.loads((path / CONFIG_FILE).read_text())
    (path / CONFIG_FILE).write_text(json.dumps(config | {"init_lora_weights": "eva"}))
    assert open_adapter(path).kind == MEMBERS["eva"].kind
