"""Numbers as people type them."""

import pytest

from analysis.common.errors import UserError
from analysis.common.typed import number, numbers, whole_numbers


def test_lists_of_numbers():
    assert whole_numbers("0, 1,2") == (0, 1, 2)
    assert whole_numbers("0-2,7") == (0, 1, 2, 7)
    assert whole_numbers("41_472") == (41_472,)
    assert whole_numbers("") == ()
    assert numbers("1e-3,3e-3") == (1e-3, 3e-3)


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (number, "half"),
        (number, "nan"),
        (number, "1e999"),
        (numbers, "1,x"),
        (whole_numbers, "1.5"),
        (whole_numbers, "a-b"),
    ],
)
def test_anything_else_is_named_in_a_sentence(parse, text):
    with pytest.raises(UserError, match=rf"'.*{text[-1]}' is not a (number|list of whole numbers)"):
        parse(text)
