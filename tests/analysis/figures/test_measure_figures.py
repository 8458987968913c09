"""The figures of measures: what their marks and sentences say."""

import numpy as np
import pandas as pd
import pytest

from analysis.figures.brush_map import brush_map
from analysis.figures.concentration import concentration
from analysis.figures.cumulative_energy import cumulative_energy
from analysis.figures.dial_curve import dial_curve
from analysis.figures.intruders import intruders
from analysis.figures.offset_profile import offset_profile
from analysis.figures.overlap import overlap
from analysis.figures.prediction_bars import prediction_bars
from analysis.figures.shapes_picture import shapes_picture
from analysis.figures.spectrum import spectrum
from analysis.figures.theme import LIGHT
from analysis.measures.brush import Brush
from tests.analysis.figures.tables import (
    BOX,
    RUN,
    band,
    brush_table,
    concentration_null,
    concentration_table,
    dial_table,
    energy_null,
    energy_table,
    entries_table,
    intruder_table,
    overlap_table,
    prediction_table,
    profile_table,
    scattered,
    spectrum_table,
)


def trace(figure, name):
    """Return the one trace of that name."""
    (actual,) = (trace for trace in figure.data if trace.name == name)
    return actual


def caption(figure) -> str:
    """Return a figure's sentence."""
    return figure.layout.meta["caption"]


class TestOffsetProfile:
    def test_noise_stands_beside_the_measurement(self):
        figure = offset_profile(profile_table(2), pattern="banded", theme=LIGHT)
        np.testing.assert_allclose(trace(figure, "noise (95% each)").y, 0.2)
        assert (
            "1 of 5 bars stands out from noise, furthest the diagonal: 33.3% of the energy, in noise 18.0% to 22.0%"
            in (caption(figure))
        )

    def test_no_bar_is_named_if_none_stands_out(self):
        figure = offset_profile(profile_table(2).assign(stands_out=False), pattern="banded", theme=LIGHT)
        assert caption(figure) == "No bar stands out from noise, all 5 judged together."


class TestConcentration:
    def test_reads_off_the_fraction_of_entries_and_that_of_noise(self):
        figure = concentration(
            concentration_table(), concentration_null(), fraction=0.3, pattern="banded", theme=LIGHT
        )
        assert "90% of the energy lies in 30.0% of the entries, fewer than in noise (43.0% to 47.0%)" in caption(
            figure
        )

    def test_a_curve_within_the_band_is_called_what_noise_shows_too(self):
        figure = concentration(
            concentration_table(), concentration_null(), fraction=0.46, pattern="banded", theme=LIGHT
        )
        assert "46.0% of the entries, as in noise (43.0% to 47.0%)" in caption(figure)

    def test_it_can_be_drawn_before_noise_is(self):
        figure = concentration(concentration_table(), fraction=0.3, pattern="banded", theme=LIGHT)
        assert "90% of the energy lies in 30% of the entries." in caption(figure)

    def test_a_zero_update_is_named(self):
        curve = concentration_table().assign(energy_share=0.0)
        figure = concentration(curve, concentration_null(), fraction=0.0, pattern="banded", theme=LIGHT)
        assert "zero" in caption(figure)


class TestSpectrum:
    def test_bars_are_centred_on_zero_and_paired_by_index(self):
        figure = spectrum(spectrum_table(24), pattern="banded", theme=LIGHT)
        np.testing.assert_allclose(trace(figure, "Δσ").y, spectrum_table(24)["delta"])
        low, high = figure.layout.yaxis2.range
        assert low == -high

    def test_changed_place_and_turned_are_marked_apart(self):
        figure = spectrum(spectrum_table(24), pattern="banded", theme=LIGHT)
        assert list(trace(figure, "changed place").x) == [3]
        assert list(trace(figure, "turned").x) == [4, 5]
        assert set(trace(figure, "changed place").y).isdisjoint(trace(figure, "turned").y)
        assert "largest change is −0.5 at i = 3" in caption(figure)
        assert "1 of 24 vectors changed place in the order, 2 turned" in caption(figure)

    def test_a_place_that_is_unknown_is_not_marked(self):
        table = spectrum_table(24).assign(moved=pd.array([pd.NA] * 24, dtype="boolean"))
        assert len(trace(spectrum(table, pattern="banded", theme=LIGHT), "changed place").x) == 0

    def test_many_directions_share_bars_that_show_the_largest_change(self):
        figure = spectrum(spectrum_table(2000), pattern="banded", theme=LIGHT)
        assert len(trace(figure, "Δσ").x) <= 512
        assert np.min(trace(figure, "Δσ").y) == -0.5


class TestOverlap:
    def test_chance_stands_beside_the_measurement(self):
        figure = overlap(overlap_table(10), pattern="random", theme=LIGHT)
        np.testing.assert_allclose(trace(figure, "chance").y, np.arange(1, 11) / 10)
        assert "lowest point is 0.75, at r = 2" in caption(figure)


class TestIntruders:
    def test_intruders_are_counted_and_the_threshold_drawn(self):
        figure = intruders(intruder_table(), pattern="top_k", theme=LIGHT, threshold=0.5)
        assert "1 of the 10 leading ones is an intruder" in caption(figure)
        assert figure.layout.shapes[0].y0 == 0.5

    def test_none_is_said_in_words(self):
        table = intruder_table().assign(intruder=False)
        assert "none of the 10" in caption(intruders(table, pattern="plain", theme=LIGHT))

    def test_no_known_vector_can_be_drawn(self):
        assert "No leading vector" in caption(intruders(intruder_table().iloc[:0], pattern="plain", theme=LIGHT))


