"""The tables of `analysis` feed the figures as they are: every pattern, a zero update, a truncated basis."""

import json
import re

import numpy as np
import pytest

from analysis.adapters.opening import open_adapter
from analysis.figures.box import box_around
from analysis.figures.coefficient_square import coefficient_square
from analysis.figures.coefficient_strip import coefficient_strip
from analysis.figures.coefficient_wall import coefficient_wall
from analysis.figures.concentration import concentration
from analysis.figures.cumulative_energy import cumulative_energy
from analysis.figures.exact_cells import exact_cells
from analysis.figures.intruders import intruders
from analysis.figures.layer_map import layer_map
from analysis.figures.locator import locator
from analysis.figures.offset_profile import offset_profile
from analysis.figures.overlap import overlap
from analysis.figures.shapes_picture import shapes_picture
from analysis.figures.spectrum import spectrum as spectrum_figure
from analysis.figures.theme import DARK
from analysis.measures import coefficients, overview, spectrum, summary
from analysis.measures.null import entry_null, spectral_null
from analysis.measures.ranks import rank_bounds
from tests.analysis.synthetic import band, make_matrix, write_adapter

M = 16
SCATTERED = tuple(np.divmod(np.random.default_rng(0).choice(M * M, 40, replace=False), M))
MATRICES = {
    "plain": make_matrix(*band(M, 0), m=M, pattern="plain"),
    "banded": make_matrix(*band(M, 2), m=M, pattern="banded"),
    "random": make_matrix(*SCATTERED, m=M, pattern="random"),
    "zero": make_matrix(*band(M, 1), values=np.zeros(3 * M - 2), m=M, pattern="banded"),
    "truncated": make_matrix(*band(M, 1), m=M, shape=(40, 50), pattern="banded"),
}


@pytest.fixture(params=MATRICES)
def matrix(request):
    return MATRICES[request.param]


def check(figure):
    """Serialise a figure as the browser gets it, and read its words."""
    json.loads(figure.to_json())
    words = figure.layout.meta["alt"] + figure.layout.meta["caption"]
    assert not re.search(r"\b(nan|inf|None|<NA>)\b", words)


@pytest.mark.parametrize("mode", ["signed", "magnitude", "relative"])
def test_figures_of_coefficients(matrix, mode):
    entries = coefficients.entries(matrix)
    check(coefficient_strip(entries, n=M, theme=DARK, mode=mode))
    check(coefficient_square(entries, n=M, theme=DARK, mode=mode))
    check(exact_cells(entries, box_around(3, 3, M), theme=DARK, mode=mode))


def test_figures_of_the_pattern(matrix):
    entries = coefficients.entries(matrix)
    check(locator(entries, n=M, pattern=matrix.pattern, theme=DARK, box=box_around(3, 3, M)))
    check(shapes_picture(entries, shape=matrix.shape, n=M, pattern=matrix.pattern, theme=DARK))


def test_figures_of_measures(matrix):
    style = {"pattern": matrix.pattern, "theme": DARK}
    bounds = rank_bounds(matrix)
    check(offset_profile(coefficients.energy_by_offset(matrix), **style))
    fraction = coefficients.entries_for_energy(matrix)["fraction"]
    check(concentration(coefficients.concentration(matrix), entry_null(matrix), fraction=fraction, **style))
    check(spectrum_figure(spectrum.spectrum(matrix), **style))
    check(overlap(spectrum.subspace_overlap(matrix), **style))
    check(intruders(spectrum.intruders(matrix), **style))
    energy = spectrum.cumulative_energy(matrix)
    check(
        cumulative_energy(
            energy,
            spectral_null(matrix).curve,
            structural_rank=int(bounds["structural_rank"]),
            lora_rank=bounds["lora_rank"],
            **style,
        )
    )


def test_figures_of_a_whole_adapter(tmp_path):
    adapter = open_adapter(write_adapter(tmp_path / "adapter"))
    for signed in (True, False):
        check(coefficient_wall(overview.wall(adapter), signed=signed, theme=DARK, selected=adapter.names[1]))
    check(layer_map(overview.relative_norms(adapter), theme=DARK, selected=adapter.names[1]))
    check(layer_map(summary.summarize_adapter(adapter), theme=DARK))
