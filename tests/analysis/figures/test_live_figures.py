"""The figures of a study that runs: only their data change."""

import json

import numpy as np
import pandas as pd
import pytest

from analysis.figures.cells import MAX_POINTS
from analysis.figures.live_curves import live_curves
from analysis.figures.live_strip import live_strip
from analysis.figures.theme import DARK, LIGHT, METHOD_COLORS, diverging_scale
from tests.analysis.figures.tables import band, film_values, scattered
from tests.analysis.trials.outcomes import CONFIGURATIONS

STEPS = list(range(0, 110, 10))  # of a study's evaluations
METHODS = {label: method for label, (method, _, _) in CONFIGURATIONS.items()}


def points_until(step):
    """Return points of two trials up to a step."""
    rows = [
        {"trial": trial, "label": label, "seed": 0, "step": at, "accuracy": 0.5 + at / 200, "loss": 2 - at / 100}
        for trial, label in enumerate(("SVFT plain", "LoRA r=1"))
        for at in range(0, step + 1, 10)
    ]
    return pd.DataFrame(rows).assign(train_loss=lambda table: table["loss"].where(table["step"] > 0))


def specification(chart) -> dict:
    """Return the chart without its data and the data's running number, as Streamlit compares it."""
    spec = chart.to_dict()
    spec.pop("datasets")
    return json.loads(json.dumps(spec).replace(spec["data"]["name"], "data"))


def rows_of(chart) -> pd.DataFrame:
    """Return the data of a chart."""
    (rows,) = chart.to_dict()["datasets"].values()
    return pd.DataFrame(rows)


class TestLiveCurves:
    def test_only_the_data_change_while_trials_run(self):
        charts = [live_curves(points_until(step), METHODS, 100, theme=LIGHT) for step in (0, 50, 100)]
        assert specification(charts[0]) == specification(charts[1]) == specification(charts[2])
        assert len(rows_of(charts[2])) == 22

    def test_the_axis_of_steps_ends_with_the_plan(self):
        x = specification(live_curves(points_until(10), METHODS, 100, theme=LIGHT))["layer"][0]["encoding"]["x"]
        assert x["scale"]["domain"] == [0, 100]

    def test_configurations_that_share_a_colour_have_dashes_of_their_own(self):
        encoding = specification(live_curves(points_until(10), METHODS, 100, theme=DARK))["layer"][0]["encoding"]
        colors, dashes = (encoding[channel]["scale"] for channel in ("stroke", "strokeDash"))
        assert colors["domain"] == dashes["domain"] == list(METHODS)
        looks = [(color, tuple(dash)) for color, dash in zip(colors["range"], dashes["range"])]
        assert len(set(looks)) == len(METHODS)
        assert dict(zip(METHODS, colors["range"]))["SVFT plain"] == METHOD_COLORS["plain"]

    def test_the_training_loss_begins_after_the_first_steps(self):
        chart = live_curves(points_until(20), METHODS, 100, theme=LIGHT, measure="train_loss")
        assert set(rows_of(chart)["step"]) == {10, 20}

    def test_no_point_yet_can_be_drawn(self):
        chart = live_curves(points_until(0).iloc[:0], METHODS, 100, theme=LIGHT)
        assert specification(chart) == specification(live_curves(points_until(50), METHODS, 100, theme=LIGHT))


class TestLiveStrip:
    def strip(self, flat, n, values):
        return live_strip(*np.divmod(flat, n), values, STEPS[: len(values)], STEPS, theme=LIGHT)

    @pytest.mark.parametrize("flat", [band(384, 0), band(384, 2), scattered(384, 1914)], ids=["0", "2", "scattered"])
    def test_only_the_data_change_and_there_are_few_marks(self, flat):
        values = film_values(len(flat), evaluations=11)
        charts = [self.strip(flat, 384, values[:done]) for done in (0, 1, 6, 11)]
        specs = [specification(chart) for chart in charts]
        assert all(spec == specs[0] for spec in specs)
        assert len(rows_of(charts[-1])) <= MAX_POINTS + 2

    def test_few_entries_are_counted_in_whole_numbers(self):
        axis = specification(self.strip(band(7, 0), 7, film_values(7, evaluations=2)))["encoding"]["x"]["axis"]
        assert (axis["tickMinStep"], axis["format"]) == (1, ",d")

    def test_a_row_is_m_at_an_evaluation(self):
        values = film_values(24)
        rows = rows_of(self.strip(band(24, 0), 24, values))
        rows = rows[rows["right"] > rows["left"]]
        for at, expected in enumerate(values):
            actual = rows[rows["step"] == STEPS[at]].sort_values("left")
            np.testing.assert_allclose(actual["value"], expected, rtol=1e-6)

    def test_entries_stand_in_the_order_of_their_offset(self):
        flat = band(24, 1)
        i, j = np.divmod(flat, 24)
        rows = rows_of(self.strip(flat, 24, (j - i + 10.0 * i / 24)[None]))
        order = np.lexsort((i, j - i))
        actual = rows[rows["right"] > rows["left"]].sort_values("left")["value"]
        np.testing.assert_allclose(actual, (j - i + 10.0 * i / 24)[order], rtol=1e-6)

    def test_colours_are_symmetric_about_zero_whatever_the_values(self):
        rows = rows_of(self.strip(band(24, 0), 24, np.abs(film_values(24))))
        assert rows["shade"].min() == -rows["shade"].max() < 0
        color = specification(self.strip(band(24, 0), 24, film_values(24)))["encoding"]["color"]
        assert color["scale"]["range"] == [color for _, color in diverging_scale(LIGHT)]
        assert color["scale"]["range"][3] == LIGHT.background

    def test_neighbours_share_a_cell_that_shows_the_strongest(self):
        values = np.zeros((1, 2000))
        values[0, 1234] = -7
        rows = rows_of(self.strip(band(2000, 0), 2000, values))
        strongest = rows.loc[rows["value"].abs().idxmax()]
        assert strongest["value"] == -7
        assert strongest["left"] <= 1234 < strongest["right"]