class TestCumulativeEnergy:
    def test_bounds_are_drawn_where_they_lie(self):
        figure = cumulative_energy(
            energy_table(100), structural_rank=80, lora_rank=12.5, pattern="random", theme=LIGHT
        )
        assert {12.5, 80} <= {shape.x0 for shape in figure.layout.shapes}
        assert "90 directions hold 90%" in caption(figure)
        assert "stops at rank 12, which holds at most 12% of this update" in caption(figure)

    def test_less_than_rank_one_is_said_as_what_rank_one_would_cost(self):
        figure = cumulative_energy(energy_table(100), structural_rank=100, lora_rank=0.5, pattern="plain", theme=LIGHT)
        assert "rank 1 already has 2.0 times the parameters" in caption(figure)

    def test_noise_stands_beside_the_measurement(self):
        bounds = {"structural_rank": 10, "lora_rank": 1}
        figure = cumulative_energy(energy_table(10), energy_null(10), **bounds, pattern="plain", theme=LIGHT)
        assert len(trace(figure, "noise on the same Ω (95%)").x) == 11

    def test_a_zero_update_is_named(self):
        curve = energy_table(10).assign(energy_share=0.0)
        figure = cumulative_energy(curve, structural_rank=10, lora_rank=1, pattern="plain", theme=LIGHT)
        assert "zero" in caption(figure)


class TestDialCurve:
    def draw(self, alpha: float, **lines: float):
        return dial_curve(dial_table(), alpha=alpha, pattern="plain", theme=LIGHT, **lines)

    @pytest.mark.parametrize(("alpha", "accuracy"), [(-1, 0.20), (0, 0.69), (0.5, 0.775), (3, 0.40)])
    def test_the_dot_rides_the_curve(self, alpha, accuracy):
        dot = trace(self.draw(alpha), "dial")
        assert (dot.x[0], dot.y[0]) == (alpha, pytest.approx(accuracy))

    def test_zero_is_the_same_head_with_m_off_and_one_is_as_trained(self):
        figure = self.draw(1)
        labels = dict(zip(figure.layout.xaxis.tickvals, figure.layout.xaxis.ticktext))
        assert "same head" in labels[0]
        assert "M off" in labels[0]
        assert "trained" in labels[1]
        assert "α = 0 (69%) is the same head with M off" in caption(figure)

    def test_head_only_and_full_fine_tuning_are_horizontal_lines_where_known(self):
        lines = {shape.y0: shape.line.dash for shape in self.draw(1, head_only=0.46, full=0.83).layout.shapes}
        assert set(lines) == {0.46, 0.83}
        assert len(set(lines.values())) == 2
        assert not self.draw(1).layout.shapes


class TestPredictionBars:
    def test_labels_keep_their_order_and_the_leader_is_named(self):
        figure = prediction_bars(prediction_table(), pattern="plain", theme=LIGHT)
        assert list(figure.data[0].y) == ["business", "sport", "politics"]
        assert caption(figure) == "The model says sport (80%), then business (15%)."


class TestShapesPicture:
    def test_says_which_share_of_the_weight_is_trained(self):
        figure = shapes_picture(
            entries_table(384, band(384, 0)), shape=(384, 384), n=384, pattern="plain", theme=LIGHT
        )
        assert "384 coloured entries" in caption(figure)
        assert "0.26% of the 147,456" in caption(figure)

    @pytest.mark.parametrize("flat", [band(384, 0), scattered(384, 1914)], ids=["plain", "random"])
    def test_the_pattern_does_not_look_denser_than_a_quarter(self, flat):
        figure = shapes_picture(entries_table(384, flat), shape=(1536, 384), n=384, pattern="random", theme=LIGHT)
        assert 0 < np.isfinite(np.asarray(figure.data[0].z)).mean() < 0.25


class TestBrush:
    """Figures that are linked to a box in M."""

    def test_the_spectrum_shades_its_rows_and_its_columns(self):
        figure = spectrum(spectrum_table(24), pattern="banded", theme=LIGHT, brush=Brush((2, 9), (-1, 0), "o"))
        assert [(shape.x0, shape.x1) for shape in figure.layout.shapes] == [(1.5, 9.5), (0.5, 9.5)]
        assert "the directions of the box are shaded" in figure.layout.meta["caption"]

    @pytest.mark.parametrize(("brush", "shaded"), [(RUN, (-1.5, 0.5)), (BOX, (-2.5, 10.5))])
    def test_the_profile_shades_its_offsets(self, brush, shaded):
        figure = offset_profile(profile_table(2), pattern="banded", theme=LIGHT, brush=brush)
        (span,) = figure.layout.shapes
        assert (span.x0, span.x1) == shaded

    def test_the_map_writes_per_cent_and_is_coloured_by_how_many_times_chance(self):
        figure = brush_map(brush_table(), BOX, theme=LIGHT, selected="encoder.0.query")
        heat, values, points = figure.data
        z = np.asarray(heat.z, float).ravel()
        assert z[[0, 1, 7]].tolist() == [0, -2, 2]  # as by chance; none; more than four times
        assert np.isnan(z[4])
        assert sorted(values.text) == sorted(["0.0", *["2.0"] * 15, "30"])
        assert len(points.x) == 18
        assert "1 of 17 holds more than noise would, judged together; 2% by chance" in figure.layout.meta["caption"]
