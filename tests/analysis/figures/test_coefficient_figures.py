"""The figures of M: what each cell and each point that can be clicked stands for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.figures.box import Box
from analysis.figures.cells import MAX_CELLS, MAX_POINTS
from analysis.figures.coefficient_square import coefficient_square
from analysis.figures.coefficient_strip import coefficient_strip
from analysis.figures.coefficient_wall import coefficient_wall
from analysis.figures.exact_cells import exact_cells
from analysis.figures.layer_map import layer_map
from analysis.figures.locator import locator
from analysis.figures.theme import LIGHT
from tests.analysis.figures.tables import band, entries_table, scattered, summary_table, wall_table


def trace(figure, name):
    """Return the one trace of that name."""
    (actual,) = (trace for trace in figure.data if trace.name == name)
    return actual


def covered(z) -> float:
    """Return the share of a heatmap's area that carries a trained entry."""
    return float(np.isfinite(np.asarray(z, float)).mean())


class TestWall:
    def test_a_row_is_a_matrix_and_a_cell_one_trained_number(self):
        wall = wall_table(2, 24)
        heat = trace(coefficient_wall(wall, signed=True, theme=LIGHT), "M")
        np.testing.assert_allclose(heat.z, wall["value"].to_numpy().reshape(12, 24), rtol=1e-6)

    def test_a_click_carries_the_name_of_the_matrix_of_its_row(self):
        wall = wall_table(3, 300)
        names = list(wall["name"].unique())
        points = trace(coefficient_wall(wall, signed=True, theme=LIGHT), "select")
        assert [data[0] for data in points.customdata] == [names[int(row)] for row in points.y]
        assert set(points.y) == set(range(len(names)))

    def test_a_point_tells_the_strongest_coefficient_near_by(self):
        wall = wall_table(2, 300)
        points = trace(coefficient_wall(wall, signed=True, theme=LIGHT), "select")
        by_place = wall.set_index(["name", "index"])["value"]
        for name, _, i, value in points.customdata:
            assert by_place[name, i] == value
        for name, most in wall.groupby("name")["value"].agg(lambda v: v.abs().max()).items():
            assert max(abs(data[3]) for data in points.customdata if data[0] == name) == most

    def test_matrices_with_fewer_directions_end_early(self):
        wall = wall_table(2, 24)
        short = wall[(wall["layer"] == 0) | (wall["index"] < 10)]
        z = np.asarray(trace(coefficient_wall(short, signed=True, theme=LIGHT), "M").z)
        assert np.isfinite(z[:6]).all()
        assert np.isfinite(z[6:, :10]).all()
        assert np.isnan(z[6:, 10:]).all()

    def test_rows_are_labelled_where_they_are_tall_enough_else_layers(self):
        wall = wall_table(3, 24)
        low = coefficient_wall(wall, signed=True, theme=LIGHT, height=250).layout
        tall = coefficient_wall(wall, signed=True, theme=LIGHT, height=600).layout
        assert (low.yaxis.title.text, low.yaxis.ticktext) == ("layer", ("0", "1", "2"))
        assert (tall.yaxis.title.text, len(tall.yaxis.ticktext)) == ("matrix", 18)

    def test_the_selected_matrix_is_outlined(self):
        wall = wall_table(2, 24)
        figure = coefficient_wall(wall, signed=True, theme=LIGHT, selected="encoder.1.key")
        (outline,) = (shape for shape in figure.layout.shapes if shape.type == "rect")
        assert (outline.y0, outline.y1) == (6.5, 7.5)

    @settings(max_examples=15)
    @given(layers=st.integers(1, 40), n=st.integers(1, 1500))
    def test_any_size_stays_within_the_limits(self, layers, n):
        figure = coefficient_wall(wall_table(layers, n), signed=True, theme=LIGHT)
        assert np.shape(trace(figure, "M").z)[1] <= MAX_CELLS
        assert len(trace(figure, "select").x) <= MAX_POINTS


