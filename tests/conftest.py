"""What every test shares: no network, and a cache of its own."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

from analysis.environment import environment

# No test has a clock: on a busy machine each would fail sooner or later.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

# Before anything imports the Hub's client.
os.environ["HF_HUB_OFFLINE"] = "1"
# Before anything imports torch: test processes run side by side, one a core.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(items):
    """Give the browser tests to one process, with one server, first: two browsers would only slow each other down."""
    for item in items:
        in_browser = item.get_closest_marker("browser")
        item.add_marker(pytest.mark.xdist_group("browser" if in_browser else item.location[0]))
    items.sort(key=lambda item: item.get_closest_marker("browser") is None)


@pytest.fixture(autouse=True, scope="session")
def cache_of_its_own(tmp_path_factory):
    """Keep the user's cache of decompositions out of the tests, and the tests out of it."""
    with environment("SVFT_CACHE_DIR", str(tmp_path_factory.mktemp("cache"))):
        yield
