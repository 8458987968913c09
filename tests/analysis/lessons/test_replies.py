"""Replies help without giving the answer away, and a number is read as it was typed."""

from analysis.lessons import reading
from analysis.lessons.picture import check_pairs, load_picture
from analysis.measures.noise import Level


def test_a_wrong_reading_of_the_curve_does_not_print_the_numbers():
    few = (0.31, Level(0.45, 0.43, 0.47))
    right = reading.concentration_outcome(*few)
    for given in reading.OUTCOMES:
        answer = reading.check_concentration(given, *few)
        assert answer.right == (given == right)
        assert answer.right or not any(digits in answer.sentence for digits in ("31%", "43%", "47%"))


def test_half_a_pair_is_not_rounded_to_a_whole_one():
    answer = check_pairs(12.5, load_picture("china").sigma)
    assert not answer.right
    assert "whole number" in answer.sentence