class TestLayerMap:
    def test_cells_are_per_cent_with_layers_down_and_kinds_across(self):
        summary = summary_table()
        figure = layer_map(summary, theme=LIGHT)
        np.testing.assert_allclose(
            trace(figure, "‖ΔW‖ / ‖W‖").z, 100 * summary["relative_norm"].to_numpy().reshape(3, 6), rtol=1e-6
        )
        assert "Layer 1 · value changed most (12%)" in figure.layout.meta["caption"]

    def test_values_are_printed_and_a_click_carries_the_name(self):
        summary = summary_table().set_index("label")
        figure = layer_map(summary.reset_index(), theme=LIGHT, selected="encoder.1.value")
        points = trace(figure, "select")
        kinds, layers = figure.layout.xaxis.ticktext, figure.layout.yaxis.ticktext
        for x, y, (name, label, norm) in zip(points.x, points.y, points.customdata):
            assert label == f"Layer {layers[y]} · {kinds[x]}"
            assert summary.loc[label, ["name", "relative_norm"]].tolist() == [name, norm]
        assert "12" in trace(figure, "values").text
        (outline,) = figure.layout.shapes
        assert (outline.x0, outline.y0) == (1.5, 0.5)

    def test_an_unknown_norm_leaves_an_empty_cell_that_can_be_clicked(self):
        summary = summary_table()
        summary.loc[3, "relative_norm"] = np.nan
        figure = layer_map(summary, theme=LIGHT)
        assert len(trace(figure, "select").x) == 18
        assert len(trace(figure, "values").text) == 17

    def test_an_update_of_zero_and_norms_all_unknown_are_said_in_words(self):
        for norm in (0.0, np.nan):
            figure = layer_map(summary_table().assign(relative_norm=norm), theme=LIGHT)
            assert "no change is known" in figure.layout.meta["caption"]


class TestStrip:
    def test_a_cell_is_one_entry_at_row_i_and_offset_j_minus_i(self):
        entries = entries_table(10, band(10, 1))
        heat = trace(coefficient_strip(entries, n=10, theme=LIGHT), "M")
        for i, offset, value in entries[["i", "offset", "value"]].itertuples(index=False):
            assert np.asarray(heat.z)[int((offset - heat.y0) / heat.dy), int((i - heat.x0) / heat.dx)] == np.float32(
                value
            )
        assert np.isnan(np.asarray(heat.z)).sum() == 2  # the corners that stick out of M

    def test_a_click_carries_i_and_j(self):
        entries = entries_table(10, band(10, 2))
        points = trace(coefficient_strip(entries, n=10, theme=LIGHT), "select")
        assert len(points.x) == len(entries)
        for x, y, (i, j, _) in zip(points.x, points.y, points.customdata):
            assert (i, j - i) == (x, y)

    @pytest.mark.parametrize(
        ("mode", "column", "signed"),
        [("signed", "value", True), ("magnitude", "value", False), ("relative",) * 2 + (True,)],
    )
    def test_modes(self, mode, column, signed):
        entries = entries_table(10, band(10, 0))
        heat = trace(coefficient_strip(entries, n=10, theme=LIGHT, mode=mode), "M")
        expected = entries[column] if signed else entries[column].abs()
        np.testing.assert_allclose(np.asarray(heat.z)[0], expected, rtol=1e-6)
        assert heat.zmin == (-heat.zmax if signed else 0)

    def test_clipped_entries_are_counted(self):
        entries = entries_table(100, band(100, 2))
        meta = coefficient_strip(entries, n=100, theme=LIGHT).layout.meta
        assert meta["clipped"] == (entries["value"].abs() > meta["limit"]).sum() == 4
        assert f"{meta['clipped']} of {len(entries)} lie beyond" in meta["caption"]

    @settings(max_examples=15)
    @given(n=st.integers(1, 1300), d=st.integers(0, 12))
    def test_any_size_is_nearly_all_coloured_and_within_the_limits(self, n, d):
        i = np.arange(n)
        pairs = [(i * n + i + o)[(i + o >= 0) & (i + o < n)] for o in range(-d, d + 1)]
        figure = coefficient_strip(entries_table(n, np.concatenate(pairs)), n=n, theme=LIGHT)
        z = trace(figure, "M").z
        assert max(np.shape(z)) <= MAX_CELLS
        assert len(trace(figure, "select").x) <= MAX_POINTS
        assert covered(z) >= 0.5


