"""The figures of budgets, from their tables."""

from __future__ import annotations

import pytest

from analysis.figures.memory_terms import memory_terms
from analysis.figures.size_curves import size_curves
from analysis.figures.theme import LIGHT, METHOD_COLORS
from tests.analysis.figures.tables import curves_table, memory_table


def test_curves_are_the_table_and_the_budget_is_a_line():
    table = curves_table()
    figure = size_curves(table, budget=41_472, theme=LIGHT)
    drawn = {trace.name: trace for trace in figure.data}
    assert set(drawn) == set(table["title"])
    banded = table[(table["method"] == "banded") & (table["size"] > 0)]
    assert list(drawn["SVFT banded"].y) == banded["count"].tolist()
    assert drawn["SVFT banded"].line.color == METHOD_COLORS["banded"]
    assert set(drawn["SVFT plain"].y) == {13_824}
    assert [shape.y0 for shape in figure.layout.shapes] == [41_472]
    assert "41,472" in figure.layout.meta["caption"]


def test_curves_that_coincide_can_be_told_apart():
    drawn = {trace.name: trace.line.dash for trace in size_curves(curves_table(), budget=1, theme=LIGHT).data}
    assert len({drawn["SVFT banded"], drawn["SVFT random"], drawn["SVFT top_k"]}) == 3


@pytest.mark.parametrize(("factor", "unit"), [(1, "MB"), (1000, "GB")])
def test_bars_add_up_to_the_peak_in_a_unit_that_can_be_read(factor, unit):
    table = memory_table()
    numbers = table.columns.difference(["label", "method", "note"])
    table[numbers] *= factor
    figure = memory_terms(table, theme=LIGHT)
    total = sum(sum(trace.x) for trace in figure.data)
    assert total * (1e6 if unit == "MB" else 1e9) == pytest.approx(table["peak"].sum())
    assert figure.layout.xaxis.title.text == f"peak memory in {unit}"
    assert "full fine-tuning the most" in figure.layout.meta["caption"]
    assert "mostly activations" in figure.layout.meta["caption"]
