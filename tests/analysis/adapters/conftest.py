"""What the tests of adapters share."""

from __future__ import annotations

from functools import partial

import pytest

from tests.analysis.adapters.written import write_lora


@pytest.fixture
def lora(tmp_path):
    """Return `write_lora` into this test's directory."""
    return partial(write_lora, tmp_path)