class TestSquare:
    def test_few_entries_are_squares_of_at_least_5_pixels_at_their_places(self):
        entries = entries_table(100, scattered(100, 400))
        points = trace(coefficient_square(entries, n=100, theme=LIGHT), "select")
        assert points.marker.size >= 5
        assert points.marker.cmin == -points.marker.cmax
        assert {(x, y) for x, y in zip(points.x, points.y)} == set(zip(entries["j"], entries["i"]))
        for x, y, color, (i, j, value) in zip(points.x, points.y, points.marker.color, points.customdata):
            assert (x, y, color) == (j, i, value)

    def test_every_box_that_can_be_drawn_holds_a_point_that_answers(self):
        for k in (1, 40, 400, 4900):
            figure = coefficient_square(entries_table(384, scattered(384, k)), n=384, theme=LIGHT)
            points = [point for trace in figure.data for point in zip(trace.x, trace.y)]
            assert len(points) <= MAX_POINTS
            counts, *_ = np.histogram2d(*zip(*points), bins=384 // 24)  # of 24 cells: 25 pixels of a wide screen
            assert (counts > 0).all()

    def test_many_entries_are_binned_and_a_bin_carries_its_strongest(self):
        entries = entries_table(200, scattered(200, 6000))
        figure = coefficient_square(entries, n=200, theme=LIGHT)
        values = entries.set_index(["i", "j"])["value"]
        points = trace(figure, "select")
        assert all(values[i, j] == value for i, j, value in points.customdata)
        assert max(abs(value) for *_, value in points.customdata) == values.abs().max()

    @settings(max_examples=15)
    @given(n=st.integers(100, 800), d=st.integers(0, 12))
    def test_any_budget_colours_a_tenth_of_the_area_within_the_limits(self, n, d):
        k = n * (2 * d + 1) - d * (d + 1)
        figure = coefficient_square(entries_table(n, scattered(n, k)), n=n, theme=LIGHT)
        points = trace(figure, "select")
        assert len(points.x) <= MAX_POINTS
        if k > MAX_POINTS:
            assert covered(trace(figure, "M").z) >= 0.1
        else:  # expected cover of k squares thrown on a plot area of about 400 pixels
            assert 1 - np.exp(-k * (points.marker.size / 400) ** 2) >= 0.1

    def test_the_axes_end_with_the_directions_that_rank_leaves(self):
        i, j = np.divmod(scattered(20, 90), 20)
        figure = coefficient_square(entries_table(384, i * 384 + j), n=384, theme=LIGHT)
        assert figure.layout.xaxis.range[1] < 20


class TestExactCells:
    def test_cells_outside_the_pattern_are_empty_and_trained_zeros_are_not(self):
        entries = entries_table(12, band(12, 1)).assign(value=0.0, relative=0.0)
        z = np.asarray(exact_cells(entries, Box(2, 6, 2, 6), theme=LIGHT).data[0].z)
        i, j = np.indices((4, 4))
        np.testing.assert_array_equal(np.isnan(z), np.abs(i - j) > 1)
        assert (z[~np.isnan(z)] == 0).all()

    def test_hover_tells_value_and_both_singular_values(self):
        entries = entries_table(12, band(12, 1))
        heat = exact_cells(entries, Box(2, 6, 3, 7), theme=LIGHT).data[0]
        row = entries[(entries["i"] == 4) & (entries["j"] == 5)].iloc[0]
        np.testing.assert_allclose(
            heat.customdata[2][2], row[["value", "sigma_i", "sigma_j"]].astype(float), rtol=1e-6
        )
        assert (heat.x0, heat.y0) == (3, 2)

    def test_colours_equal_those_of_the_whole_matrix(self):
        entries = entries_table(100, band(100, 2))
        whole = coefficient_strip(entries, n=100, theme=LIGHT).layout.meta["limit"]
        assert exact_cells(entries, Box(0, 8, 0, 8), theme=LIGHT).data[0].zmax == whole

    def test_a_box_without_trained_entries_can_be_drawn(self):
        figure = exact_cells(entries_table(100, band(100, 1)), Box(0, 8, 50, 58), theme=LIGHT)
        assert "0 of these 64 cells" in figure.layout.meta["caption"]


class TestLocator:
    def test_shows_the_pattern_s_place_and_the_box(self):
        figure = locator(entries_table(96, band(96, 0)), n=96, pattern="plain", theme=LIGHT, box=Box(8, 16, 24, 32))
        np.testing.assert_array_equal(np.isfinite(np.asarray(figure.data[0].z)), np.eye(96, dtype=bool))
        (box,) = figure.layout.shapes
        assert (box.x0, box.x1, box.y0, box.y1) == (23.5, 31.5, 7.5, 15.5)
        assert "1.04%" in figure.layout.meta["alt"]
