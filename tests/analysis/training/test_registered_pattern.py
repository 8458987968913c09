"""A pattern is one registered function: by that alone it is a method everywhere."""

from __future__ import annotations

import pytest
import torch
from peft import get_peft_model

import svft
from analysis.figures.theme import DARK, LIGHT, METHOD_COLORS, method_color
from analysis.models.loading import block_linears
from analysis.planning.sizing import choose_size, count_parameters
from analysis.training.methods import METHODS, svft_patterns
from analysis.training.specification import TrainingSpec
from svft.config import allowed_patterns
from svft.patterns import PATTERNS, register_pattern
from tests.analysis.figures.test_house_style import contrast
from tests.svft.tiny import make_model

SHAPES = [(16, 16), (40, 16), (16, 40)]


@pytest.fixture
def toy():
    """The pattern "corner": the first rows of M, filled from the top."""

    @register_pattern("corner", "The leading rows: strong directions on the left, all on the right.")
    def corner(n, k, *, seed, U, V):
        return torch.arange(k)

    yield "corner"
    del PATTERNS["corner"]


@pytest.fixture
def every_other():
    """A pattern that cannot meet every number: every other entry of the band's."""

    @register_pattern("every_other", "Every other entry.", exact=False)
    def every_other(n, k, *, seed, U, V):
        return torch.arange(0, k, 2)

    yield "every_other"
    del PATTERNS["every_other"]


def test_it_is_an_allowed_value_and_a_method_with_a_rate_and_a_size(toy):
    assert toy in allowed_patterns()
    method = METHODS[toy]
    assert (method.title, method.size_name, method.exact) == ("SVFT corner", "off_diag", True)
    assert TrainingSpec("bbc_headlines", toy).resolved().learning_rate == METHODS["random"].learning_rate / 5


def test_it_stands_after_our_patterns_and_before_the_other_methods(toy):
    assert list(METHODS)[:8] == ["plain", "banded", "random", "top_k", "block", "chosen", toy, "custom"]
    assert svft_patterns() == ("plain", "banded", "random", "top_k", "block", "chosen", toy, "custom")


def test_it_goes_when_it_is_taken_out(toy):
    del PATTERNS[toy]
    assert toy not in METHODS
    assert len(METHODS) == len(list(METHODS))
    PATTERNS[toy] = None  # for the fixture


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_it_has_a_colour_of_its_own(toy, theme):
    assert method_color(toy) not in {*METHOD_COLORS.values(), method_color("custom"), method_color("lora")}
    assert contrast(method_color(toy), theme.background) >= 3


@pytest.mark.parametrize("size", [0, 2, 30])
def test_its_count_is_that_of_the_built_model(toy, size):
    base = make_model("bert")
    targets = block_linears(base)
    shapes = [tuple(base.get_submodule(name).weight.shape) for name in targets]
    model = get_peft_model(base, svft.SvftConfig(pattern=toy, off_diag=size, target_modules=targets))
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert count_parameters(toy, shapes, size) == trained


@pytest.mark.parametrize("size", [0, 2, 30])
def test_a_pattern_that_cannot_meet_every_number_is_asked_what_it_gives(every_other, size):
    expected = sum(-(-count_parameters("banded", [shape], size) // 2) for shape in SHAPES)
    assert count_parameters(every_other, SHAPES, size) == expected


def test_it_is_sized_for_a_budget(toy, every_other):
    assert choose_size(toy, 123, SHAPES).count == 123
    half = count_parameters(every_other, SHAPES, 2)
    assert choose_size(every_other, half, SHAPES).size == 2
