"""The configuration: what it accepts, what it refuses with which sentence, and its way through JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from peft import PeftConfig

import svft
from svft.config import BASIS_DTYPES, allowed_patterns


def test_importing_svft_registers_the_method_with_peft():
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING, PEFT_TYPE_TO_PREFIX_MAPPING, PEFT_TYPE_TO_TUNER_MAPPING

    assert PEFT_TYPE_TO_CONFIG_MAPPING["SVFT"] is svft.SvftConfig
    assert PEFT_TYPE_TO_TUNER_MAPPING["SVFT"] is svft.SvftModel
    assert PEFT_TYPE_TO_PREFIX_MAPPING["SVFT"] == "svft_"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"pattern": "diagonal"}, "allowed are plain, banded, block, random, top_k, custom"),
        ({"pattern": "banded"}, "needs a size: give off_diag or budget"),
        ({"pattern": "random", "off_diag": 2, "budget": 100}, "give one of them"),
        ({"pattern": "plain", "off_diag": 2}, "leave off_diag out, or choose banded, random, top_k"),
        ({"pattern": "banded", "off_diag": -1}, "off_diag=-1 must be an integer of at least 0"),
        ({"pattern": "banded", "off_diag": 1.5}, "off_diag=1.5 must be an integer"),
        ({"pattern": "random", "budget": 0}, "budget=0 must be a positive integer"),
        ({"rank": 0}, "rank=0 must be a positive integer or None"),
        ({"rank": 2.5}, "rank=2.5 must be a positive integer"),
        ({"seed": -1}, "seed=-1 must be an integer of at least 0"),
        ({"init_weights": "noise"}, r"must be True \(M = 0\) or False"),
        ({"basis_dtype": "float8"}, "None or one of float32, bfloat16, float16"),
        ({"pattern": "custom"}, "belongs to the pattern custom"),
        ({"pattern": "custom", "custom_indices": {}}, "belongs to the pattern custom"),
        ({"custom_indices": {"query": [(0, 1)]}}, "belongs to the pattern custom"),
        ({"pattern": "custom", "custom_indices": {"query": []}}, r"list of pairs \(i, j\)"),
        ({"pattern": "custom", "custom_indices": {"query": [1, 2]}}, r"list of pairs \(i, j\)"),
        ({"pattern": "custom", "custom_indices": {"query": [(0, 1, 2)]}}, r"list of pairs \(i, j\)"),
        ({"pattern": "custom", "custom_indices": {"query": [(0, -1)]}}, "at least 0"),
        ({"pattern": "custom", "custom_indices": {"query": [(0, 1), [0, 1]]}}, "names an entry twice"),
        ({"pattern": "custom", "custom_indices": {"query": [(0, 1)]}, "off_diag": 1}, "leave off_diag and budget out"),
        ({"pattern": "random", "budget": 9, "overrides": {"key": {"off_diag": 1}}}, "not with budget"),
        ({"overrides": {"key": {"rank": 3}}}, "keys pattern and off_diag"),
        ({"overrides": {"key": {}}}, "keys pattern and off_diag"),
        ({"overrides": {"key": "banded"}}, "keys pattern and off_diag"),
        ({"overrides": {"key": {"pattern": "custom"}}}, "cannot be custom"),
        ({"overrides": {"key": {"pattern": "banded"}}}, r"give off_diag in overrides\['key'\]"),
        ({"overrides": {"key": {"pattern": "diagonal"}}}, "allowed are plain"),
        ({"overrides": {"key": {"off_diag": 1}}}, "leave off_diag out, or choose"),
        ({"layers_pattern": "layer"}, "`layers_to_transform` must also be specified"),
        ({"target_modules": ".*query", "layers_to_transform": [0]}, "as a list of names"),
    ],
)
def test_a_contradictory_configuration_is_refused_when_it_is_made(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        svft.SvftConfig(**options)


def test_the_allowed_values_in_messages_are_the_registered_ones():
    with pytest.raises(ValueError, match=", ".join(allowed_patterns())):
        svft.SvftConfig(pattern="?")
    with pytest.raises(ValueError, match=", ".join(BASIS_DTYPES)):
        svft.SvftConfig(basis_dtype="?")


@pytest.mark.parametrize(
    ("override", "resolved"),
    [
        (None, ("banded", 4)),
        ({"off_diag": 1}, ("banded", 1)),
        ({"pattern": "random"}, ("random", 4)),
        ({"pattern": "top_k", "off_diag": 0}, ("top_k", 0)),
        ({"pattern": "plain"}, ("plain", None)),
    ],
)
def test_an_override_changes_pattern_or_size_and_inherits_the_rest(override, resolved):
    config = svft.SvftConfig(pattern="banded", off_diag=4, overrides={"key": override} if override else None)
    assert config.resolve(override) == resolved


_configurations = st.fixed_dictionaries(
    {},
    optional={
        "rank": st.none() | st.integers(1, 64),
        "seed": st.integers(0, 2**31),
        "init_weights": st.booleans(),
        "embed_basis": st.booleans(),
        "basis_dtype": st.sampled_from([None, *BASIS_DTYPES]),
        "target_modules": st.sampled_from([None, "all-linear", ["query", "value"]]),
        "exclude_modules": st.sampled_from([None, ["pooler"]]),
        "modules_to_save": st.sampled_from([None, ["classifier"]]),
        "task_type": st.sampled_from([None, "SEQ_CLS", "CAUSAL_LM"]),
    },
)
_sizes = st.one_of(
    st.just({"pattern": "plain"}),
    st.builds(
        lambda pattern, size: {"pattern": pattern, **size},
        st.sampled_from(["banded", "random", "top_k"]),
        st.sampled_from([{"off_diag": 2}, {"budget": 100}]),
    ),
    st.just({"pattern": "custom", "custom_indices": {"query": [[0, 1], [2, 2]]}}),
    st.just({"pattern": "banded", "off_diag": 1, "overrides": {"key": {"pattern": "plain"}}}),
)


@given(_configurations, _sizes)
def test_a_configuration_survives_json(tmp_path_factory, options, size):
    directory = tmp_path_factory.mktemp("config")
    config = svft.SvftConfig(**options, **size)
    config.save_pretrained(str(directory))
    assert json.loads((directory / "adapter_config.json").read_text())["peft_type"] == "SVFT"
    loaded = PeftConfig.from_pretrained(str(directory))
    assert isinstance(loaded, svft.SvftConfig)
    assert loaded.to_dict() == config.to_dict()
