"""The figures of Race: what marks and sentences say, and that live ones only change their data."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.figures.accuracy_budget import accuracy_budget
from analysis.figures.accuracy_forgetting import accuracy_forgetting
from analysis.figures.budget_curves import budget_curves
from analysis.figures.class_growth import class_growth
from analysis.figures.coefficient_film import coefficient_film
from analysis.figures.configurations import place_labels, short_label, spread, text_width
from analysis.figures.confusion import confusion
from analysis.figures.cost_bars import cost_bars
from analysis.figures.paired_forest import paired_forest
from analysis.figures.rank_budget import rank_budget
from analysis.figures.theme import LIGHT, LORA_COLOR, METHOD_COLORS
from analysis.training.methods import METHODS
from tests.analysis.figures.tables import (
    CONFUSION,
    DIFFERENCES,
    FORGOTTEN,
    OTHER,
    OWN,
    OWN_DIFFERENCES,
    REFERENCE,
    SUMMARY,
    TOPICS,
    band,
    cost_table,
    film_values,
    growth_table,
    scattered,
)


def trace(figure, name):
    """Return the one trace of that name."""
    (actual,) = (trace for trace in figure.data if trace.name == name)
    return actual


def caption(figure) -> str:
    """Return a figure's sentence."""
    return figure.layout.meta["caption"]


class TestLabels:
    def test_a_short_label_leaves_out_what_colour_and_place_say(self):
        labels = ["SVFT plain", "SVFT random, 41,472 entries", "LoRA r=8", "SVFT banded d=2"]
        assert [short_label(label) for label in labels] == ["plain", "random", "LoRA r=8", "banded d=2"]

    @given(st.lists(st.floats(0, 5), min_size=1, max_size=20), st.floats(0.01, 1))
    def test_places_are_apart_in_their_order_about_their_middle(self, places, gap):
        places = np.sort(places)
        moved = spread(places, gap)
        assert (np.diff(moved) >= gap - 1e-9).all()
        assert moved.mean() == pytest.approx(places.mean())

    def test_places_that_are_apart_stay(self):
        np.testing.assert_allclose(spread(np.array([1.0, 2.0, 5.0]), 0.5), [1, 2, 5])

    @given(st.integers(0, 10_000))
    def test_labels_cover_no_other_one(self, seed):
        generator = np.random.default_rng(seed)
        left, heights = generator.choice([60.0, 200.0, 380.0], 12), generator.uniform(100, 260, 12)
        texts = ["banded d=2"] * 12
        placed = place_labels(left, heights, texts, (left - 12, heights))
        for first in range(12):
            for second in range(first):
                if abs(left[first] - left[second]) < text_width(texts[0]):
                    assert abs(placed[first] - placed[second]) > 11

    def test_a_label_alone_stays_at_its_point(self):
        alone = np.array([50.0]), np.array([80.0])
        np.testing.assert_allclose(place_labels(*alone, ["plain"], (alone[0] - 12, alone[1])), [80])


