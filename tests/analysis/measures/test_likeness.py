"""The verdict of a comparison in words."""

import numpy as np
import pytest

from analysis.measures.likeness import matrix_verdict

ROW = {"cosine": 0.5, "chance_cosine": 0.05, "norm_ratio": 2.0, "basis_error": 0.0}


@pytest.mark.parametrize(
    ("changed", "shown"),
    [
        ({"cosine": 0.9}, "**The two updates point the same way** (cosine 0.900, noise within ±0.050)."),
        ({"cosine": 0.3}, "**The two updates have a part in common** (cosine 0.300"),
        ({"cosine": 0.06}, "**The two updates have little in common, though more than noise**"),
        ({"cosine": 0.05}, "**The two updates are no more alike than noise**"),
        ({"cosine": -0.04}, "**The two updates are no more alike than noise** (cosine −0.040"),
        ({"cosine": -0.9}, "**The two updates oppose each other** (cosine −0.900"),
        ({"cosine": np.nan, "basis_error": 0.1}, "not defined here: the singular vectors of the two bases differ."),
        ({"cosine": np.nan}, "not defined here: an update is zero, or part of it was not saved."),
        ({}, " ‖ΔW‖ of B is 2.0 times that of A."),
        ({"norm_ratio": 0.05}, " ‖ΔW‖ of A is 20 times that of B."),
        ({"norm_ratio": 0.98}, " They are of one size."),
    ],
)
def test_the_verdict_says_how_alike_and_how_large(changed, shown):
    assert shown in matrix_verdict({**ROW, **changed}, ("A", "B"))


def test_an_update_of_unknown_size_is_not_measured_against_the_other():
    assert matrix_verdict({**ROW, "norm_ratio": np.nan}, ("A", "B")).endswith("±0.050).")
