"""Numbers in sentences."""

import pytest

from analysis.common.wording import percent


@pytest.mark.parametrize(
    ("share", "words"),
    [(0, "0%"), (0.0026, "0.26%"), (0.0096, "0.96%"), (0.01, "1%"), (0.446, "45%"), (1, "100%"), (2e-5, "0.002%")],
)
def test_a_share_that_is_there_never_reads_zero(share, words):
    assert percent(share) == words