class TestAccuracyBudget:
    def test_points_stand_at_their_accuracy_near_their_parameters(self):
        figure = accuracy_budget(OWN, theme=LIGHT)
        for row in OWN[~OWN["method"].isin(["head_only", "full"])].itertuples():
            (x,), (y,) = trace(figure, row.method).x, trace(figure, row.method).y
            assert y == row.accuracy
            assert x == pytest.approx(row.parameters, rel=0.08)  # moved aside where budgets are equal
        assert figure.layout.xaxis.type == "log"

    def test_head_only_and_full_fine_tuning_are_lines_and_no_points(self):
        figure = accuracy_budget(SUMMARY, theme=LIGHT)
        assert {"head_only", "full"}.isdisjoint(trace.name for trace in figure.data)
        bounds = SUMMARY.set_index("method")["accuracy"]
        lines = [shape.y0 for shape in figure.layout.shapes if shape.type == "line"]
        notes = " ".join(note.text for note in figure.layout.annotations)
        assert bounds["full"] in lines
        assert f"full fine-tuning {bounds['full']:.1%}" in notes
        assert f"head only {bounds['head_only']:.1%}" in notes

    def test_a_bound_far_below_is_noted_at_the_edge_instead_of_flattening_the_rest(self):
        low = SUMMARY.assign(accuracy=SUMMARY["accuracy"].where(SUMMARY["method"] != "head_only", 0.2))
        figure = accuracy_budget(low, theme=LIGHT)
        assert figure.layout.yaxis.range[0] > 0.5
        assert any(note.text == "↓ head only 20.0%" for note in figure.layout.annotations)

    def test_one_seed_has_its_interval_over_test_examples_and_says_so(self):
        figure = accuracy_budget(OWN, theme=LIGHT, committed=SUMMARY)
        for name, table in (("plain", OWN), ("plain, behind", SUMMARY)):
            drawn, row = trace(figure, name), table.set_index("method").loc["plain"]
            assert drawn.y[0] + drawn.error_y.array[0] == pytest.approx(row["high"])
            assert drawn.y[0] - drawn.error_y.arrayminus[0] == pytest.approx(row["low"])
        assert trace(figure, "plain").customdata[0].endswith("1 seed: of the test examples alone")
        assert trace(figure, "plain, behind").customdata[0].endswith(" seeds")

    def test_the_study_behind_is_paler_and_the_legend_tells_both(self):
        figure = accuracy_budget(OWN, theme=LIGHT, committed=SUMMARY)
        assert trace(figure, "plain").marker.color == METHOD_COLORS["plain"]
        assert trace(figure, "plain, behind").marker.color.startswith("rgba(0,114,178,0.")
        assert {"this study", "shipped study, 3 seeds"} <= {trace.name for trace in figure.data}

    def test_the_lora_family_is_grey_and_told_apart_by_markers(self):
        figure = accuracy_budget(SUMMARY, theme=LIGHT)
        lora, dora = trace(figure, "lora"), trace(figure, "dora")
        assert lora.marker.color == dora.marker.color == LORA_COLOR
        assert set(lora.marker.symbol) != set(dora.marker.symbol)

    def test_the_line_goes_through_the_front_and_the_caption_names_it(self):
        figure = accuracy_budget(SUMMARY, theme=LIGHT, front=["head only", "SVFT plain", "SVFT banded d=4"])
        expected = SUMMARY.set_index("label").loc[["SVFT plain", "SVFT banded d=4"], "accuracy"]
        np.testing.assert_allclose(trace(figure, "front").y, expected)
        assert "SVFT plain, then SVFT banded d=4" in caption(figure)

    def test_recovered_performance_is_drawn_where_it_is_defined(self):
        figure = accuracy_budget(SUMMARY, theme=LIGHT, measure="recovered")
        assert trace(figure, "plain").y[0] == SUMMARY.set_index("method").at["plain", "recovered"]
        undefined = SUMMARY.assign(recovered=np.nan)
        assert "clearly above head only" in caption(accuracy_budget(undefined, theme=LIGHT, measure="recovered"))

    def test_every_point_that_is_one_s_own_is_named(self):
        names = {note.text for note in accuracy_budget(SUMMARY, theme=LIGHT).layout.annotations}
        shown = SUMMARY[~SUMMARY["method"].isin(["head_only", "full"])]
        assert {short_label(label) for label in shown["label"]} <= names


class TestAccuracyForgetting:
    def test_each_configuration_stands_at_its_drift_and_accuracy_with_both_intervals(self):
        figure = accuracy_forgetting(FORGOTTEN, words="200 tweets", theme=LIGHT)
        for row in FORGOTTEN.itertuples():
            drawn = trace(figure, row.label)
            assert (drawn.x[0], drawn.y[0]) == (row.drift, row.accuracy)
            assert drawn.x[0] + drawn.error_x.array[0] == pytest.approx(row.drift_high)
            assert drawn.y[0] - drawn.error_y.arrayminus[0] == pytest.approx(row.low)
        assert trace(figure, "head only").x == (0,)
        assert figure.layout.xaxis.range[0] < 0 < FORGOTTEN["drift_high"].max() < figure.layout.xaxis.range[1]

    def test_one_seed_has_no_interval_of_its_drift(self):
        alone = FORGOTTEN.assign(drift_low=np.nan, drift_high=np.nan)
        drawn = trace(accuracy_forgetting(alone, words="200 tweets", theme=LIGHT), "SVFT plain")
        assert drawn.error_x.visible is False
        assert "interval" not in drawn.customdata[0].split("<br>")[1]

    def test_what_was_not_measured_is_left_out(self):
        some = FORGOTTEN.assign(drift=FORGOTTEN["drift"].where(FORGOTTEN["method"] != "lora"))
        names = [trace.name for trace in accuracy_forgetting(some, words="200 tweets", theme=LIGHT).data]
        assert names == FORGOTTEN.loc[FORGOTTEN["method"] != "lora", "label"].tolist()
        assert "not measured" in caption(accuracy_forgetting(OWN, words="200 tweets", theme=LIGHT))


