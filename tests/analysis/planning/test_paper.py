"""The counts that the paper publishes, and what is said about them."""

from __future__ import annotations

import pytest

from analysis.planning.paper import (
    EQUAL,
    NOT_REACHABLE,
    OTHER_MATRICES,
    OTHER_METHOD,
    PUBLISHED,
    agreement,
    paper_table,
)


@pytest.mark.parametrize(
    ("count", "figure", "how"),
    [
        (193_536, "0.19M", "rounded"),
        (1_198_080, "1.19M", "truncated"),
        (1_198_080, "1.20M", "rounded"),
        (3_281_040, "3.3M", "rounded"),
        (13_123_584, "13.5M", None),
        (68_812_800, "69M", "rounded"),
    ],
)
def test_agreement_is_to_the_digits_that_are_printed(count, figure, how):
    assert agreement(count, figure) == how


def test_every_figure_has_its_verdict():
    table = paper_table()
    assert len(table) == len(PUBLISHED)
    actual = {(row.model, row.label, row.published): (row.count, row.verdict) for row in table.itertuples()}
    assert actual == {
        ("Gemma-2B", "SVFT plain", "0.19M"): (193_536, EQUAL),
        ("Gemma-2B", "SVFT d=16", "6.35M"): (6_352_416, EQUAL),
        ("Gemma-2B", "SVFT d=8", "3.3M"): (3_281_040, EQUAL),
        ("Gemma-2B", "LoRA r=32", "26.2M"): (26_247_168, EQUAL),
        ("Gemma-2B", "LoRA r=16", "13.5M"): (13_123_584, OTHER_METHOD),
        ("Gemma-2B", "LoRA r=1", "0.82M"): (820_224, EQUAL),
        ("Gemma-2B", "DoRA r=1", "1.19M"): (1_198_080, EQUAL),
        ("Gemma-7B", "SVFT plain", "0.43M"): (602_112, OTHER_MATRICES),
        ("Gemma-7B", "SVFT plain", "0.51M"): (602_112, OTHER_MATRICES),
        ("Gemma-7B", "SVFT d=16", "19.8M"): (19_816_384, EQUAL),
        ("Gemma-7B", "LoRA r=32", "68.8M"): (68_812_800, EQUAL),
    }


def test_other_methods_and_other_matrices_are_named():
    words = dict(zip(paper_table()["published"], paper_table()["explanation"], strict=True))
    assert "DoRA r=16, 13,501,440" in words["13.5M"]
    assert "Q K V U D instead, 430,080" in words["0.43M"]
    assert "truncated" in words["1.19M"]


def test_a_figure_that_follows_from_nothing_is_called_so(monkeypatch):
    row = PUBLISHED[0]
    monkeypatch.setattr("analysis.planning.paper.PUBLISHED", (type(row)(row.model, "plain", None, "QKV", "9.99M"),))
    assert paper_table()["verdict"].tolist() == [NOT_REACHABLE]
