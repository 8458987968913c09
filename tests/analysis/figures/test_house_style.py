"""What holds for every figure: titles, fonts, symmetric scales, colours, words around it, and limits of size."""

import json
import re

import numpy as np
import pytest

from analysis.figures import theme as themes
from analysis.figures.cells import MAX_CELLS, MAX_POINTS
from analysis.figures.theme import DARK, LIGHT, METHOD_COLORS, Theme
from tests.analysis.figures.every_figure import FIGURES

BOTH = pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)


def axes(figure):
    """Return the visible axes of a figure."""
    layout = figure.layout
    names = [name for name in layout if re.fullmatch(r"[xy]axis\d*", name)]
    return [layout[name] for name in names if layout[name].visible is not False]


def font_sizes(node):
    """Return every font size that is set anywhere in a figure's JSON."""
    if isinstance(node, dict):
        for key, value in node.items():
            if "font" in key and isinstance(value, dict) and "size" in value:
                yield value["size"]
            yield from font_sizes(value)
    elif isinstance(node, list):
        for value in node:
            yield from font_sizes(value)


def every_visible_axis_has_a_title(figure, theme):
    assert all(axis.title.text for axis in axes(figure))


def no_text_is_smaller_than_12_pixels(figure, theme):
    sizes = list(font_sizes(json.loads(figure.to_json())))
    assert sizes
    assert min(sizes) >= 12


def words_around_it_are_in_its_meta(figure, theme):
    meta = figure.layout.meta
    assert len(meta["alt"]) > 20
    assert meta["caption"].endswith(".")
    assert meta["formula"]
    assert "$" not in meta["formula"]
    assert not re.search(r"\b(nan|inf|None)\b", meta["alt"] + meta["caption"])


def a_scale_of_signed_numbers_is_symmetric_and_all_others_begin_at_zero(figure, theme):
    for trace in figure.data:
        if trace.type == "heatmap":
            assert trace.zmin in (0, -trace.zmax)
            if trace.zmin:
                assert trace.colorscale == tuple(themes.diverging_scale(theme))


def paper_is_transparent_and_text_follows_the_theme(figure, theme):
    assert figure.layout.paper_bgcolor == "rgba(0,0,0,0)"
    assert figure.layout.font.color == theme.text


def it_is_small_enough_for_the_browser(figure, theme):
    for trace in figure.data:
        if trace.type == "heatmap":
            assert max(np.shape(trace.z)) <= MAX_CELLS
        else:
            assert len(trace.x) <= MAX_POINTS
    assert sum(trace.type == "heatmap" for trace in figure.data) <= 1


RULES = (
    every_visible_axis_has_a_title,
    no_text_is_smaller_than_12_pixels,
    words_around_it_are_in_its_meta,
    a_scale_of_signed_numbers_is_symmetric_and_all_others_begin_at_zero,
    paper_is_transparent_and_text_follows_the_theme,
    it_is_small_enough_for_the_browser,
)


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_keeps_the_rules_of_the_house(name):
    draw = FIGURES[name]
    light, dark, again = draw(LIGHT), draw(DARK), draw(LIGHT)
    for figure, theme in ((light, LIGHT), (dark, DARK)):
        for rule in RULES:
            rule(figure, theme)
    # Equal tables give equal figures, so that a selection survives a rerun.
    assert json.loads(again.to_json()) == json.loads(light.to_json())
    assert light.layout.uirevision == dark.layout.uirevision is not None


@BOTH
def test_the_middle_of_the_diverging_scale_and_the_zero_of_the_sequential_one_are_the_background(theme):
    assert (0.5, theme.background) in themes.diverging_scale(theme)
    assert themes.sequential_scale(theme)[0] == (0.0, theme.background)


@BOTH
def test_what_is_not_in_the_pattern_is_transparent_over_a_ground_that_differs_from_zero(theme):
    figure = FIGURES["exact_cells"](theme)
    assert np.isnan(figure.data[0].z).any()
    assert figure.layout.plot_bgcolor == theme.absent != theme.background


@BOTH
@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("offset_profile", "banded"),
        ("offset_profile, binned", "random"),
        ("concentration", "banded"),
        ("spectrum", "banded"),
        ("overlap", "random"),
        ("intruders", "top_k"),
        ("cumulative_energy", "banded"),
        ("dial_curve", "plain"),
        ("prediction_bars", "plain"),
        ("locator", "banded"),
        ("shapes_picture", "banded"),
    ],
)
def test_a_pattern_has_its_colour_in_every_figure_and_no_other_pattern_s(name, pattern, theme):
    drawn = FIGURES[name](theme).to_json()
    assert METHOD_COLORS[pattern] in drawn
    assert not [other for other in METHOD_COLORS if other != pattern and METHOD_COLORS[other] in drawn]


def contrast(first: str, second: str) -> float:
    """Return the WCAG contrast ratio of two "#rrggbb" colours."""

    def luminance(color: str) -> float:
        channels = np.array([int(color[k : k + 2], 16) for k in (1, 3, 5)]) / 255
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        return float(linear @ (0.2126, 0.7152, 0.0722))

    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@BOTH
def test_colours_of_methods_and_text_stand_out_from_the_background(theme: Theme):
    for color in (*METHOD_COLORS.values(), themes.LORA_COLOR, themes.CUSTOM_COLOR):
        assert contrast(color, theme.background) >= 3
    assert contrast(theme.text, theme.background) >= 7
    assert contrast(theme.muted, theme.background) >= 4.5


def test_methods_have_distinct_colours_and_the_lora_family_shares_one_with_markers_of_its_own():
    assert len(set(METHOD_COLORS.values())) == len(METHOD_COLORS)
    assert {themes.method_color(method) for method in themes.LORA_MARKERS} == {themes.LORA_COLOR}
    assert len(set(themes.LORA_MARKERS.values())) == len(themes.LORA_MARKERS)
    assert themes.method_color("top_k") == METHOD_COLORS["top_k"]
    assert {themes.series_color(method, DARK) for method in ("head_only", "full")} == {DARK.muted}
    assert themes.series_color("boft", DARK) == themes.LORA_COLOR
    assert themes.method_color("custom") not in {*METHOD_COLORS.values(), themes.LORA_COLOR}