class TestPairedForest:
    def test_marks_stand_at_the_difference_with_its_interval_and_a_line_at_zero(self):
        figure = paired_forest(DIFFERENCES, reference=REFERENCE, theme=LIGHT)
        row = DIFFERENCES.set_index("method").loc["plain"]
        mark = trace(figure, "plain")
        assert mark.x[0] == row["difference"]
        assert mark.x[0] - mark.error_x.arrayminus[0] == pytest.approx(row["low"])
        assert figure.layout.yaxis.ticktext[int(mark.y[0])] == "SVFT plain"
        assert [shape.x0 for shape in figure.layout.shapes] == [0]

    def test_the_best_is_on_top(self):
        ticks = paired_forest(DIFFERENCES, reference=REFERENCE, theme=LIGHT).layout.yaxis.ticktext
        assert ticks[-1] == DIFFERENCES["label"][0].removesuffix(" entries")

    def test_only_what_differs_clearly_is_filled(self):
        figure = paired_forest(DIFFERENCES, reference=REFERENCE, theme=LIGHT)
        for method, rows in DIFFERENCES.groupby("method"):
            filled = [not symbol.endswith("-open") for symbol in trace(figure, method).marker.symbol]
            assert filled == rows["clear"].tolist()

    def test_the_caption_counts_and_says_what_chance_would_do(self):
        figure = paired_forest(DIFFERENCES, reference=REFERENCE, theme=LIGHT)
        above = (DIFFERENCES["low"] > 0).sum()
        assert f"{above} of {len(DIFFERENCES)} lie above it" in caption(figure)
        assert f"chance alone makes about {0.05 * len(DIFFERENCES):.1f}" in caption(figure)

    def test_one_seed_is_named(self):
        assert "test examples alone" in caption(paired_forest(OWN_DIFFERENCES, reference=REFERENCE, theme=LIGHT))
        assert "test examples alone" not in caption(paired_forest(DIFFERENCES, reference=REFERENCE, theme=LIGHT))


class TestCostBars:
    def test_bars_are_ratios_beside_a_line_at_one(self):
        figure = cost_bars(cost_table(), reference=REFERENCE, theme=LIGHT)
        np.testing.assert_allclose(trace(figure, "time of a step").x, cost_table()["time_ratio"])
        np.testing.assert_allclose(trace(figure, "peak memory").x, cost_table()["memory_ratio"])
        assert [shape.x0 for shape in figure.layout.shapes] == [1, 1]

    def test_the_dearest_are_named(self):
        written = caption(cost_bars(cost_table(), reference=REFERENCE, theme=LIGHT))
        assert "SVFT plain, 1.50 times as long" in written
        assert "SVFT plain takes the most memory, 2.50 times as much" in written


class TestRankBudget:
    def test_three_ranks_stand_above_each_other(self):
        figure = rank_budget(SUMMARY, theme=LIGHT)
        parts = [next(t for t in figure.data if t.name == name) for name in ("rank", "effective rank", "stable rank")]
        assert len({tuple(part.x) for part in parts}) == 1
        shown = SUMMARY[~SUMMARY["method"].isin(["head_only", "full"])]
        np.testing.assert_allclose(np.sort(parts[1].y), np.sort(shown["effective_rank"]))

    def test_full_fine_tuning_is_a_line_and_what_changes_nothing_is_left_out(self):
        none = SUMMARY.assign(stable_rank=SUMMARY["stable_rank"].where(SUMMARY["label"] != "SVFT plain", 0.0))
        figure = rank_budget(none, theme=LIGHT)
        assert "SVFT plain" not in figure.layout.meta["alt"]
        dashed = [shape.y0 for shape in figure.layout.shapes if shape.line.dash == "dash"]
        assert dashed == [SUMMARY.set_index("method").at["full", "effective_rank"]]


class TestConfusion:
    def test_only_mistakes_have_a_colour(self):
        figure = confusion(CONFUSION, TOPICS, label="SVFT plain", theme=LIGHT)
        z = np.asarray(trace(figure, "examples").z, float)
        assert np.isnan(np.diag(z)).all()
        off = ~np.eye(5, dtype=bool)
        np.testing.assert_allclose(z[off], CONFUSION.to_numpy()[off])
        assert trace(figure, "examples").zmax == CONFUSION.to_numpy()[off].max()

    def test_numbers_stand_in_the_cells(self):
        table = pd.DataFrame([[8.0, 2.0], [0.5, 9.5]])
        numbers = trace(confusion(table, ("a", "b"), label="SVFT plain", theme=LIGHT), "numbers")
        assert list(numbers.text) == ["8", "2", "0.5", "9.5"]

    def test_the_commonest_mistake_is_named(self):
        table = pd.DataFrame([[8.0, 2.0], [0.5, 9.5]])
        written = caption(confusion(table, ("a", "b"), label="SVFT plain", theme=LIGHT))
        assert written == "SVFT plain answers 87.5% right; its most frequent error is a for b (2 of 10 times)."

    def test_a_difference_is_one_table_minus_the_other(self):
        figure = confusion(CONFUSION, TOPICS, label="SVFT plain", theme=LIGHT, other=(REFERENCE, OTHER))
        z = np.asarray(trace(figure, "examples").z, float)
        off = ~np.eye(5, dtype=bool)
        np.testing.assert_allclose(z[off], (CONFUSION - OTHER).to_numpy()[off])
        more = np.trace(CONFUSION - OTHER)
        assert f"it answers {more:.3g} more right" in caption(figure)

    def test_no_mistake_at_all_can_be_drawn(self):
        figure = confusion(pd.DataFrame([[5.0, 0.0], [0.0, 5.0]]), ("a", "b"), label="SVFT plain", theme=LIGHT)
        assert caption(figure) == "SVFT plain answers 100.0% right: it makes no error."


