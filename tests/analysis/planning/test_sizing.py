"""Counts are those of the models that PEFT builds; a chosen size is the nearest there is, or refused with a reason."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from peft import get_peft_model
from transformers.pytorch_utils import Conv1D

from analysis.common.errors import SizeError
from analysis.models.loading import DEFAULT_BASE, block_linears, load_base
from analysis.planning.sizing import budget_range, choose_size, count_parameters, size_label
from analysis.training.methods import METHODS, count_budget
from analysis.training.relatives import CONFIGS, LINEAR_ONLY, most_numbers
from analysis.training.specification import TrainingSpec
from tests.analysis.options import options_for
from tests.svft.tiny import ARCHITECTURES, make_model

# The 36 matrices of the default base.
DEFAULT_SHAPES = ([(384, 384)] * 4 + [(1536, 384), (384, 1536)]) * 6
SIZED = [name for name, method in METHODS.items() if method.size_name is not None]

shapes_lists = st.lists(
    st.tuples(st.sampled_from([4, 6, 8, 12, 16, 24]), st.sampled_from([4, 8, 12, 16, 24])), min_size=1, max_size=5
)


def shape_of(module):
    return tuple(reversed(module.weight.shape)) if isinstance(module, Conv1D) else tuple(module.weight.shape)


def legal_sizes(method, shapes):
    smallest, largest = min(map(min, shapes)), max(map(min, shapes))
    if METHODS[method].exact:
        return range(len(shapes), sum(min(shape) ** 2 for shape in shapes) + 1)
    if method == "banded":
        return range(1, largest)
    if method == "boft":
        return [b for b in range(2, 25) if all(in_ % b == 0 for _, in_ in shapes)]
    if method in ("vera", "block"):
        return range(1, largest + 1)
    if method == "frod":
        return range(1, 1001)
    if method == "tinylora":
        return range(1, most_numbers(smallest) + 1)
    return range(2 if method == "psoft" else 1, smallest + 1)


def count(method, shapes, size):
    return size if METHODS[method].exact else count_parameters(method, shapes, size)


# ---- counting


@st.composite
def built(draw):
    """Draw an architecture, some of its linear layers, and a method with a size that they can have."""
    architecture = draw(st.sampled_from(ARCHITECTURES))
    model = make_model(architecture)
    targets = draw(st.lists(st.sampled_from(block_linears(model)), min_size=1, unique=True))
    shapes = [shape_of(model.get_submodule(name)) for name in targets]
    method = draw(st.sampled_from([name for name in METHODS if name != "full"]))
    assume(not (method in LINEAR_ONLY and architecture == "gpt2"))  # PEFT has none for Conv1D
    options = {}
    if method == "custom":
        n = min(map(min, shapes))
        pairs = st.tuples(st.integers(0, n - 1), st.integers(0, n - 1))
        options["custom_indices"] = tuple(draw(st.lists(pairs, min_size=1, max_size=20, unique=True)))
    elif METHODS[method].takes_budget and draw(st.booleans()):
        legal = legal_sizes("random", shapes)
        options["budget"] = draw(st.integers(legal[0], legal[-1]))
    elif method in CONFIGS and method not in ("lora", "dora"):
        options["size"] = draw(st.sampled_from(legal_sizes(method, shapes)))
    elif METHODS[method].size_name is not None:
        options["size"] = draw(st.integers(0 if METHODS[method].size_name == "off_diag" else 1, 45))
    return method, model, targets, shapes, options


@given(built())
@settings(max_examples=150)
@pytest.mark.slow
def test_counts_are_those_of_the_model_that_peft_builds(case):
    method, model, targets, shapes, options = case
    spec = TrainingSpec("bbc_headlines", method, **options)
    model = get_peft_model(model, METHODS[method].config(method, options_for(spec, model, targets), targets))
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert count_parameters(method, shapes, **options) == trainable


@pytest.mark.parametrize(
    ("method", "size", "count"),
    [
        ("plain", None, 13_824),
        ("banded", 2, 68_904),
        ("random", 2, 68_904),
        ("lora", 1, 41_472),
        ("lora", 8, 331_776),
        ("head_only", None, 0),
    ],
)
def test_counts_on_the_default_base(method, size, count):
    assert count_parameters(method, DEFAULT_SHAPES, size) == count


def test_without_a_size_the_methods_own_is_counted():
    assert count_parameters("lora", DEFAULT_SHAPES) == count_parameters("lora", DEFAULT_SHAPES, METHODS["lora"].size)


def test_full_fine_tuning_trains_the_whole_model_and_needs_to_be_told_its_size():
    model = load_base(DEFAULT_BASE, ["a", "b"])
    whole = count_budget(METHODS["full"].build(model, None, []))
    assert count_parameters("full", DEFAULT_SHAPES, whole=whole) == whole
    with pytest.raises(SizeError, match="give whole"):
        count_parameters("full", DEFAULT_SHAPES)


@pytest.mark.parametrize("budget", [35, 36 * 384**2 + 1])
def test_a_budget_that_the_matrices_cannot_hold_is_refused(budget):
    with pytest.raises(SizeError, match=r"SVFT random can have from 36 .* to 5,308,416"):
        count_parameters("random", DEFAULT_SHAPES, budget=budget)


def test_custom_entries_outside_the_smallest_matrix_are_refused():
    assert count_parameters("custom", [(8, 8), (4, 9)], custom_indices=((3, 3), (0, 1))) == 4
    with pytest.raises(SizeError, match=r"\(0, 4\).*4×4"):
        count_parameters("custom", [(8, 8), (4, 9)], custom_indices=((3, 3), (0, 4)))
    with pytest.raises(SizeError, match="needs custom_indices"):
        count_parameters("custom", [(8, 8)])


# ---- choosing


@given(st.sampled_from(SIZED), shapes_lists, st.integers(1, 6000), st.sampled_from([0.02, 0.1, 0.5]))
@settings(max_examples=500)
def test_the_chosen_size_is_the_nearest_or_there_is_none_within_the_tolerance(method, shapes, budget, tolerance):
    assume(method != "banded" or budget >= count_parameters("banded", shapes, 1))  # below, leading directions alone
    counts = {size: count(method, shapes, size) for size in legal_sizes(method, shapes)}
    nearest = min(counts.values(), key=lambda number: abs(number - budget), default=None)
    if nearest is None:
        reason = "no room" if method == "banded" else "no divisor"
    elif abs(nearest - budget) > tolerance * budget:
        reason = f"{nearest:,}"
    else:
        chosen = choose_size(method, budget, shapes, tolerance)
        assert abs(chosen.count - budget) == abs(nearest - budget)
        options = {"size": chosen.size, "budget": chosen.budget}
        assert count_parameters(method, shapes, **options) == chosen.count
        TrainingSpec("bbc_headlines", method, **options)  # takes it
        return
    with pytest.raises(SizeError, match=re.escape(reason)):
        choose_size(method, budget, shapes, tolerance)


@given(shapes_lists, st.integers(1, 10**6))
def test_random_and_top_k_meet_every_budget_that_fits_exactly(shapes, budget):
    assume(len(shapes) <= budget <= sum(min(shape) ** 2 for shape in shapes))
    for method in ("random", "top_k"):
        chosen = choose_size(method, budget, shapes)
        assert (chosen.size, chosen.budget, chosen.count) == (None, budget, budget)


@given(st.integers(1, 12), st.integers(2, 24), st.integers(1, 1500))
def test_below_its_smallest_size_banded_has_a_band_of_leading_directions(matrices, n, budget):
    shapes = [(n, n + 3)] * matrices
    assume(budget < count_parameters("banded", shapes, 1))
    counts = [matrices * (3 * r - 2) for r in range(2, n + 1)]
    nearest = min(abs(number - budget) for number in counts)
    try:
        chosen = choose_size("banded", budget, shapes)
    except SizeError:
        assert nearest > 0.1 * budget
    else:  # at least as near as with one r for all: they may differ by one
        assert abs(chosen.count - budget) <= nearest
        assert count_parameters("banded", shapes, budget=chosen.budget) == chosen.count


@given(shapes_lists, st.data())
def test_below_its_diagonals_plain_meets_any_budget_and_above_them_it_has_them_all(shapes, data):
    whole = count_parameters("plain", shapes)
    budget = data.draw(st.integers(len(shapes), 2 * whole))
    chosen = choose_size("plain", budget, shapes)
    assert chosen.count == min(budget, whole)
    assert chosen.budget == (budget if budget < whole else None)
    assert count_parameters("plain", shapes, budget=chosen.budget) == chosen.count


@given(shapes_lists, st.data())
def test_a_band_of_unequal_matrices_has_as_many_entries_as_it_is_said_to_have(shapes, data):
    budget = data.draw(st.integers(1, count_parameters("banded", shapes, 1)))
    try:
        chosen = choose_size("banded", budget, shapes)
    except SizeError:
        return
    assert count_parameters("banded", shapes, chosen.size, chosen.budget) == chosen.count
    assert abs(chosen.count - budget) <= 0.1 * budget


@given(st.sampled_from([("head_only", 0), ("full", 99)]), st.integers(1, 10**9))
def test_methods_of_one_size_take_part_at_any_budget(method, budget):
    name, count = method
    chosen = choose_size(name, budget, DEFAULT_SHAPES, whole=99)
    assert (chosen.size, chosen.budget, chosen.count) == (None, None, count)


@pytest.mark.parametrize(
    ("method", "budget", "reason"),
    [
        (
            "lora",
            60_000,
            "LoRA's nearest sizes have 41,472 (r = 1) and 82,944 (r = 2) parameters, more than 10% from 60,000.",
        ),
        ("lora", 20_000, "LoRA's smallest size has 41,472 (r = 1) parameters, more than 10% from 20,000."),
        (
            "banded",
            10**7,
            "SVFT banded's largest size has 5,308,416 (d = 383) parameters, more than 10% from 10,000,000.",
        ),
        ("random", 30, "SVFT random's smallest size has 36 parameters, more than 10% from 30."),
        ("banded", 100, "SVFT banded's smallest size has 144 parameters, more than 10% from 100."),
        (
            "block",
            100,
            "SVFT block's nearest sizes have 36 (r = 1) and 144 (r = 2) parameters, more than 10% from 100.",
        ),
    ],
)
def test_a_method_without_a_size_near_the_budget_says_what_it_could_have(method, budget, reason):
    with pytest.raises(SizeError) as refusal:
        choose_size(method, budget, DEFAULT_SHAPES)
    assert str(refusal.value) == reason


@pytest.mark.parametrize(("method", "shapes"), [("boft", [(4, 9), (4, 4)]), ("banded", [(1, 5)])])
def test_a_method_without_any_size_on_these_matrices_says_why(method, shapes):
    with pytest.raises(SizeError, match="matri"):
        choose_size(method, 10, shapes)


def test_vera_has_no_rank_beyond_the_matrices():
    largest = budget_range(["vera"], DEFAULT_SHAPES)[1]
    assert choose_size("vera", largest, DEFAULT_SHAPES).size == 384
    with pytest.raises(SizeError, match="largest size"):
        choose_size("vera", 20_971_520, [(4096, 4096), (14336, 4096)] * 64, tolerance=0.5)


def test_sizes_for_a_model_of_billions_of_parameters_are_found_at_once():
    # The 80 layers of a model of 70 billion parameters: more sizes than could be tried one by one
    layer = [(8192, 8192), (1024, 8192), (1024, 8192), (8192, 8192), (28672, 8192), (28672, 8192), (8192, 28672)]
    for method in set(SIZED) - {"vera", "tinylora", "adamss"}:  # whose largest is below
        chosen = choose_size(method, 80_000_000, layer * 80, tolerance=0.5)
        assert chosen.count == pytest.approx(80_000_000, rel=0.5)


# ---- the range of a slider


@given(st.lists(st.sampled_from(list(METHODS)), min_size=1, unique=True), shapes_lists)
def test_the_range_goes_from_the_fewest_to_the_most_that_any_method_can_have(methods, shapes):
    counts = [count(m, shapes, size) for m in methods if m in SIZED for size in legal_sizes(m, shapes)]
    if counts:
        assert budget_range(methods, shapes) == (min(counts), max(counts))
    else:
        with pytest.raises(SizeError):
            budget_range(methods, shapes)


# ---- labels


@pytest.mark.parametrize(
    ("method", "options", "label"),
    [
        ("lora", {"size": 8}, "LoRA r=8"),
        ("boft", {"size": 4}, "BOFT b=4"),
        ("banded", {"size": 2}, "SVFT banded d=2"),
        ("random", {"size": 2}, "SVFT random d=2"),
        ("random", {"budget": 41_472}, "SVFT random, 41,472 entries"),
        ("plain", {"budget": 1_382}, "SVFT plain, 1,382 entries"),
        ("block", {"size": 6}, "SVFT block r=6"),
        ("plain", {}, "SVFT plain"),
        ("head_only", {}, "head only"),
    ],
)
def test_labels_name_the_method_and_its_size(method, options, label):
    assert size_label(method, **options) == label


@pytest.mark.parametrize("method", SIZED)
def test_every_method_with_sizes_has_a_label_for_them(method):
    assert size_label(method, METHODS[method].size).endswith(f"={METHODS[method].size}")


def test_sizes_are_planned_without_torch():
    code = "import analysis.planning.sizing, sys; sys.exit('torch' in sys.modules or 'peft' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
