"""What every test shares: no network, and a cache of its own."""

from __future__ import annotations

import os
import sys

import pytest
from hypothesis import settings
from xdist.scheduler import LoadFileScheduling

from analysis.common.environment import environment

# No test has a clock: on a busy machine each would fail sooner or later.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

# Before anything imports the Hub's client.
os.environ["HF_HUB_OFFLINE"] = "1"
# Before anything imports torch: test processes run side by side, one per core.
os.environ.setdefault("OMP_NUM_THREADS", "1")


class _TwoBrowsers(LoadFileScheduling):
    """File by file to whichever process is free, but all browsers to two: each starts an app of its own.

    One has the tests that train (Race and Learn), which compute; the other's mostly wait for their page.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        if not file.endswith("browser.py"):
            return file
        return "browser that trains" if "race" in file or "learn" in file else "browser"


def pytest_xdist_make_scheduler(config, log):
    return _TwoBrowsers(config, log)


def pytest_xdist_auto_num_workers(config):
    """One process more than there are cores: those of the browsers mostly wait."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Begin with the slow tests, of which those in a browser take longest."""
    for item in items:
        if item.get_closest_marker("browser"):
            item.add_marker("slow")
    items.sort(key=lambda item: (item.get_closest_marker("browser") is None, item.get_closest_marker("slow") is None))


@pytest.fixture(autouse=True, scope="session")
def cache_of_its_own(tmp_path_factory):
    """Keep the user's cache of decompositions out of the tests, and the tests out of it."""
    with environment("SVFT_CACHE_DIR", str(tmp_path_factory.mktemp("cache"))):
        yield


@pytest.fixture(autouse=True)
def main_module_of_its_own():
    """Put `__main__` back: Streamlit's AppTest leaves its script there, and a spawned process would run that first."""
    main = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = main


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory) -> str:
    """Return the directory of a BERT of two blocks with n = 16, with the default base's tokenizer."""
    import torch
    from transformers import BertConfig, BertModel

    from analysis.models.loading import DEFAULT_BASE, load_tokenizer

    directory = tmp_path_factory.mktemp("tiny-base")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = BertModel(
            BertConfig(
                vocab_size=30522, hidden_size=16, intermediate_size=40, num_hidden_layers=2, num_attention_heads=2,
                max_position_embeddings=64,
            )
        )  # fmt: skip
    model.save_pretrained(directory)
    load_tokenizer(DEFAULT_BASE).save_pretrained(directory)
    return str(directory)