class TestClassGrowth:
    def growth(self, table):
        figure = class_growth(table, label="SVFT plain", reference=REFERENCE, method="plain", theme=LIGHT)
        return caption(figure), figure.layout.xaxis

    def test_runs_are_counted_in_whole_numbers(self):
        assert self.growth(growth_table())[1].dtick == 1

    def test_the_band_is_said_to_narrow_only_if_it_does(self):
        table = growth_table()
        assert "while the band narrows" in self.growth(table)[0]
        wider = table.assign(pooled_low=table["pooled"] - 3 - table["runs"], pooled_high=table["pooled"] + 3)
        assert "has not narrowed yet" in self.growth(wider)[0]
        assert "Each further run narrows the band" in self.growth(table[:1])[0]


@pytest.mark.parametrize("highest", [0.985, 1.0])
def test_no_axis_of_accuracy_goes_on_beyond_100_percent(highest):
    table = SUMMARY.assign(high=SUMMARY["high"].where(SUMMARY["method"] != "plain", highest))
    assert accuracy_budget(table, theme=LIGHT).layout.yaxis.range[1] <= 1.02


class TestBudgetCurves:
    def test_each_pattern_is_a_line_with_a_band_and_bounds_are_no_lines(self):
        figure = budget_curves(SUMMARY, theme=LIGHT, marked=1_382)
        lines = SUMMARY[~SUMMARY["method"].isin(["head_only", "full"])]
        assert [t.name for t in figure.data if t.name] == [
            f"{METHODS[method].title}" for method in sorted(lines["method"].unique())
        ]
        for line in (t for t in figure.data if t.name):
            assert (np.diff(line.x) >= 0).all()
        assert len(figure.layout.shapes) == 3  # head only, full fine-tuning, 0.006%


class TestCoefficientFilm:
    def film(self, flat, n, values):
        steps = list(range(0, 10 * len(values), 10))
        return coefficient_film(*np.divmod(flat, n), values, steps, n=n, theme=LIGHT)

    def test_a_frame_is_m_at_an_evaluation(self):
        values = film_values(24)
        figure = self.film(band(24, 0), 24, values)
        assert [frame.name for frame in figure.frames] == ["0", "10", "20", "30", "40"]
        for frame, expected in zip(figure.frames, values):
            np.testing.assert_allclose(np.ravel(frame.data[0].z), expected, rtol=1e-6)

    def test_it_opens_with_the_last_frame_and_one_scale_serves_all(self):
        figure = self.film(band(24, 2), 24, film_values(114))
        np.testing.assert_array_equal(trace(figure, "M").z, figure.frames[-1].data[0].z)
        assert figure.layout.sliders[0].active == 4
        assert trace(figure, "M").zmin == -trace(figure, "M").zmax
        assert all(frame.data[0].zmax is None for frame in figure.frames)

    def test_the_slider_leads_to_every_frame(self):
        figure = self.film(band(24, 0), 24, film_values(24))
        targets = [step.args[0][0] for step in figure.layout.sliders[0].steps]
        assert targets == [frame.name for frame in figure.frames]

    def test_a_scattered_pattern_is_a_square(self):
        figure = self.film(scattered(300, 2000), 300, film_values(2000))
        rows, columns = np.shape(trace(figure, "M").z)
        assert rows == columns <= 70
        assert figure.layout.yaxis.scaleanchor == "x"

    def test_wide_matrices_have_at_most_512_columns(self):
        figure = self.film(band(2000, 0), 2000, film_values(2000))
        assert np.shape(trace(figure, "M").z) == (1, 500)

    def test_the_step_with_half_of_the_energy_is_read_off(self):
        values = np.array([0, 0.5, 0.8, 0.9, 1.0])[:, None] * np.ones(24)
        assert "is there by step 20 of 40" in caption(self.film(band(24, 0), 24, values))

    def test_m_that_never_moved_is_said(self):
        assert "M has not moved." in caption(self.film(band(24, 0), 24, np.zeros((3, 24))))
