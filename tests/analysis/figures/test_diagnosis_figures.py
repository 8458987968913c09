"""The figures about gradients: what marks and sentences say beside chance."""

from analysis.figures.entries_map import entries_map
from analysis.figures.gradient_capture import gradient_capture
from analysis.figures.score_size import score_size
from analysis.figures.theme import LIGHT
from tests.analysis.figures.tables import capture_table, scored_table, shared_table


def caption(figure) -> str:
    """Return a figure's sentence."""
    return figure.layout.meta["caption"]


def test_chance_is_a_tick_beside_every_point():
    figure = gradient_capture(capture_table(), theme=LIGHT)
    points, ticks = ([t for t in figure.data if (t.name == "chance") == chance] for chance in (False, True))
    assert [list(t.x) for t in points] == [[0.001], [0.004, 0.06]]
    assert [list(t.x) for t in ticks] == [[0.0005], [0.005, 0.006]]
    assert [list(t.y) for t in ticks] == [list(t.y) for t in points]


def test_its_sentence_is_about_the_largest_budget():
    assert "with 360 entries, SVFT chosen follows 6% of the squared gradient, chance 0.6%" in caption(
        gradient_capture(capture_table(), theme=LIGHT)
    )


def test_a_map_of_entries_says_where_they_are_and_are_not():
    assert caption(entries_map(shared_table(), theme=LIGHT)) == (
        "Look for matrices that get far more than others: Layer 0 · query gets 30, an even spread gives it 12; "
        "1 of 3 matrices get none."
    )


def test_scores_are_judged_against_chance():
    assert "rank correlation −1.00 over 4 entries, by chance within ±1.13" in caption(
        score_size(scored_table(), name="a", theme=LIGHT)
    )
