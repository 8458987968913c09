"""Numbers in sentences."""

import pytest

from analysis.common.wording import percent, share_text


@pytest.mark.parametrize(
    ("share", "words"),
    [(0, "0%"), (0.0026, "0.26%"), (0.0096, "0.96%"), (0.01, "1%"), (0.446, "45%"), (1, "100%"), (2e-5, "0.002%")],
)
def test_a_share_that_is_there_never_reads_zero(share, words):
    assert percent(share) == words


@pytest.mark.parametrize(
    ("share", "words"),
    [(0, "0%"), (1.113, "111%"), (0.995, "100%"), (0.081, "8.1%"), (0.0026, "0.26%"), (3.1e-6, "0.00031%")],
)
def test_a_share_has_two_digits_and_no_power_of_ten(share, words):
    assert share_text(share) == words
